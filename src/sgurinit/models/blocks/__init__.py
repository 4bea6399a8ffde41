"""Building blocks that several models share: graphs, branches, losses, base classes."""
