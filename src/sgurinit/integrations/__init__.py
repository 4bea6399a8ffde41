"""Starts for models that others wrote, in their own frameworks and without editing them.

One module a framework, each imported by its own name, so that none is needed for another:
``from sgurinit.integrations.torch import attach``.
"""
