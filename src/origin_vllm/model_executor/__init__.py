"""Models: the registry."""
