"""The steps of the method on arrays, one module each."""
