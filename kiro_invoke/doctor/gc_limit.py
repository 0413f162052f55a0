"""The engine's garbage collection against what this checkout needs, and the limits that `--fix` sets. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kiro_invoke.cache.collecting import DAY, GcRule, will_go
from kiro_invoke.cache.records import MOUNT, mount_id
from kiro_invoke.cache.remembered import weight
from kiro_invoke.doctor.finding import Finding, note, ok, problem, skipped
from kiro_invoke.engine.protocol import CacheRecord

GC = "gc-limit"
_LEAST, _MOST = 10_000_000_000, 100_000_000_000
#: Days that a cache mount may go unused: a holiday, where engines' own rule has a weekend.
UNUSED_DAYS = 14


@dataclass(frozen=True)
class Caching:
    """What the engine's cache holds, and the rules by which it is kept small (None: not known), told by `origin`.

    `namespaces` are those of this checkout's mounts, `layers` are those that its builds made.
    `waiting` is the file that sets a limit which the engine does not know yet.
    """

    records: Sequence[CacheRecord]
    rules: Sequence[GcRule] | None
    origin: str
    namespaces: Collection[str]
    layers: Collection[str] = ()
    disk_bytes: int | None = None
    disk_free: int | None = None
    ours: bool = False
    config: str = "/etc/docker/daemon.json"
    waiting: str = ""


def check_collection(facts: Caching, now: float) -> Iterator[Finding]:
    """Whether the engine bounds its cache, and whether it drops what this checkout's next build needs."""
    held = weight(facts.records)
    if facts.rules is None:
        yield skipped(GC, facts.origin)
        return
    if facts.waiting:
        yield note(GC, f"{facts.waiting} sets a limit, which takes effect when the engine starts next")
        return
    if not any(_bounds(rule) for rule in facts.rules):
        yield note(
            GC,
            f"nothing bounds the engine's build cache ({held / 1e9:.1f} GB now): it grows until the disk is full",
            cure(facts),
        )
        return
    going = [
        one
        for one in will_go(facts.records, facts.rules, now, free=facts.disk_free)
        if one.at < now + 3 * DAY
    ]
    own = own_records(facts)
    lost = [one for one in going if one.id in own]
    if not lost:
        yield ok(
            GC, f"the cache is bounded, and nothing of this checkout is about to go (told by {facts.origin})"
        )
        return
    size = {record.id: record.size for record in facts.records}
    soon = [one for one in lost if one.at <= now]
    told = f"{len(lost)} of this checkout's records ({sum(size[one.id] for one in lost) / 1e9:.1f} GB)"
    if soon:
        yield problem(GC, f"at its next look {soon[0].cause}: {told} go, and are built again", cure(facts))
    else:
        hours = max(1, round((lost[0].at - now) / 3600))
        yield note(GC, f"in {hours} h {lost[0].cause}: {told} go unless a build uses them", cure(facts))


def own_records(facts: Caching) -> frozenset[str]:
    """Mounts of this checkout's namespace, and layers that its builds made."""
    mounts = ((record.id, mount_id(record.description)) for record in facts.records if record.kind == MOUNT)
    return frozenset({id for id, mount in mounts if mount and mount[0] in facts.namespaces} | {*facts.layers})


def cure(facts: Caching) -> str:
    """What to do about the limit, for this engine."""
    if facts.ours:
        return "`kiro doctor --fix` sets a limit that keeps mounts for two weeks"
    limit = json.dumps({"builder": {"gc": limits(facts.disk_bytes or 0)}}, separators=(", ", ": "))
    return f"set it in the engine's configuration ({facts.config}; Docker Desktop: Settings, Docker Engine): {limit}"


def wants_limit(facts: Caching) -> bool:
    """Whether `--fix` has a limit to set: there is none."""
    return facts.rules is not None and not facts.waiting and not any(_bounds(rule) for rule in facts.rules)


def limits(disk_bytes: int) -> dict[str, Any]:
    """`builder.gc` of a daemon.json: a fifth of the disk, 10 to 100 GB, and mounts that were used in two weeks stay.

    A rule names one kind each: engines refuse several. `keepStorage` is what engines before 28 know, and newer ones
    still take.
    """
    most = min(max(disk_bytes // 5, _LEAST), _MOST)
    # engines read GB as GiB: in bytes it means what it says
    kept = str(most)
    unused = f"unused-for={UNUSED_DAYS * 24}h"
    easy = str(most // 2)
    return {
        "enabled": True,
        "policy": [
            *(
                {"keepStorage": easy, "filter": [f"type={kind}", unused]}
                for kind in ("source.local", "source.git.checkout", "exec.cachemount")
            ),
            {"keepStorage": kept, "filter": ["unused-for=1440h"]},
            {"keepStorage": kept},
            {"keepStorage": kept, "all": True},
        ],
    }


def _bounds(rule: GcRule) -> bool:
    """Whether a rule keeps the whole cache small: one for mounts alone does not."""
    return bool(
        not rule.kinds and not rule.condition and (rule.keep_bytes or rule.most_bytes or rule.free_bytes)
    )
