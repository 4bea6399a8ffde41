"""Steps of the method on arrays, one module per step."""
