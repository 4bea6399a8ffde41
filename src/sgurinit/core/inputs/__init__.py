"""Inputs of a fit: interactions, item features, ids, and the fingerprint of the data."""
