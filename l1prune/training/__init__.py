"""Training: all that needs a Lightning Trainer."""
