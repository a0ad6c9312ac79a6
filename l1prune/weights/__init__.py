"""Weights: which are pruned, how they are stored, spread over processes, and counted."""
