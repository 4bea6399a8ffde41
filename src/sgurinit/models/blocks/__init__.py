"""Building blocks that several models share: features, graphs, losses, base classes."""
