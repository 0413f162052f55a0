"""Read BuildKit's `--progress=rawjson`: which step runs, ran or was cached, and what it printed."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kiro_invoke.model.record import Step

#: `[target platform stage 2/5] RUN make`: the target stands there only where a build has several, the platform
#: only where it is not the engine's own, the stage only where the Dockerfile has several.
_STEP = re.compile(r"^\[(?P<head>[^\]]*?) *\d+/\d+\] (?P<text>.*)$", re.DOTALL)
_ONLY_STAGE = "stage-0"
#: Of what a step printed, so many lines are kept.
_KEPT_LINES = 200
#: `[target internal] load build definition from Dockerfile`: the first that an engine does for a target.
_BEGINS = re.compile(r"^\[(?:[^\]]* )?internal\] load build definition\b")
#: What carries a context's bytes: `[internal] load build context`, `[target context NAME] load from client`.
_CONTEXT = re.compile(
    r"^\[(?:(?:[^\]]* )?internal\] load build context|(?:[^\]]* )?context [^\]]*\] load from client)$"
)
#: `importing cache manifest from REF`, `exporting cache to registry`.
_SHARED = re.compile(r"^(?P<verb>importing|exporting) cache (?:manifest from|to) (?P<place>.*)$")
#: What signs a URL: whoever has it may do what it was made for. Registries send clients to such places of stores.
_SIGNED = re.compile(
    r"([?&][\w-]*(?:sig|signature|token|key|secret|password|credential)[\w-]*=)[^&\s\"']+", re.IGNORECASE
)
_AFTER_PLACE = re.compile(r"^-{10,}$")
_PLACE = re.compile(r"^(?P<file>.+):(?P<line>\d+)$")


@dataclass(frozen=True)
class StepName:
    """A step's name taken apart. The engine's own steps (loading, exporting) have neither target nor stage."""

    target: str
    stage: str
    text: str

    @property
    def place(self) -> str:
        """Target and stage, for a person."""
        return f"{self.target} {self.stage}".strip() or "engine"


@dataclass(frozen=True)
class CacheTrouble:
    """A place of the shared cache that could not be read, or with `writing` not be filled, and why."""

    writing: bool
    place: str
    why: str


@dataclass(frozen=True)
class CacheWait:
    """A build waits for nothing but the shared cache: to be read, or with `writing` to be filled.

    `signs` counts what was heard of it. Of a layer on its way nothing is, until it is there.
    """

    writing: bool
    signs: int


@dataclass(frozen=True)
class Started:
    """A step began."""

    step: StepName


@dataclass(frozen=True)
class Printed:
    """A step printed a line."""

    step: StepName
    line: str


@dataclass(frozen=True)
class Ended:
    """A step came to its end: from the cache, or after `seconds`, or with an `error` (else "")."""

    step: StepName
    cached: bool
    seconds: float
    error: str


Event = Started | Printed | Ended
#: Is told what happens while a build runs.
Observer = Callable[[Event], None]


@dataclass
class _Vertex:
    name: StepName
    #: the targets that the engine named it after; one step of several is done once
    targets: set[str] = field(default_factory=set)
    cached: bool = False
    error: str = ""
    ran_before: bool = False
    told_start: bool = False
    told_end: bool = False
    #: of each stream, the line that has no end yet
    rest: dict[int, bytes] = field(default_factory=dict)
    #: start -> end of each time it ran; a step may be taken up more than once
    runs: dict[float, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def printed(self) -> list[str]:
        """Its last lines, those without an end too."""
        return [*self.lines, *(_shown(rest) for rest in self.rest.values() if rest)]

    @property
    def is_cached(self) -> bool:
        """Whether this build found it done."""
        return self.cached or (self.ran_before and not self.runs)

    @property
    def seconds(self) -> float:
        """How long it ran: targets that share a step each report it, so the spans may overlap."""
        total, reached = 0.0, 0.0
        for start, end in sorted(self.runs.items()):
            total += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return total


class Progress:
    """Collects a build's progress line by line. Its results are complete once the stream has ended."""

    def __init__(self, observer: Observer, targets: Mapping[str, str]) -> None:
        """`targets` maps target names to services."""
        self._observer = observer
        self._targets = targets
        self._only = next(iter(targets), "") if len(targets) == 1 else ""
        self._vertexes: dict[str, _Vertex] = {}
        self._began = 0.0
        self._sent: dict[str, int] = {}
        self._signs: dict[str, int] = {}
        self._object: list[str] = []
        self._plain: list[str] = []

    def feed(self, line: str) -> None:
        """Take the next line of standard error: part of a JSON object, or plain text after a failure."""
        if self._object or line == "{":
            self._object.append(line)
            if line == "}":
                text, self._object = "\n".join(self._object), []
                self._event(json.loads(text))
        elif line.startswith('{"') and line.endswith("}"):
            self._event(json.loads(line))
        elif line.strip():
            self._plain.append(unsigned(line))

    @property
    def plain(self) -> tuple[str, ...]:
        """What the engine said besides its events: after a failure, the reason."""
        return tuple(self._plain)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step that names a stage and came to an end; one that services share, once for each."""
        return tuple(
            Step(
                service=service,
                stage=vertex.name.stage,
                text=vertex.name.text,
                cached=vertex.is_cached,
                seconds=round(vertex.seconds, 3),
                started=min(vertex.runs, default=0.0),
                completed=max(vertex.runs.values(), default=0.0),
            )
            for vertex in self._vertexes.values()
            if vertex.name.stage and vertex.told_end
            for service in sorted({self._targets.get(target, "") for target in vertex.targets})
        )

    @property
    def context_bytes(self) -> int:
        """The bytes of contexts that were sent: of files that the engine had already, none were."""
        return sum(
            count
            for digest, count in self._sent.items()
            if (vertex := self._vertexes.get(digest)) and _CONTEXT.match(vertex.name.text)
        )

    @property
    def cache_troubles(self) -> tuple[CacheTrouble, ...]:
        """What of the shared cache could be neither read nor written. That a place has nothing yet is no trouble."""
        found = {}
        for vertex in self._vertexes.values():
            match = _SHARED.match(vertex.name.text)
            if match and vertex.error and not vertex.error.endswith(": not found"):
                found[match["verb"], match["place"]] = CacheTrouble(
                    match["verb"] == "exporting", match["place"], vertex.error
                )
        return tuple(found.values())

    @property
    def cache_wait(self) -> CacheWait | None:
        """What is waited for where only places of the shared cache have not ended; None while a step runs."""
        open_ones = {
            digest: _SHARED.match(vertex.name.text)
            for digest, vertex in tuple(self._vertexes.items())  # another thread feeds it
            if vertex.told_start and not vertex.told_end
        }
        if not open_ones or not all(open_ones.values()):
            return None
        writing = any(match["verb"] == "exporting" for match in open_ones.values() if match)
        return CacheWait(writing, sum(self._signs.get(digest, 0) for digest in open_ones))

    def failed_step(self) -> tuple[StepName, tuple[str, ...]] | None:
        """The first step that failed, and its last 200 lines."""
        vertex = self._failed
        return (vertex.name, tuple(vertex.printed[-_KEPT_LINES:])) if vertex else None

    def failed_lines(self) -> tuple[str, ...]:
        """What there is to learn a failure's reason from: the last 200 lines of the step, then the engine's words."""
        vertex = self._failed
        own = (*vertex.printed, *vertex.error.splitlines()) if vertex else ()
        return (*own, *self._plain)

    @property
    def _failed(self) -> _Vertex | None:
        failed = (one for one in self._vertexes.values() if one.error and "context canceled" not in one.error)
        return next(failed, None)

    def failed_services(self) -> tuple[str, ...]:
        """The services whose step that is."""
        failed = (v for v in self._vertexes.values() if v.error and "context canceled" not in v.error)
        targets = next((vertex.targets for vertex in failed), set())
        return tuple(sorted({self._targets[target] for target in targets if target in self._targets}))

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
        for raw in event.get("statuses") or ():
            self._signs[raw["vertex"]] = self._signs.get(raw["vertex"], 0) + 1
            if str(raw.get("id", "")).startswith("transferring "):
                count = int(raw.get("current") or 0)
                self._sent[raw["vertex"]] = max(count, self._sent.get(raw["vertex"], 0))
        for raw in event.get("logs") or ():
            if (vertex := self._vertexes.get(raw["vertex"])) is not None:
                self._log(vertex, raw.get("stream", 1), base64.b64decode(raw.get("data") or ""))

    def _vertex(self, raw: Mapping[str, Any]) -> None:
        label = " ".join(str(raw.get("name", "")).split())
        name = self._named(label)
        vertex = self._vertexes.setdefault(raw["digest"], _Vertex(name))
        vertex.targets.add(name.target)
        vertex.cached = bool(raw.get("cached", vertex.cached))
        vertex.error = unsigned(str(raw.get("error") or vertex.error))
        if raw.get("started") and not vertex.told_start:
            vertex.told_start = True
            self._observer(Started(vertex.name))
        if raw.get("started") and _BEGINS.match(label):
            self._began = min(self._began or math.inf, _epoch(raw["started"]))
        if raw.get("completed") and raw.get("started"):
            if (ended := _epoch(raw["completed"])) < self._began:
                # another build ran it, before this one: the engine tells so while that build goes on
                vertex.ran_before = True
            else:
                vertex.runs[_epoch(raw["started"])] = ended
            if not vertex.told_end:
                vertex.told_end = True
                for stream in [stream for stream, rest in vertex.rest.items() if rest]:
                    self._log(vertex, stream, b"\n")
                self._observer(Ended(vertex.name, vertex.is_cached, vertex.seconds, vertex.error))

    def _named(self, label: str) -> StepName:
        match = _STEP.match(label)
        if match is None:
            return StepName("", "", label)
        words = [word for word in match["head"].split() if "/" not in word]
        target = words.pop(0) if words and words[0] in self._targets else self._only
        return StepName(target, words[-1].lower() if words else _ONLY_STAGE, match["text"])

    def _log(self, vertex: _Vertex, stream: int, data: bytes) -> None:
        *whole, vertex.rest[stream] = (vertex.rest.get(stream, b"") + data).split(b"\n")
        for line in map(_shown, whole):
            vertex.lines.append(line)
            del vertex.lines[:-_KEPT_LINES]
            self._observer(Printed(vertex.name, line))


def unsigned(text: str) -> str:
    """The text, its URLs without what signs them."""
    return _SIGNED.sub(r"\1…", text)


def _shown(line: bytes) -> str:
    """What a terminal would show of a line: progress bars write over themselves."""
    return line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]


def _epoch(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time with any number of decimals."""
    whole, _, decimals = text.rstrip("Z").partition(".")
    base = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return base + float(f"0.{decimals or 0}")
