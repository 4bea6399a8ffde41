"""Starts for models of other frameworks, without changes to their code.

There is one module per framework. Each is imported by its own name, so none needs the framework of
another: ``from sgurinit.integrations.torch import attach``.
"""
