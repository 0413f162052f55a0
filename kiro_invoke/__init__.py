"""Docker development loops as fast as native ones, and never stale: an Invoke plugin.

`from kiro_invoke import ns` gives the collection of tasks, as a root or as a sub-collection.
"""

from typing import TYPE_CHECKING

from kiro_invoke.version import __version__

if TYPE_CHECKING:
    from kiro_invoke.collection import ns

__all__ = ["__version__", "ns"]


def __getattr__(name: str) -> object:
    """Load the collection, and Invoke with it, when it is asked for."""
    if name != "ns":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kiro_invoke.collection import ns

    return ns
