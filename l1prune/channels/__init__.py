"""Channels: units that span layers, found on a model's graph, pressed and removed as wholes."""
