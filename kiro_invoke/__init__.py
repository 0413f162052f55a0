"""Docker development loops as fast as native ones, and never stale: an Invoke plugin.

`from kiro_invoke import ns` gives the collection of tasks, as a root or as a sub-collection.
"""

from kiro_invoke.collection import ns
from kiro_invoke.version import __version__

__all__ = ["__version__", "ns"]
