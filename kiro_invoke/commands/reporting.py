"""The command `report`: what the recorded builds come to."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo

from kiro_invoke.commands.outputs import check_outputs, write_outputs
from kiro_invoke.commands.report_fields import fields
from kiro_invoke.commands.report_lines import lines, text
from kiro_invoke.commands.surface import Answer, Surface, whole
from kiro_invoke.config import find_root, load
from kiro_invoke.config.quantities import age_of
from kiro_invoke.metrics.entry import Window
from kiro_invoke.metrics.history import History
from kiro_invoke.metrics.report import Report, report
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.errors import KiroError, UsageError
from kiro_invoke.plain import clean

NAME = "report"
EXTENSIONS = (".json", ".md", ".html", ".txt", ".xml")
_STATE = ".kiro"
_DAY = 86_400


def tell(
    *,
    last: str | None,
    after: str | None,
    outputs: Sequence[str],
    now: Callable[[], float] = time.time,
    zone: tzinfo | None = None,
    bring_in: Callable[[Surface, Store], None] | None = None,
) -> Callable[[Surface], Answer]:
    """Tell what a window's builds come to, and write it to `outputs`. `zone` (of times shown) None: the machine's.

    `bring_in` takes builds that were made outside into the store beforehand; None: from the engine, if one answers.
    """

    def body(surface: Surface) -> Answer:
        window = window_of(last, after, now=now())
        paths = check_outputs(outputs, EXTENSIONS, folder=surface.folder)
        root = find_root(surface.folder)
        store = Store(root / _STATE, surface.say)
        (bring_in or _from_the_engine)(surface, store)
        # a store is made where there is none, and reading need not do that
        with _uncollected():
            history = store.history(window) if store.path.exists() else History()
            found = report(history)
        told = fields(found, window)
        write_outputs(paths, _makers(found, told, store, history, (root.name, zone)))

        def show(s: Surface) -> None:
            for line in lines(found, zone):
                s.out.line(*line)
            for path in paths:
                s.say(f"written: {path}")

        return Answer(told, show)

    return body


def _from_the_engine(surface: Surface, store: Store) -> None:
    """Take in what plain docker, Compose and Tilt built, where buildx remembers it. Nothing without an engine."""
    from kiro_invoke.commands import importing, opening

    try:
        project = load(surface.folder, surface.environ)
        engine = opening.open_engine(surface, setup=False, state=project.state)
    except KiroError:
        return
    importing.import_outside(engine, project, store, surface.say)


@contextmanager
def _uncollected() -> Iterator[None]:
    """While inside, nothing is looked through for garbage: of hundreds of thousands of values none is any."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def window_of(last: str | None, after: str | None, *, now: float) -> Window:
    """The builds that are meant. UsageError for what is no number, no date, no age, or both."""
    if last is not None and after is not None:
        raise UsageError("--last and --after are given", fix="give one of the two")
    if after is not None:
        return Window(after=_time(after, now))
    if last is None:
        return Window()
    if not (last.isascii() and last.isdigit() and len(last) < 10 and int(last)):
        raise UsageError(f"--last {clean(last)}: not a number of builds", fix="give a number of at least 1")
    return Window(last=int(last))


def _time(given: str, now: float) -> float:
    """Seconds since the epoch of a date, a time or an age. One without an offset is the machine's."""
    age = age_of(given)
    if age is not None:
        return max(now - age, 0.0)
    try:
        found = datetime.fromisoformat(given).timestamp()
        datetime.fromtimestamp(found + 2 * _DAY)  # can be told, in any place's time
        return max(found, 0.0)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--after {clean(given)}: no date and no age",
            fix="give one as 2026-05-31, 2026-05-31T18:00 or 7d (s, m, h, d or w)",
        ) from None


def _makers(
    found: Report,
    told: Mapping[str, object],
    store: Store,
    history: History,
    place: tuple[str, tzinfo | None],
) -> Mapping[str, Callable[[], str]]:
    """What makes the text of each extension. What is slow to load is loaded for its own alone."""
    title, zone = place

    def page() -> str:
        from kiro_invoke.commands import report_page

        return report_page.page(found, history, store.details, title=title, zone=zone)

    def markdown() -> str:
        from kiro_invoke.commands import report_markdown

        return report_markdown.markdown(found, zone)

    def junit() -> str:
        from kiro_invoke.commands import report_junit

        return report_junit.junit(found, zone)

    return {
        ".json": lambda: f"{json.dumps(whole(NAME, told, ok=True), indent=2)}\n",
        ".md": markdown,
        ".html": page,
        ".txt": lambda: text(found, zone),
        ".xml": junit,
    }
