"""What may be shown of a build: which steps, and their text without terminal control."""

from __future__ import annotations

import re

from kiro_invoke.builds.progress import Ended

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(line: str) -> str:
    """`line` without terminal control: what a build prints cannot move the cursor or hide text."""
    return _CONTROLS.sub("", _ESCAPES.sub("", line)).expandtabs()


#: What XML cannot hold at all, escaped or not.
_IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """`text` without what a terminal obeys, and without what XML cannot hold."""
    return _IMPOSSIBLE.sub("", clean(text))


def worth_telling(event: Ended) -> bool:
    """Whether a step ran; the engine never calls a base image cached, though nothing was done for it."""
    return bool(event.error) or not (event.cached or event.step.text.startswith("FROM "))


_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


def coloured(line: str) -> str:
    """`line` without terminal control but for colours, which end with it."""
    parts = _COLOUR.split(line)
    shown = "".join(part if _COLOUR.fullmatch(part) else clean(part) for part in parts)
    return f"{shown}\x1b[0m" if len(parts) > 1 else shown
