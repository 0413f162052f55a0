"""This repository's tasks: the plugin's own collection."""

from kiro_invoke import ns

__all__ = ["ns"]
