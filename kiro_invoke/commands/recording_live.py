"""Remember what live updates did, beside the loop: nothing in it waits for the store."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kiro_invoke.commands.recording import Recorder
from kiro_invoke.loop import told
from kiro_invoke.loop.decide import Way
from kiro_invoke.metrics.entry import LIVE, Entry, ImageEntry
from kiro_invoke.model.record import Step
from kiro_invoke.plain import clean
from kiro_invoke.version import __version__

#: Seconds that what is still to be written gets when the loop ends.
_LAST_WRITES = 1.0
#: What a live update does, one after the other, as the stages that a waterfall shows.
_PARTS = ("sync", "build", "restart")


@contextmanager
def recording(
    recorder: Recorder, engine: str, now: Callable[[], float] = time.time
) -> Iterator[Callable[[told.Told], None]]:
    """Inside, each live update that is told to what this gives is remembered, by a thread of its own."""
    entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
    writer = threading.Thread(target=_write, args=(entries, recorder), daemon=True)

    def tell(one: told.Told) -> None:
        entry = entry_of(one, engine, now())
        if entry is not None:
            entries.put(entry)

    writer.start()
    try:
        yield tell
    finally:
        entries.put(None)
        writer.join(_LAST_WRITES)


def entry_of(one: told.Told, engine: str, now: float) -> Entry | None:
    """A live update as the store has it; None of anything else: images are remembered where they are built."""
    if not isinstance(one, told.Served | told.Broken):
        return None
    change, spent = one.change, one.seconds
    if change.way not in (Way.LIVE, Way.LIVE_IMAGE_BEHIND):
        return None
    broken = one if isinstance(one, told.Broken) else None
    began = now - spent.total
    steps = tuple(_steps(change.service, spent, began))
    return Entry(
        began=began,
        seconds=spent.total,
        command="watch",
        ok=broken is None,
        message=clean(" ".join(broken.what.split())) if broken else "",
        way=LIVE,
        engine=engine,
        tool=__version__,
        images=(
            ImageEntry(
                service=change.service,
                profile="dev",
                kind=str(change.kind),
                cause=change.cause,
                file=change.paths[0] if change.paths else "",
                revision="" if isinstance(one, told.Broken) else one.revision,
                seconds=spent.total,
                ran=len(steps),
            ),
        ),
        steps=steps,
    )


def _steps(service: str, spent: told.Seconds, began: float) -> Iterator[Step]:
    """The parts that took time, as they followed each other once it was decided what to do."""
    at = began + spent.detect
    for part in _PARTS:
        took: float = getattr(spent, part)
        if took > 0:
            yield Step(service, f"live {part}", part, False, took, at, at + took)
        at += took


def _write(entries: queue.SimpleQueue[Entry | None], recorder: Recorder) -> None:
    for entry in iter(entries.get, None):
        _remember(entry, recorder)


def _remember(entry: Entry, recorder: Recorder) -> None:
    recorder.remember(lambda: entry)
