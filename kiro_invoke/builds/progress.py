"""Read BuildKit's `--progress=rawjson`: which step runs, ran or was cached, and what it printed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from kiro_invoke.model.record import Step

#: `[target stage 2/5] RUN make`; with one target only `[stage 2/5] RUN make`; a platform may precede the stage.
_STEP = re.compile(
    r"^\[(?:(?P<target>[\w-]+) )?(?:\w+/\S+ )?(?P<stage>\S+) +\d+/\d+\] (?P<text>.*)$", re.DOTALL
)
_AFTER_PLACE = re.compile(r"^-{10,}$")
_PLACE = re.compile(r"^(?P<file>.+):(?P<line>\d+)$")


@dataclass(frozen=True)
class StepName:
    """A step's name taken apart. `target` is "" where the engine names none."""

    target: str
    stage: str
    text: str


class Observer(Protocol):
    """Is told what happens while a build runs. `name` is None for the engine's internal steps."""

    def started(self, name: StepName | None, label: str) -> None: ...

    def printed(self, name: StepName | None, line: str) -> None: ...

    def ended(self, name: StepName | None, label: str, *, cached: bool, seconds: float, error: str) -> None: ...


@dataclass
class _Vertex:
    label: str
    name: StepName | None
    cached: bool = False
    error: str = ""
    told_start: bool = False
    told_end: bool = False
    rest: str = ""
    #: start -> end of each time it ran; a step may be taken up more than once
    runs: dict[float, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self.runs.items())


class Progress:
    """Collects a build's progress line by line. Its results are complete once the stream has ended."""

    def __init__(self, observer: Observer, targets: Mapping[str, str]) -> None:
        """`targets` maps target names to services."""
        self._observer = observer
        self._targets = targets
        self._only = next(iter(targets), "") if len(targets) == 1 else ""
        self._vertexes: dict[str, _Vertex] = {}
        self._object: list[str] = []
        self._plain: list[str] = []

    def feed(self, line: str) -> None:
        """Take the next line of standard error: part of a JSON object, or plain text after a failure."""
        if self._object or line == "{":
            self._object.append(line)
            if line == "}":
                text, self._object = "\n".join(self._object), []
                self._event(json.loads(text))
        elif line.strip():
            self._plain.append(line)

    @property
    def plain(self) -> tuple[str, ...]:
        """What the engine said besides its events: after a failure, the reason."""
        return tuple(self._plain)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step that names a stage and came to an end."""
        return tuple(
            Step(
                service=self._targets.get(vertex.name.target, ""),
                stage=vertex.name.stage,
                text=vertex.name.text,
                cached=vertex.cached,
                seconds=round(vertex.seconds, 3),
                started=min(vertex.runs, default=0.0),
                completed=max(vertex.runs.values(), default=0.0),
            )
            for vertex in self._vertexes.values()
            if vertex.name and vertex.told_end
        )

    def failed_step(self) -> tuple[StepName | None, str, tuple[str, ...]] | None:
        """The first step that failed: its name, its label, its last 20 lines."""
        for vertex in self._vertexes.values():
            if vertex.error and "context canceled" not in vertex.error:
                lines = [*vertex.lines, *([vertex.rest] if vertex.rest else [])]
                return vertex.name, vertex.label, tuple(lines[-20:])
        return None

    def failed_place(self) -> tuple[str, int] | None:
        """`(Dockerfile's name, line)` of the failure, as the engine printed it."""
        for line, after in zip(self._plain, self._plain[1:], strict=False):
            match = _PLACE.match(line)
            if match and _AFTER_PLACE.match(after):
                return match["file"], int(match["line"])
        match = next((m for line in self._plain if (m := re.search(r"\bon line (\d+)", line))), None)
        return ("", int(match[1])) if match else None

    def failed_target(self) -> str:
        """The target that the engine blames, or ""."""
        found = (re.search(r"\btarget ([\w-]+): failed", line) for line in self._plain)
        return next((match[1] for match in found if match), self._only)

    def _event(self, event: Mapping[str, Any]) -> None:
        for raw in event.get("vertexes") or ():
            self._vertex(raw)
        for raw in event.get("logs") or ():
            if (vertex := self._vertexes.get(raw["vertex"])) is not None:
                self._log(vertex, base64.b64decode(raw.get("data") or "").decode(errors="replace"))

    def _vertex(self, raw: Mapping[str, Any]) -> None:
        label = " ".join(str(raw.get("name", "")).split())
        vertex = self._vertexes.setdefault(raw["digest"], _Vertex(label, self._named(label)))
        vertex.cached = bool(raw.get("cached", vertex.cached))
        vertex.error = str(raw.get("error") or vertex.error)
        if raw.get("started") and not vertex.told_start:
            vertex.told_start = True
            self._observer.started(vertex.name, vertex.label)
        if raw.get("completed") and raw.get("started"):
            vertex.runs[_epoch(raw["started"])] = _epoch(raw["completed"])
            if not vertex.told_end:
                vertex.told_end = True
                self._observer.ended(
                    vertex.name, label, cached=vertex.cached, seconds=vertex.seconds, error=vertex.error
                )

    def _named(self, label: str) -> StepName | None:
        match = _STEP.match(label)
        if match is None:
            return None
        return StepName(match["target"] or self._only, match["stage"].lower(), match["text"])

    def _log(self, vertex: _Vertex, data: str) -> None:
        for line in _lines(vertex, data):
            vertex.lines.append(line)
            del vertex.lines[:-200]
            self._observer.printed(vertex.name, line)


def _lines(vertex: _Vertex, data: str) -> Iterator[str]:
    """Whole lines of a step's output; an unfinished one is kept for the next piece."""
    *whole, vertex.rest = (vertex.rest + data).split("\n")
    for line in whole:
        yield line.rstrip("\r").rpartition("\r")[2]


def _epoch(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time with any number of decimals."""
    whole, _, decimals = text.rstrip("Z").partition(".")
    base = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return base + float(f"0.{decimals or 0}")
