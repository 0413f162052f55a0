"""What a Dockerfile says of the image that it makes, for whoever has no image yet to ask. Pure."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kiro_invoke.builds.dockerfile import Dockerfile, Instruction, Stage, words_of

#: A variable that a build fills in, and not one that a backslash leaves to the container's shell.
_FILLED_IN = re.compile(r"(?<!\\)\$")


@dataclass(frozen=True)
class ImageConfig:
    """An image as its Dockerfile has it: working folder ("": not known), labels, and what its first process is.

    `unknown` are keys of labels of which only a build knows the value. Nothing is known of the base image.
    """

    folder: str = ""
    labels: Mapping[str, str] | None = None
    entrypoint: str = ""
    unknown: frozenset[str] = frozenset()


def image_config(parsed: Dockerfile) -> ImageConfig:
    """Of the image of its last stage."""
    folder, entrypoint = "", ""
    labels: dict[str, str] = {}
    unknown: set[str] = set()
    for one in _instructions(parsed):
        if one.keyword == "WORKDIR":
            folder = _moved(folder, words_of(one.rest))
        elif one.keyword == "ENTRYPOINT":
            entrypoint = one.rest
        elif one.keyword == "LABEL":
            for key, value in _labels(one):
                (unknown.add if _FILLED_IN.search(value) else unknown.discard)(key)
                labels[key] = value.replace("\\$", "$")
    known = {key: value for key, value in labels.items() if key not in unknown}
    return ImageConfig(folder, known, entrypoint, frozenset(unknown))


def _instructions(parsed: Dockerfile) -> Iterator[Instruction]:
    """Those that make up the last stage, in order: those of the stages that it stands on first."""
    chain: list[Stage] = []
    stage: Stage | None = parsed.stages[-1]
    while stage is not None:
        chain.append(stage)
        earlier = parsed.stages[: parsed.stages.index(stage)]
        stage = next((one for one in reversed(earlier) if one.name == chain[-1].base.lower()), None)
    return (one for stage in reversed(chain) for one in stage.instructions)


def _moved(folder: str, words: list[str]) -> str:
    to = words[0] if words else ""
    if "$" in to or not (folder or to.startswith("/")):
        return ""
    return posixpath.normpath(posixpath.join(folder, to))


def _labels(one: Instruction) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(one.rest.replace("\\$", "\\\\$"))
    except ValueError:
        return
    if words and "=" not in words[0]:  # LABEL key the rest is its value
        yield words[0], " ".join(words[1:])
        return
    for word in words:
        key, _, value = word.partition("=")
        yield key, value
