"""What the engine's own garbage collection (GC) drops of its build cache, and when. Pure.

Rules as moby has them, `builder/builder-next/worker/gc.go`: it applies them in order, a minute after a build at the
latest and at its start. Engines before 28.2 have none unless their configuration turns GC on.
"""

from __future__ import annotations

import heapq
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from kiro_invoke.engine.protocol import CacheRecord

HOUR, DAY = 3600.0, 86400.0
#: The kinds of records that are easiest to make again: a default rule drops them first.
EASY = frozenset({"source.local", "exec.cachemount", "source.git.checkout"})
#: What no rule drops but one for everything.
_INNER = frozenset({"internal", "frontend"})
#: The first engines that collect by default, that see how much of the disk is free, that reckon its parts by percent,
#: and whose default rule for EASY matches any record (before, it asked a record to be of all three kinds at once).
_BY_DEFAULT, _BY_SPACE, _BY_PERCENT, _EASY_GO = (28, 2), (28,), (28, 5, 1), (29, 6)
_EASY_PERCENT = math.e * math.pi * (1 + math.sqrt(5)) / 2
_EASY_LEAST = 512_000_000
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+) ?(?:([kmgtp]?)(?:i?b)?)?\s*", re.IGNORECASE)
_SPANS = {"h": HOUR, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SPAN = re.compile(r"(\d+(?:\.\d*)?)(h|ms|us|µs|ns|m|s)")
_HEAD = re.compile(r"^GC Policy rule#(\d+):", re.MULTILINE)
_LINE = re.compile(r"^\s+([A-Z][\w ]*?):[ \t]+(\S.*?)\s*$")
_TYPE = re.compile(r"type==?(.+)")


@dataclass(frozen=True)
class GcRule:
    """What GC drops: records of these `kinds` (empty: of all), unused for so long, while the cache holds too much.

    Too much is more than `most_bytes` (0: no such bound), or while less than `free_bytes` of the disk are free; but
    `keep_bytes` stay in any case. With all three 0, everything that matches goes. `everything`: what images hold and
    what the engine made for itself goes too. `condition` is what else its filter asks of a record, where that is
    nothing that records tell.
    """

    kinds: frozenset[str] = frozenset()
    unused_seconds: float = 0.0
    keep_bytes: int = 0
    everything: bool = False
    most_bytes: int = 0
    free_bytes: int = 0
    condition: str = ""

    def keeps(self, total: int, free: int | None) -> int | None:
        """How many bytes of a cache that holds `total` it leaves; None where it goes by no size.

        `free` are the disk's free bytes, None: not known, and taken for enough.
        """
        if not (self.keep_bytes or self.most_bytes or self.free_bytes):
            return None
        most = self.most_bytes or (total + 1 if self.free_bytes else 0)
        missing = self.free_bytes - free if free is not None else 0
        return max(min(most, total - missing) if missing > 0 else most, self.keep_bytes)


@dataclass(frozen=True)
class Going:
    """A record that GC drops as things stand: at the earliest at `at` (seconds since the epoch), and why."""

    id: str
    at: float
    cause: str


def rules_told(text: str) -> tuple[GcRule, ...]:
    """The rules of the builder's first node, as `docker buildx inspect` prints them; none: it does not collect."""
    _, *parts = _HEAD.split(text)
    rules: list[GcRule] = []
    for number, body in zip(parts[::2], parts[1::2], strict=True):
        if number == "0" and rules:
            break
        rules += _told(body)
    return tuple(rules)


def rules_set(daemon_json: str, disk_bytes: int, engine: str) -> tuple[GcRule, ...] | None:
    """The rules that a daemon.json sets for an engine of that version; None where it says nothing of GC.

    The same for a text that is no JSON: no engine starts with it.
    """
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        gc = _key(_key(json.loads(daemon_json), "builder") or {}, "gc")
        return None if gc is None else tuple(_set(gc, disk_bytes, engine))
    return None


def default_rules(disk_bytes: int, engine: str) -> tuple[GcRule, ...]:
    """The rules of an engine of that version ("26.1.5") that was told nothing. `disk_bytes`: its disk's size."""
    return _defaults(disk_bytes, engine) if _version(engine) >= _BY_DEFAULT else ()


def will_go(
    records: Iterable[CacheRecord], rules: Sequence[GcRule], now: float, *, free: int | None = None
) -> tuple[Going, ...]:
    """What GC drops of these records if nobody builds anything more, in order of time.

    A record goes after all that was made on it. Of those that are ready the one goes first that was used longest ago;
    an engine weighs how often it was used as well, and to weigh a mount that was written to is a use of it: the records
    of a second look are the right ones. `free`: the free bytes of the engine's disk.
    """
    usable = [rule for rule in rules if not rule.condition]
    cache, at = _Cache(records, usable, free), now
    gone: list[Going] = []
    while True:
        for number, rule in enumerate(usable):
            gone += [Going(id, at, _cause(rule)) for id in cache.drop(number, at)]
        later = [time for number in range(len(usable)) if (time := cache.next(number, at)) is not None]
        if not later:
            return tuple(gone)
        at = min(later)


class _Cache:
    """The records that are left, while rules take from them.

    Each rule, known by its number, has those that nothing stands on and that it is for: they wait until they were
    unused for as long as it asks, and are then ready, the one first that was used longest ago.
    """

    def __init__(self, records: Iterable[CacheRecord], rules: Sequence[GcRule], free: int | None) -> None:
        self._left = {record.id: record for record in records}
        self._children = Counter(parent for record in self._left.values() for parent in record.parents)
        self._total = sum(record.size for record in self._left.values() if not record.shared)
        self._free = free
        self._rules = rules
        self._waiting: list[list[tuple[float, str]]] = [[] for _ in rules]
        self._ready: list[list[tuple[float, str]]] = [[] for _ in rules]
        for record in self._left.values():
            self._loosen(record)

    def drop(self, number: int, at: float) -> Iterator[str]:
        """Take what a rule takes at that time; the records' ids."""
        keep = self._rules[number].keeps(self._total, self._free)
        self._ripen(number, at)
        ready = self._ready[number]
        while ready and not self._enough(keep):
            record = self._left.pop(heapq.heappop(ready)[1], None)
            if record is None:
                continue  # another rule took it
            self._total -= record.size
            self._free = None if self._free is None else self._free + record.size
            self._children.subtract(record.parents)
            for parent in record.parents:
                if parent in self._left:
                    self._loosen(self._left[parent])
            self._ripen(number, at)
            yield record.id

    def next(self, number: int, at: float) -> float | None:
        """When, after `at`, a rule could take another one; None: never."""
        if self._enough(self._rules[number].keeps(self._total, self._free)):
            return None
        self._ripen(number, at)
        return self._waiting[number][0][0] if self._waiting[number] else None

    def _enough(self, keep: int | None) -> bool:
        return keep is not None and self._total < keep

    def _loosen(self, record: CacheRecord) -> None:
        """Have it wait, once nothing stands on it, for the rules that take it."""
        if self._children[record.id]:
            return
        for rule, waiting in zip(self._rules, self._waiting, strict=True):
            if matches(rule, record):
                heapq.heappush(waiting, (ready_at(rule, record), record.id))

    def _ripen(self, number: int, at: float) -> None:
        """Make ready what waited long enough, and forget what is gone."""
        waiting = self._waiting[number]
        while waiting and (waiting[0][0] <= at or waiting[0][1] not in self._left):
            _, id = heapq.heappop(waiting)
            if id in self._left:
                heapq.heappush(self._ready[number], (self._left[id].used, id))


def matches(rule: GcRule, record: CacheRecord) -> bool:
    """Whether a rule is for this record, whatever its age."""
    spared = record.in_use or (not rule.everything and (record.shared or record.kind in _INNER))
    return not spared and (not rule.kinds or record.kind in rule.kinds)


def ready_at(rule: GcRule, record: CacheRecord) -> float:
    """From when on a record is unused for as long as a rule asks; one that was never used is at once."""
    return record.used + rule.unused_seconds if record.used else 0.0


def _cause(rule: GcRule) -> str:
    what = f"what is of type {' or '.join(sorted(rule.kinds))}" if rule.kinds else "whatever"
    what = "mounts, contexts and checkouts" if rule.kinds == EASY else what
    age = f" not used for {_age(rule.unused_seconds)}" if rule.unused_seconds >= 1 else ""
    least = "" if age or rule.kinds else " was used longest ago"
    bounds = (
        f"the cache holds more than {_gb(rule.most_bytes or rule.keep_bytes)}"
        if rule.most_bytes or rule.keep_bytes
        else "",
        f"less than {_gb(rule.free_bytes)} of the disk are free" if rule.free_bytes else "",
    )
    while_ = " or ".join(filter(None, bounds))
    return f"the engine drops {what}{age}{least}{f' while {while_}' if while_ else ''}"


def _age(seconds: float) -> str:
    hours = round(seconds / HOUR)
    return f"{hours // 24} days" if hours >= 72 and hours % 24 == 0 else f"{hours} h"


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _told(body: str) -> Iterator[GcRule]:
    """A rule from the lines after its headline; none where no record can be what its filter asks."""
    said: dict[str, str] = {}
    for line in body.split("\n")[1:]:
        match = _LINE.match(line)
        if match is None:
            if line.strip() not in {"Filters:", ""}:
                break
            continue
        said[match[1]] = match[2]
    kept = _size(said.get("Keep Bytes") or said.get("Reserved Space") or "")
    rule = GcRule(
        unused_seconds=_span(said.get("Keep Duration", "")) or 0.0,
        keep_bytes=kept,
        everything=said.get("All") == "true",
        most_bytes=_size(said.get("Max Used Space", "")),
        free_bytes=_size(said.get("Min Free Space", "")),
    )
    # words are alternatives, and what commas join in one must be true together
    words = [word.split(",") for word in said.get("Filters", "").split()]
    yield from _filtered(rule, words)


def _filtered(rule: GcRule, alternatives: Sequence[Sequence[str]]) -> Iterator[GcRule]:
    if not alternatives:
        yield rule
        return
    kinds: set[str] = set()
    for selectors in alternatives:
        types = {match[1].strip() for one in selectors if (match := _TYPE.fullmatch(one.strip()))}
        others = [one for one in selectors if not _TYPE.fullmatch(one.strip())]
        if len(types) > 1:
            continue
        if others:
            yield replace(rule, kinds=frozenset(types), condition=",".join(others))
        elif types:
            kinds |= types
    if kinds:
        yield replace(rule, kinds=frozenset(kinds))


def _set(gc: Mapping[str, Any], disk_bytes: int, engine: str) -> Iterator[GcRule]:
    enabled = _key(gc, "enabled")
    if not (_version(engine) >= _BY_DEFAULT if enabled is None else enabled):
        return
    default = _size(_key(gc, "defaultReservedSpace") or _key(gc, "defaultKeepStorage") or "")
    policy = _key(gc, "policy")
    if policy is None:
        most, free = (_size(_key(gc, f"default{name}") or "") for name in ("MaxUsedSpace", "MinFreeSpace"))
        yield from _defaults(disk_bytes, engine, GcRule(keep_bytes=default, most_bytes=most, free_bytes=free))
        return
    for one in policy:
        rule = GcRule(
            keep_bytes=_size(_key(one, "reservedSpace") or _key(one, "keepStorage") or ""),
            everything=bool(_key(one, "all")),
            most_bytes=_size(_key(one, "maxUsedSpace") or ""),
            free_bytes=_size(_key(one, "minFreeSpace") or ""),
        )
        if not rule.keep_bytes and _version(engine) < _BY_SPACE:
            rule = replace(rule, keep_bytes=default)
        selectors = [str(word) for word in _key(one, "filter") or ()]
        spans = [word.partition("=")[2] for word in selectors if word.startswith(("unused-for=", "until="))]
        others = [word for word in selectors if not word.startswith(("unused-for=", "until="))]
        span = _span(spans[0]) if spans else 0.0
        if span is None:
            others.append(f"unused-for={spans[0]}")
        rule = replace(rule, unused_seconds=span or 0.0)
        yield from _filtered(rule, [others] if others else [])


def _defaults(disk_bytes: int, engine: str, asked: GcRule = GcRule()) -> tuple[GcRule, ...]:
    """The four rules that an engine makes itself, by the size of its disk or by the bounds that it was given."""
    version = _version(engine)
    bounds = asked
    if not (asked.keep_bytes or asked.most_bytes or asked.free_bytes):
        most, free = (80, 20) if version >= _BY_SPACE else (0, 0)
        kept, most, free = (_part(disk_bytes, percent, version) for percent in (10, most, free))
        bounds = GcRule(keep_bytes=kept, most_bytes=most, free_bytes=free)
    easy = max(round(bounds.keep_bytes / 100 * _EASY_PERCENT), _EASY_LEAST)
    first = (GcRule(EASY, 48 * HOUR, most_bytes=easy),) if version >= _EASY_GO else ()
    return (*first, replace(bounds, unused_seconds=60 * DAY), bounds, replace(bounds, everything=True))


def _part(disk_bytes: int, percent: int, version: tuple[int, ...]) -> int:
    """What an engine takes for so many percent of a disk, rounded up to its next odd gigabyte."""
    if not percent:
        return 0
    part = disk_bytes * percent // 100 if version >= _BY_PERCENT else disk_bytes // percent
    return ((part >> 30) + 1) * 1_000_000_000


def _key(folder: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401
    """A key as engines read it: in any case of its letters."""
    return next((value for key, value in folder.items() if key.lower() == name.lower()), None)


def _size(text: str) -> int:
    """Bytes of a size as engines write and read it ("9.313GiB", "10GB": both by 1024); 0 for none."""
    match = _SIZE.fullmatch(str(text))
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()]) if match else 0


def _span(text: str) -> float | None:
    """Seconds of a Go duration ("48h0m0s"); None for what is none."""
    found = _SPAN.findall(text)
    if not found or _SPAN.sub("", text).strip():
        return None
    return sum(float(count) * _SPANS[unit] for count, unit in found)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
