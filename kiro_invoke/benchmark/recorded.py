"""A sample as the metrics store keeps it. Pure."""

from __future__ import annotations

from datetime import datetime

from kiro_invoke.benchmark.results import COMMAND
from kiro_invoke.benchmark.samples import Sample
from kiro_invoke.benchmark.scenarios import Variant
from kiro_invoke.benchmark.subject import PROFILES
from kiro_invoke.metrics.entry import IMAGE, LIVE, Entry, ImageEntry, as_kept
from kiro_invoke.model.record import Step
from kiro_invoke.version import __version__


def entry_of(sample: Sample, steps: tuple[Step, ...], engine: str, run: str) -> Entry:
    """One timed build of the run that began at a time."""
    key, kept = sample.key, tuple(map(as_kept, steps))
    image = ImageEntry(
        service=key.service,
        profile=str(PROFILES.get(key.variant, "")),
        cause=key.scenario.described,
        seconds=sample.seconds,
        cached=sum(step.cached for step in kept),
        ran=sum(not step.cached for step in kept),
        variant=str(key.variant),
        scenario=str(key.scenario),
    )
    return Entry(
        began=datetime.fromisoformat(sample.at).timestamp(),
        seconds=sample.seconds or 0.0,
        command=COMMAND,
        ok=sample.seconds is not None,
        message=sample.detail,
        way=LIVE if key.variant is Variant.LIVE else IMAGE,
        engine=engine,
        tool=__version__,
        run=run,
        images=(image,),
        steps=kept,
    )
