"""In which namespace each service's builds have their cache mounts: the checkout's own, or a later generation.

A generation is begun where mounts are given up: they are damaged, or made anew. A namespace is named after the time at
which it was begun, so that none is used twice, also where it is forgotten which there were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.service import Project

#: In the state folder.
NAMESPACES = "namespaces.json"
#: Nanoseconds since the epoch: as many digits from 2006 to 2554. A checkout's own name ends with ten.
_BEGUN = "[0-9a-f]{16}"


@dataclass(frozen=True)
class Namespaces:
    """Those of one checkout. `moved` are the services that have left its own one, and where they are."""

    checkout: str
    moved: Mapping[str, str] = field(default_factory=dict)

    def of(self, service: str) -> str:
        return self.moved.get(service, self.checkout)

    def current(self, services: Iterable[str]) -> frozenset[str]:
        """Those that a build of one of these services would use now."""
        return frozenset(map(self.of, services))

    @property
    def changed(self) -> float:
        """When a service moved last, in seconds since the epoch; 0.0 if none ever did."""
        return max((int(name[-16:], 16) / 1e9 for name in self.moved.values()), default=0.0)

    def next(self, now: int) -> str:
        """One that no build ever had, also where the clock was set back; `now` is in nanoseconds since the epoch."""
        latest = max((int(name[-16:], 16) for name in self.moved.values()), default=0)
        return f"{self.checkout}-r{max(now, latest + 1):016x}"

    def with_moved(self, services: Iterable[str], namespace: str) -> Namespaces:
        return replace(self, moved={**self.moved, **dict.fromkeys(services, namespace)})


def clean_namespace(checkout: str, now: int) -> str:
    """That of one clean build: its cache mounts are all empty, and nobody uses them again."""
    return f"{checkout}-clean-{now:016x}"


def is_clean(namespace: str, checkout: str) -> bool:
    """Whether it is that of a clean build of this checkout."""
    return re.fullmatch(f"{re.escape(checkout)}-clean-{_BEGUN}", namespace) is not None


def is_own(namespace: str, checkout: str) -> bool:
    """Whether it is one of this checkout's: its own one, a later generation's, or that of a clean build.

    No other checkout's matches, however its project is named: that ends with a dash and ten digits.
    """
    return namespace == checkout or is_clean(namespace, checkout) or _is_generation(namespace, checkout)


def read_namespaces(project: Project) -> Namespaces:
    """Where its services are: all in the checkout's own one, where the file is missing or damaged."""
    checkout = project.checkout
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raw = json.loads((project.state / NAMESPACES).read_text(encoding="utf-8"))
        moved = {str(name): str(namespace) for name, namespace in raw["services"].items()}
        return Namespaces(checkout, {s: n for s, n in moved.items() if _is_generation(n, checkout)})
    return Namespaces(checkout)


def move(project: Project, services: Iterable[str], namespace: str) -> Namespaces:
    """From now on, builds of these services use that namespace; what holds now. OSError if it cannot be written."""
    from filelock import FileLock  # it loads slowly, and most builds move nothing

    file = project.state / NAMESPACES
    with FileLock(f"{file}.lock"):  # another build may move others at this moment
        now = read_namespaces(project).with_moved(services, namespace)
        write_whole(file, json.dumps({"services": dict(sorted(now.moved.items()))}, indent=1))
    return now


def _is_generation(namespace: str, checkout: str) -> bool:
    return re.fullmatch(f"{re.escape(checkout)}-r{_BEGUN}", namespace) is not None
