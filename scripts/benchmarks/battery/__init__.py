"""A battery of small tasks: whether the default loses to plain gradual pruning on any of them."""
