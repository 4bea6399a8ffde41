"""On-disk layouts, one module each. `registry` recognizes the layout of a folder."""
