"""What `show-cache` and `clean-cache` tell a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from kiro_invoke.cache.cleaning import Going, by_cause
from kiro_invoke.cache.holdings import Holdings
from kiro_invoke.cache.made import joined
from kiro_invoke.cache.places import Kind
from kiro_invoke.cache.whose import WITHOUT, is_unnamed_twin
from kiro_invoke.commands.cache_tables import Row, Shown, unsure_of
from kiro_invoke.commands.report_words import change, when
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.plain import clean
from kiro_invoke.screen import Paper

_HEAD = ("service", "kind", "size", "shared", "new in 7 days", "last used")
#: How many causes are told, those with the most bytes, and how many names of things that go.
_CAUSES, _NAMES = 6, 4


def show_held(out: Paper, shown: Shown) -> None:
    """What is held, as a table, and what else is to be known of it."""
    out.line(clean(f"{shown.project} on {shown.engine}"))
    if shown.rows:
        out.line("")
        for line in table([_HEAD, *(_cells(row, shown.now) for row in shown.rows)], left={0, 1, 5}):
            out.unwrapped(clean(line))
        out.line("")
    held = shown.held
    out.line(
        f"ours alone    {told_bytes(held.bytes_of(held.ours))}, each byte once; the rest, others hold as well"
    )
    for why, items in unsure_of(held)[:_CAUSES]:
        out.line(
            clean(f"perhaps ours  {told_bytes(held.held_by(items))} in {len(items)}: {joined(why)}; kept")
        )
    for line in unlocking(held):
        out.line(f"              {line}")
    out.line(f"others'       {told_bytes(shown.others_bytes)} of the engine's build cache; never removed")
    for line in _elsewhere(shown):
        out.line(clean(line))
    whole, history = shown.state
    out.line(f"state folder  {told_bytes(whole)} in .kiro, {told_bytes(history)} of it the history of builds")
    for line in (*_disk(shown), *_growth(shown), *_collection(shown)):
        out.line(clean(line))


def _elsewhere(shown: Shown) -> Iterable[str]:
    """Of what is not on this engine, only where it is: it is others' as well."""
    if shown.builder:
        yield f"builder       {shown.builder}: what it holds is its own (docker buildx du --builder {shown.builder})"
    if shown.shared is None:
        yield "registry      no registry cache is configured"
        return
    if shown.shared.target:
        yield f"shared cache  filled at {shown.shared.target.told} by warm-cache --push"
    for entry in shown.shared.sources:
        yield f"shared cache  read from {entry.told}"


def _cells(row: Row, now: float) -> tuple[str, ...]:
    return (
        row.service or "(all)",
        str(row.kind),
        told_bytes(row.bytes),
        told_bytes(row.shared) if row.shared else "-",
        told_bytes(row.new) if row.new else "-",
        ago(now - row.used),
    )


def _disk(shown: Shown) -> Iterable[str]:
    size, free = shown.rules.disk_bytes, shown.rules.disk_free
    if size is not None and free is not None:
        yield f"disk          {told_bytes(free)} of {told_bytes(size)} are free"


def _growth(shown: Shown) -> Iterable[str]:
    grown = shown.growth
    if grown is None or (grown.layers is None and grown.mounts is None):
        yield "growth        not known: no two builds of the last week are recorded"
        return
    parts = [
        f"{name} {change(grew.last - grew.first)}"
        for name, grew in (("layers", grown.layers), ("mounts", grown.mounts))
        if grew is not None
    ]
    yield f"growth        of the engine's whole cache since {when(shown.since, None)}: {', '.join(parts)}"


def _collection(shown: Shown) -> Iterable[str]:
    rules = shown.rules
    if rules.rules is None:
        yield f"collection    not known what the engine drops by itself: {rules.origin}"
        return
    if not rules.rules:
        later = f"; {rules.waiting} sets a limit from its next start on" if rules.waiting else ""
        yield f"collection    the engine drops nothing by itself ({rules.origin}){later}"
        return
    if not shown.going:
        yield f"collection    nothing of this is what the engine would drop as things stand ({rules.origin})"
    for cause, some in _going_by_cause(shown):
        size = sum(shown.held.by_id[one].size for one, _ in some)
        first = min(at for _, at in some)
        moment = "at its next collection" if first <= shown.now else f"from {when(first, None)} on"
        yield f"collection    {told_bytes(size)} in {len(some)} {moment}: {cause} ({rules.origin})"


def _going_by_cause(shown: Shown) -> Iterable[tuple[str, list[tuple[str, float]]]]:
    groups: dict[str, list[tuple[str, float]]] = {}
    for one in shown.going:
        groups.setdefault(one.cause, []).append((one.id, one.at))
    return groups.items()


def ago(seconds: float) -> str:
    """How long ago something was, to the nearest whole unit."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def table(rows: Sequence[Sequence[str]], *, left: set[int]) -> list[str]:
    """Rows of equal length in columns: those of `left` begin where their head does, others end there."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def unlocking(held: Holdings) -> list[str]:
    """What lets layers go that stay because of builds without kiro, for whoever made these."""
    ids = sorted(record.id for record in held.facts.records if is_unnamed_twin(record, held.facts.owner))
    if held.twin != WITHOUT or not ids:
        return []
    filter = f"id=^({'|'.join(ids)})$"
    return [
        f"were those builds yours, `docker buildx prune --filter '{filter}'` removes their mounts, and these can go"
    ]


def going_lines(held: Holdings, verb: str, going: Sequence[Going]) -> list[str]:
    """Things that go or went, a line for each kind: how many, how much, which."""
    lines: list[str] = []
    for kind in [kind for kind in Kind if any(one.item.kind is kind for one in going)]:
        items = [one.item for one in going if one.item.kind is kind]
        services = sorted({service for item in items for service in item.services})
        names = sorted({item.what.removeprefix("mount ") for item in items})
        shown = (
            "" if kind.value == "layers" else f": {', '.join(names[:_NAMES])}{', …' * (len(names) > _NAMES)}"
        )
        whose = f" of {', '.join(services)}" if services else ""
        line = f"{verb} {kind.counted(len(items))} ({told_bytes(held.bytes_of(items))}){whose}{shown}"
        lines.append(joined(line))
    return lines


def kept_lines(held: Holdings, keep: Sequence[Going]) -> list[str]:
    """Things that stay, a line for each cause; images by name."""
    groups = sorted(by_cause(keep), key=lambda group: -held.held_by(one.item for one in group[1]))
    lines = []
    for cause, some in groups[:_CAUSES]:
        items = [one.item for one in some]
        names = sorted(item.what for item in items if item.is_image)
        counts = Counter(item.kind for item in items if not item.is_image)
        more = ["…"] if len(names) > _NAMES else []
        what = [*names[:_NAMES], *more, *(kind.counted(count) for kind, count in counts.items())]
        # a mount's namespace is somebody else's text: no line of it is one of ours
        lines.append(joined(f"keep {', '.join(what)} ({told_bytes(held.held_by(items))}): {cause}"))
    lines += unlocking(held)
    if len(groups) > _CAUSES:
        lines.append(
            f"keep {sum(len(some) for _, some in groups[_CAUSES:])} more, for other reasons (--format json)"
        )
    return lines
