"""When each stage of a build ran, as bars on one axis of time. Pure."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kiro_invoke.cache.made import ran_here
from kiro_invoke.model.record import BuildRecord, ImageRecord, StageRecord, Step
from kiro_invoke.plain import clean

#: A line: its texts, each with a style ("" for none).
Line = tuple[tuple[str, str], ...]

_TITLE = "timings"
_WIDEST_NAME = 24
#: The share of a build from which on a step is named, and how many are.
_NAMED_SHARE, _NAMED = 0.1, 5
_SECONDS = 10
#: What a RUN instruction is given besides its command: it would fill the line.
_FLAGS = re.compile(r"\s+--(?:mount|network|security)=\S+(?=\s)")


@dataclass(frozen=True)
class Look:
    """How wide lines may be, and what bars are made of; `is_plain`: of ASCII alone."""

    width: int = 80
    is_plain: bool = False

    @property
    def full(self) -> str:
        return "#" if self.is_plain else "█"

    def text(self, text: str) -> str:
        """A text of a repository's or an engine's as it can be shown."""
        shown = " ".join(clean(text).split())
        return shown.encode("ascii", "replace").decode() if self.is_plain else shown

    def cut(self, text: str, most: int) -> str:
        """The beginning of a text that is too long."""
        end = "..." if self.is_plain else "…"
        return text if len(text) <= most else f"{text[: max(most - len(end), 0)]}{end}"


@dataclass(frozen=True)
class _Axis:
    """From the first step that ran to the end of the last: `began` in seconds since the epoch, `cells` wide."""

    began: float
    seconds: float
    cells: int

    def bar(self, steps: Sequence[Step], full: str) -> str:
        """The cells in which any of these steps ran: one at least for each."""
        cells = [" "] * self.cells
        for step in steps:
            first = min(max(int((step.started - self.began) * self.scale), 0), self.cells - 1)
            last = min(math.ceil((step.completed - self.began) * self.scale), self.cells)
            for at in range(first, max(last, first + 1)):
                cells[at] = full
        return "".join(cells).rstrip()

    @property
    def scale(self) -> float:
        return self.cells / self.seconds


def waterfall(record: BuildRecord, look: Look) -> tuple[Line, ...]:
    """The lines: for each image the stages that ran, those from the cache listed, then the steps that took longest."""
    ran = [step for step in record.steps if _counts(step)]
    if not ran:
        return (((f"{_TITLE}  every stage came from the cache", "green"),),)
    names = [look.text(stage.name) for image in record.images for stage in image.stages if not stage.cached]
    wide = max(min(max(map(len, names), default=0), _WIDEST_NAME), len(_TITLE) - 2)
    end = max(step.completed for step in ran)
    axis = _Axis(record.began, max(end - record.began, 0.001), look.width - wide - _SECONDS - 4)
    return (
        *_scale(axis, wide),
        *(line for image in record.images for line in _image(image, axis, wide, look)),
        *_slowest(ran, axis.seconds, look),
    )


def _counts(step: Step) -> bool:
    return ran_here(step) and step.completed > 0


def _scale(axis: _Axis, wide: int) -> Iterator[Line]:
    """The axis: where it begins, its middle, its end."""
    words = ["0 s", f"{axis.seconds / 2:.1f} s", f"{axis.seconds:.1f} s"]
    gap = axis.cells - sum(map(len, words))
    scale = words[0] + " " * (gap // 2) + words[1] + " " * (gap - gap // 2) + words[2]
    yield ((f"{_TITLE:<{wide + 2}}  {scale}".rstrip(), "dim"),)


def _image(image: ImageRecord, axis: _Axis, wide: int, look: Look) -> Iterator[Line]:
    heading = look.cut(f"{look.text(image.service)}  {look.text(image.image)}", look.width)
    yield ((heading, "bold"),)
    for stage in image.stages:
        if not stage.cached:
            yield _stage(stage, image.steps, axis, wide, look)
    cached = ", ".join(look.text(stage.name) for stage in image.stages if stage.cached)
    if cached:
        for row in textwrap.wrap(f"cached: {cached}", look.width - 2, subsequent_indent=" " * 8):
            yield ((f"  {row}", "dim"),)


def _stage(stage: StageRecord, steps: Sequence[Step], axis: _Axis, wide: int, look: Look) -> Line:
    own = [step for step in steps if _counts(step) and stage.started <= step.started < stage.completed]
    bar = axis.bar([step for step in own if step.stage == stage.name] or own, look.full)
    name = look.cut(look.text(stage.name), wide)
    return (
        (f"  {name:<{wide}}  ", ""),
        (f"{bar:<{axis.cells}}", "yellow"),
        (f"{stage.seconds:>{_SECONDS - 2}.1f} s", ""),
    )


def _slowest(ran: Sequence[Step], seconds: float, look: Look) -> Iterator[Line]:
    """The steps that took a share of the build; one that services share is told once."""
    once = {(step.text, step.started): step for step in ran if step.seconds >= seconds * _NAMED_SHARE}
    for step in sorted(once.values(), key=lambda one: -one.seconds)[:_NAMED]:
        place = look.text(f"{step.service} {step.stage}")
        text = f"{place}  {look.text(_FLAGS.sub(' ', step.text))}"
        yield (
            (f"{step.seconds:>{_SECONDS - 2}.1f} s", "yellow"),
            (f"  {look.cut(text, look.width - _SECONDS - 2)}", ""),
        )
