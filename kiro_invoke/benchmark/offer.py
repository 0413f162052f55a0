"""The packages that are added to one service, each once: made ready some at a time, by its own package manager."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kiro_invoke.benchmark.numbers import Counter
from kiro_invoke.benchmark.packages import Adding, only_added, pool, recipe
from kiro_invoke.benchmark.runner import CannotMeasure

#: How many are made at once.
_BATCH = 8
_NPM = "package-lock.json"

#: Has a Dockerfile's result written to a folder.
Make = Callable[[str, Path], None]


@dataclass
class Offer:
    """What adds a package to a service: texts of its files. `place` keeps those that were made."""

    service: str
    context: Path
    base: str
    adds: Adding
    place: Path
    counter: Counter
    make: Make
    read: Callable[[Path], str]
    _own: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Have some at hand, so that no sample waits for it. CannotMeasure where none can be had."""
        wanted = self._wanted()
        if not wanted:
            raise CannotMeasure("its lockfile holds all packages that could be added already")
        self._find(wanted, 0)

    def take(self) -> Mapping[Path, str]:
        """The texts that add the next package; CannotMeasure if there is none left."""
        wanted = self._wanted()
        series = f"package of {self.service}"
        while (at := self.counter.last(series)) < len(wanted):
            made = self._find(wanted, at)  # before it counts: what cannot be made now, later may be
            self.counter.next(series)
            if made is not None:
                return self._texts(made)
        raise CannotMeasure(
            f"all of {len(wanted)} packages were added already: remove .kiro/benchmark to begin anew"
        )

    def _wanted(self) -> tuple[str, ...]:
        self._own = {file: self.read(self.context / file) for file in self.adds.files}
        found = pool(self.adds.pool, self._own[self.adds.lockfile])
        return tuple(f"{name}@{version}" for name, version in found)

    def _find(self, wanted: Sequence[str], at: int) -> Path | None:
        """Where what adds a package lies; None for one that cannot be added."""
        key = hashlib.sha256(repr(sorted(self._own.items())).encode()).hexdigest()[:12]
        folder = self.place / f"{self.service}-{key}"
        tried = folder / f"tried-{at // _BATCH}"
        if not tried.exists():
            first = at - at % _BATCH
            batch = wanted[first : first + _BATCH]
            self.make(recipe(self.adds, self.base, batch), folder)
            if not any((folder / package).is_dir() for package in batch):
                raise CannotMeasure(
                    "no package can be added: its package manager, or its registry, refuses all"
                )
            tried.touch()
        made = folder / wanted[at]
        return made if made.is_dir() else None

    def _texts(self, made: Path) -> dict[Path, str]:
        try:
            texts = {file: (made / file).read_text(encoding="utf-8") for file in self.adds.files}
            if self.adds.lockfile == _NPM:
                texts[_NPM] = only_added(self._own[_NPM], texts[_NPM])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CannotMeasure(f"{self.adds.lockfile} is of a form that is not known: {error}") from None
        return {self.context / file: text for file, text in texts.items()}
