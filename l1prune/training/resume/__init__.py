"""Resuming: a run that stops anywhere goes on as if it had not."""
