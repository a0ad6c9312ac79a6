"""Runs: what a run leaves, read again, compared and shown."""
