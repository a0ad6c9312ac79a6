"""Pressure: how a penalty enters an optimizer's step, how strongly, and when."""
