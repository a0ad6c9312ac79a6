"""Cuts: what goes, by which criterion, how much, in which stages; and the mask of what stays."""
