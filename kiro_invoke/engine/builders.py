"""Builders of buildx's: made when they are missing, and asked whether they answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from kiro_invoke.engine.protocol import Completed, Run
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.shared import Builder

_CREATE_SECONDS = 180.0
_ASK_SECONDS = 10.0
#: How `run` tells that a process took too long.
_TOO_LATE = 124
_STATUS = re.compile(r"^Status:\s*(\S+)", re.MULTILINE)
_DRIVER = re.compile(r"^Driver:\s*(\S+)", re.MULTILINE)
_ERROR = re.compile(r"^Error:\s*(.+)$", re.MULTILINE)
#: The states of nodes that a build starts by itself; of a remote one, none does.
_STARTED_BY_BUILDS = frozenset({"stopped", "inactive"})


def trouble(run: Run, buildx: Sequence[str], name: str, seconds: float) -> str:
    """Why the builder cannot be built with, asked for at most so long; "" where it can."""
    return trouble_of(run([*buildx, "inspect", name], timeout=seconds))


def trouble_of(asked: Completed) -> str:
    """What `docker buildx inspect` means: a builder answers where one of its nodes runs, or would start by itself."""
    if not asked.ok:
        words = asked.stderr.strip().splitlines()
        if asked.returncode == _TOO_LATE or not words:
            return "it does not answer"
        return words[-1].removeprefix("ERROR: ")
    states = _STATUS.findall(asked.stdout)
    driver = _DRIVER.search(asked.stdout)
    starts = driver is not None and driver[1] != "remote"
    if any(state == "running" or (starts and state in _STARTED_BY_BUILDS) for state in states):
        return ""
    why = _ERROR.search(asked.stdout)
    return why[1] if why else f"no node of it runs ({', '.join(states) or 'it has none'})"


def make(run: Run, buildx: Sequence[str], builder: Builder) -> bool:
    """Make the builder unless it is there: whether it was made. EngineError where that fails."""
    if run([*buildx, "inspect", builder.name], timeout=_ASK_SECONDS).ok:
        return False
    for argv in creating(builder):
        done = run([*buildx, *argv], timeout=_CREATE_SECONDS)
        if not done.ok:
            if "existing instance" in done.stderr:  # another build made it meanwhile
                return False
            words = done.stderr.strip().splitlines() or ["it did not end in time"]
            raise EngineError(
                f"the builder {builder.name} cannot be made: {words[-1]}", fix="mend `builder:`"
            )
    return True


def creating(builder: Builder) -> tuple[tuple[str, ...], ...]:
    """The arguments of buildx that make a builder: one command for each of its nodes."""
    options = tuple(f"--driver-opt={name}={value}" for name, value in builder.options)
    head = ("create", "--name", builder.name, "--driver", builder.driver, *options)
    first, *others = builder.endpoints or ("",)
    commands = [(*head, first) if first else head]
    commands += [
        ("create", "--append", "--name", builder.name, "--driver", builder.driver, *options, one)
        for one in others
    ]
    return tuple(commands)


def labels_at(run: Run, buildx: Sequence[str], ref: str, builder: str, seconds: float) -> Mapping[str, str]:
    """The labels of an image in its registry, reached as the builder is told to; none where it cannot be looked at."""
    by = ["--builder", builder] if builder else []
    asked = run(
        [*buildx, "imagetools", "inspect", *by, "--format", "{{json .Image}}", "--", ref], timeout=seconds
    )
    return labels_told(asked.stdout) if asked.ok else {}


def labels_told(text: str) -> Mapping[str, str]:
    """The labels of an image as buildx tells it; of one for several platforms, whatever any of them has."""
    try:
        told = json.loads(text)
        images = [told] if "config" in told else list(told.values())
        each = [image.get("config", {}).get("Labels") or {} for image in images]
    except (ValueError, AttributeError, TypeError):
        return {}
    return {str(name): str(value) for labels in each for name, value in labels.items() if value}
