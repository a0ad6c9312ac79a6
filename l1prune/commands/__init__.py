"""Commands: what `scripts/` call."""
