"""The command `clean-cache`: remove this project's layers, mounts and images, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from kiro_invoke.cache.clean import Cleaned, clean
from kiro_invoke.cache.cleaning import CleanPlan, Going, What, Wish, plan_clean
from kiro_invoke.cache.holdings import Holdings
from kiro_invoke.cache.remembered import LAYERS, mounts_weight, read_made, weight, write_made
from kiro_invoke.commands.cache_lines import going_lines, kept_lines
from kiro_invoke.commands.held import Checkout, open_checkout
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.config.quantities import age_of, size_of
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.errors import EngineError, KiroError, UsageError
from kiro_invoke.plain import clean as cleaned


@dataclass(frozen=True)
class Asked:
    """What `clean-cache` was asked for, as it was given."""

    what: str = What.ALL
    services: tuple[str, ...] = ()
    older_than: str | None = None
    max_size: str | None = None
    dry_run: bool = False
    yes: bool = False


def clean_cache(asked: Asked) -> Callable[[Surface], Answer]:
    """Remove what is asked for, once that is agreed to."""
    return lambda surface: _clean(surface, asked)


def _clean(surface: Surface, asked: Asked) -> Answer:
    wish = _wish(asked, time.time())
    checkout = open_checkout(surface, asked.services)
    if wish.unused_since is not None and (clock := checkout.engine.info().clock):
        wish = _wish(asked, clock)  # what it holds is dated by its own
    if asked.dry_run:
        held = checkout.look()
        return _dry(held, plan_clean(held, wish))
    if not asked.yes:
        held = checkout.look()
        plan = plan_clean(held, wish)
        if plan.is_empty:
            return _dry(held, plan, dry_run=False)
        _consent(surface, held, plan)
        wish = replace(wish, among=_agreed(plan))
    with checkout.resting(surface):
        done = clean(checkout.engine, checkout.look, wish)
    note_cleaned(checkout)
    return _done(done)


def _wish(asked: Asked, now: float) -> Wish:
    if asked.what not in {str(what) for what in What}:
        raise UsageError(f"--what {asked.what}: not known", fix=f"use one of {', '.join(What)}")
    age = None if asked.older_than is None else age_of(asked.older_than)
    if asked.older_than is not None and age is None:
        raise UsageError(f"--older-than {asked.older_than}: not an age", fix="write one like 7d, 12h or 8w")
    most = None if asked.max_size is None else size_of(asked.max_size)
    if asked.max_size is not None and most is None:
        raise UsageError(f"--max-size {asked.max_size}: not a size", fix="write one like 5GB or 500MB")
    return Wish(What(asked.what), frozenset(asked.services), None if age is None else now - age, most)


def _consent(surface: Surface, held: Holdings, plan: CleanPlan) -> None:
    for line in (*_lines(held, "remove", plan), *kept_lines(held, plan.keep)):
        surface.say(line)
    if surface.ask is None:
        raise KiroError(
            "nothing was removed: there is nobody to ask", fix="run it with --yes to agree beforehand"
        )
    if not surface.ask(f"Remove this? It frees about {_freeing(held, plan)}."):
        raise KiroError(
            "nothing was removed, as you said", fix="choose with --what, --service or --older-than"
        )


def _agreed(plan: CleanPlan) -> frozenset[str]:
    """What may go by what a person was told: nothing that came since, nor an image or what was in use that was to stay.

    A layer of an image may: which ones it holds shows when another is gone.
    """
    layers = (one.item for one in plan.keep if not one.item.is_image and not one.item.held)
    return frozenset(item.id for item in (*(one.item for one in (*plan.images, *plan.records)), *layers))


def _lines(held: Holdings, verb: str, plan: CleanPlan) -> list[str]:
    return going_lines(held, verb, (*plan.images, *plan.records))


def _freeing(held: Holdings, plan: CleanPlan) -> str:
    """What that frees, and why it is less than what the things hold."""
    holds = held.bytes_of(going.item for going in (*plan.images, *plan.records))
    less = holds - plan.frees > holds // 50
    return f"{told_bytes(plan.frees)}{'; what stays holds the rest as well' if less else ''}"


def _dry(held: Holdings, plan: CleanPlan, *, dry_run: bool = True) -> Answer:
    fields = {
        "images": [_item_fields(going) for going in plan.images],
        "records": [_item_fields(going) for going in plan.records],
        "kept": [_item_fields(going) for going in plan.keep],
        "frees_bytes": plan.frees,
        "freed_bytes": 0,
    }

    def show(surface: Surface) -> None:
        for line in (*_lines(held, "would remove", plan), *kept_lines(held, plan.keep)):
            surface.out.line(cleaned(line))
        surface.out.line("nothing to remove" if plan.is_empty else f"would free about {_freeing(held, plan)}")

    return Answer({"dry_run": True, **fields} if dry_run else fields, show)


def _done(done: Cleaned) -> Answer:
    fields = {
        "images": [_item_fields(going) for going in done.images],
        "records": [_item_fields(going) for going in done.records],
        "kept": [_item_fields(going) for going in (*done.left, *done.keep)],
        "frees_bytes": done.foretold,
        "freed_bytes": done.freed,
    }

    def show(surface: Surface) -> None:
        removed = (*done.images, *done.records)
        lines = [*going_lines(done.before, "removed", removed), *kept_lines(done.before, done.keep)]
        lines += kept_lines(done.after, _still(done.left))
        for line in lines:
            surface.out.line(cleaned(line))
        surface.out.line(
            f"freed {told_bytes(done.freed)}, as a second reading of the engine tells"
            if removed
            else "nothing to remove"
        )

    return Answer(fields, show)


def _still(left: Iterable[Going]) -> tuple[Going, ...]:
    """What was to go, and what the engine did not let go."""
    return tuple(replace(going, cause="the engine holds it: something uses it") for going in left)


def _item_fields(going: Going) -> dict[str, Any]:
    item = going.item
    return {
        "id": item.id,
        "kind": str(item.kind),
        "services": sorted(item.services),
        "what": item.what,
        "bytes": item.size,
        "cause": going.cause,
    }


def note_cleaned(checkout: Checkout) -> None:
    """Let later builds know what the cache holds now; what is remembered of another engine still holds."""
    file, address = checkout.project.state / LAYERS, checkout.engine.facts.address
    if read_made(file).engine != address:
        return
    with suppress(EngineError):  # what was cleaned is cleaned: later builds read it
        records = checkout.engine.cache_records()
        made = read_made(file).read(records, address)
        write_made(
            file,
            replace(made, gathered=0, weight=weight(records), mounts=mounts_weight(records), reckoned=()),
        )
