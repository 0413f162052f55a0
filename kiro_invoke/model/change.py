"""What a change means for a build: its kind, its cause in words, and what has to be built again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """What a change means for a service, weakest first: of several, the last counts."""

    IGNORED = 0
    SOURCE = 1
    DEPENDENCY = 2
    BASE = 3
    CONFIG = 4

    def __str__(self) -> str:
        return self.name

    @property
    def rebuild(self) -> str:
        """What such a change has built again."""
        return _REBUILDS[self]


_REBUILDS = {
    Kind.IGNORED: "nothing",
    Kind.SOURCE: "the source layer",
    Kind.DEPENDENCY: "the dependency layer",
    Kind.BASE: "all from the changed stage on",
    Kind.CONFIG: "what the configuration then says",
}


@dataclass(frozen=True)
class Classification:
    """One path and what its change means for a service. `path` is relative to the repository, with `/`.

    `service` is "" where the change concerns none, or all of them.
    """

    service: str
    kind: Kind
    path: str
    cause: str

    @property
    def rebuild(self) -> str:
        return self.kind.rebuild

    def __str__(self) -> str:
        whose = f" ({self.service})" if self.service else ""
        return f"{self.kind}  {self.path}{whose}: {self.cause}; rebuilt: {self.rebuild}"
