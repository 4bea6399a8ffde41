"""Reports of results: HTML pages (`page`), terminal output (`terminal`) and TensorBoard curves."""
