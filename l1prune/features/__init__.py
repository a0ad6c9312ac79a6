"""Features: which inputs of a network matter."""
