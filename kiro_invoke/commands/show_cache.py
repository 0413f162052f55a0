"""The command `show-cache`: what the engine holds of this checkout, what is not known to be its, what GC will drop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kiro_invoke.cache.collecting import Going, will_go
from kiro_invoke.cache.holdings import Holdings
from kiro_invoke.commands.cache_lines import show_held
from kiro_invoke.commands.cache_tables import WEEK, Row, Shown, rows_of, unsure_of
from kiro_invoke.commands.gc_rules import GcRules, gc_rules
from kiro_invoke.commands.held import Checkout, open_checkout
from kiro_invoke.commands.report_words import moment
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.metrics.statistics import CacheGrowth, Growth, growth
from kiro_invoke.metrics.store import FILE, Store
from kiro_invoke.model.errors import KiroError
from kiro_invoke.model.service import Project
from kiro_invoke.model.shared import SharedCache


def show_cache(services: Sequence[str]) -> Callable[[Surface], Answer]:
    """What the engine holds of these services, by kind (none: of all)."""
    return lambda surface: _show(surface, services)


def _show(surface: Surface, services: Sequence[str]) -> Answer:
    checkout = open_checkout(surface, services)
    now = time.time()
    held = checkout.look()
    rules = gc_rules(checkout.engine, checkout.engine.info())
    grown, since = _grown(checkout.project, now)
    shown = Shown(
        project=checkout.project.name,
        engine=f"Docker Engine {checkout.engine.facts.version} at {checkout.engine.facts.address}",
        rows=rows_of(held, now, checkout.services),
        held=held,
        rules=rules,
        going=_going(held, rules, now),
        growth=grown,
        since=since,
        state=_weights(checkout.project.state),
        now=now,
        builder=checkout.project.builder.name if checkout.project.builder else "",
        shared=checkout.project.shared,
    )
    return Answer(_fields(shown, checkout), lambda s: show_held(s.out, shown))


def _going(held: Holdings, rules: GcRules, now: float) -> tuple[Going, ...]:
    """What of this checkout's the engine itself will drop as things stand."""
    if not rules.rules:
        return ()
    going = will_go(held.facts.records, rules.rules, now, free=rules.disk_free)
    ours = {item.id for item in held.ours}
    return tuple(one for one in going if one.id in ours)


def _grown(project: Project, now: float) -> tuple[CacheGrowth | None, float]:
    """By how much the engine's cache grew within a week, by the builds of this checkout, and since when that is known.

    None: nothing tells.
    """
    if (project.state / FILE).exists():
        with suppress(KiroError):
            sizes = Store(project.state, lambda _line: None).sizes(now - WEEK)
            return growth(sizes), min((size.began for size in sizes), default=now)
    return None, now


def _weights(state: Path) -> tuple[int, int]:
    """What the state folder holds on this machine's disk, and the history of builds of it, in bytes."""
    whole = 0
    for folder, _, names in os.walk(state):
        for name in names:
            with suppress(OSError):
                whole += Path(folder, name).lstat().st_blocks * 512
    history = 0
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):  # the last two come and go
            history += (state / f"{FILE}{suffix}").stat().st_size
    return whole, history


def _shared_fields(shared: SharedCache | None) -> dict[str, Any] | None:
    if shared is None:
        return None
    return {"to": shared.target.told if shared.target else None, "from": [one.told for one in shared.sources]}


def _fields(shown: Shown, checkout: Checkout) -> dict[str, Any]:
    held, facts, rules = shown.held, checkout.engine.facts, shown.rules
    whole, history = shown.state
    return {
        "engine": {"address": facts.address, "version": facts.version},
        "bytes": held.bytes_of(held.ours),
        "holdings": [_row_fields(row) for row in shown.rows],
        "unsure": [
            {"why": why, "items": len(items), "bytes": held.held_by(items)} for why, items in unsure_of(held)
        ],
        "cache_bytes": held.cache_bytes,
        "others_bytes": shown.others_bytes,
        "registry_cache": _shared_fields(shown.shared),
        "state": {"folder": str(checkout.project.state), "bytes": whole, "metrics_bytes": history},
        "disk": {"bytes": rules.disk_bytes, "free_bytes": rules.disk_free},
        "growth": {
            "since": moment(shown.since),
            "layers_bytes": _by(shown.growth.layers if shown.growth else None),
            "mounts_bytes": _by(shown.growth.mounts if shown.growth else None),
        },
        "collection": {
            "origin": rules.origin,
            "collects": None if rules.rules is None else bool(rules.rules),
            "going": [
                {
                    "id": one.id,
                    "what": held.by_id[one.id].what,
                    "bytes": held.by_id[one.id].size,
                    "at": moment(one.at),
                    "cause": one.cause,
                }
                for one in shown.going
            ],
        },
        "items": [
            {
                "id": item.id,
                "kind": str(item.kind),
                "services": sorted(item.services),
                "what": item.what,
                "bytes": item.size,
                "shared": item.shared,
                "used": moment(item.used),
                "whose": str(item.whose),
                "why": item.held or item.why,
            }
            for item in held.items
        ],
    }


def _by(growth: Growth | None) -> int | None:
    return growth.last - growth.first if growth else None


def _row_fields(row: Row) -> dict[str, Any]:
    return {
        "service": row.service or None,
        "kind": str(row.kind),
        "items": row.items,
        "bytes": row.bytes,
        "shared_bytes": row.shared,
        "new_bytes": row.new,
        "used": moment(row.used),
    }
