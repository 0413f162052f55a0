"""Which layers a build made, and whether it is time to reclaim what they replaced. Pure."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

from kiro_invoke.builds.dockerfile import Dockerfile
from kiro_invoke.cache.records import LAYER, instruction
from kiro_invoke.engine.protocol import CacheRecord
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.record import Step

#: Layers that may gather before they are looked through, in bytes. On an engine with thousands of records to look
#: takes half a second, whatever is found. An edit of a large service leaves 0.2 GB: every fifth pays for it. What
#: gathers is a third of the 3 GB that dozens of edits may cost; the rest is for what is kept once more (see KEEP).
GATHERED_BYTES = 1_000_000_000
#: A layer's record may be made a while after its step has ended, on a busy machine.
_LATE_SECONDS = 2.0
_EARLY_SECONDS = 0.1

_EXECUTED = "mount / from exec "
_HEREDOC = re.compile(r"<<\S+ \((?P<first>.*?)(?:\.\.\.)?\)$")
_VARIABLE = re.compile(r"\$(?:\{[^}]*\}|\w+)")


def layers_of(
    records: Iterable[CacheRecord], steps: Iterable[Step], before: float = math.inf
) -> dict[str, frozenset[str]]:
    """The layers that steps of a build made, by their instruction (see joined), of those that were there `before`.

    None where the instruction cannot be recognized, or where more layers are of it than steps ran: another build
    did the same at the same time.
    """
    by_text: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        if ran_here(step) and step.started:
            by_text[joined(step.text)].append(step)
    begin = began(chain.from_iterable(by_text.values()))
    end = min(before, ended(chain.from_iterable(by_text.values())) + _LATE_SECONDS)
    layers = [record for record in records if record.kind == LAYER and begin <= record.created <= end]
    made: dict[str, frozenset[str]] = {}
    for text, same in by_text.items():
        found = frozenset(layer.id for layer in layers if _in_time(layer, same) and _tells_of(layer, text))
        made[text] = found if len(found) <= len(same) else frozenset()
    return made


def ran_here(step: Step) -> bool:
    """Whether a step ran and may have left something; the engine never calls a base image cached."""
    return bool(step.stage) and not step.cached and not step.text.startswith("FROM ")


def began(steps: Iterable[Step]) -> float:
    """Before which no step of a build made a layer."""
    started = (step.started for step in steps if ran_here(step) and step.started)
    return min(started, default=math.inf) - _EARLY_SECONDS


def ended(steps: Iterable[Step]) -> float:
    """When the last step of a build ended that may have made a layer; 0.0 without one."""
    return max((step.completed for step in steps if ran_here(step) and step.started), default=0.0)


def joined(text: str) -> str:
    """An instruction with single spaces: the engine prints it so in one place, and not in another."""
    return " ".join(text.split())


def why_due(dockerfiles: Iterable[Dockerfile], steps: Sequence[Step], gathered: int) -> str:
    """Why it is time to reclaim after a build with these steps, or "".

    `gathered` are the bytes of the layers that were made since the last time.
    """
    ran = {step.stage for step in steps if ran_here(step)}
    for dockerfile in dockerfiles:
        for stage in dockerfile.stages:
            for mount in (mount for one in stage.instructions for mount in one.mounts):
                holds = mount.get("type") == "cache" and not {"ro", "readonly"} & mount.keys()
                seed = dockerfile.stage(mount.get("from", "")) if holds else None
                if seed is not None and seed.name in ran:
                    return f"stage {seed.name} ran: what its former result seeded is not used again"
    if gathered > GATHERED_BYTES:
        return f"{told_bytes(gathered)} of layers were made since the last time"
    return ""


def _in_time(layer: CacheRecord, steps: Iterable[Step]) -> bool:
    return any(
        step.started - _EARLY_SECONDS <= layer.created <= step.completed + _LATE_SECONDS for step in steps
    )


def _tells_of(layer: CacheRecord, text: str) -> bool:
    """Whether a record's description is that of the step that printed `text`."""
    if not layer.description.startswith(_EXECUTED):
        return joined(instruction(layer)) == text
    if not text.startswith("RUN "):
        return False
    executed = layer.description.removeprefix(_EXECUTED)
    _, dash_c, command = executed.partition(" -c ")
    if heredoc := _HEREDOC.search(text):
        return joined(command).startswith(joined(heredoc["first"]))
    # the engine prints the step with its variables filled in, and tells of the record without
    return _ends_with(text, _VARIABLE.split(joined(command if dash_c else executed)))


def _ends_with(text: str, parts: Sequence[str]) -> bool:
    """Whether `text` ends with a word and more that consists of these parts, whatever stands between them."""
    at = text.find(f" {parts[0]}")
    for part in parts[1:]:
        at = text.find(part, at) if at >= 0 else at
    return at >= 0 and text.endswith(parts[-1])
