"""Training: the life of a run, in a Lightning Trainer or in a loop of one's own."""
