"""Pin the base images that Dockerfiles name to digests: where they stand, what is written there. Pure.

The digest goes into the Dockerfiles themselves: whoever builds them, by whatever door, then builds on the same image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.builds.dockerfile import Dockerfile, Instruction, expand, instructions, names_in, parse

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_ARGUMENT = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
#: What may follow a reference where it stands: the end of its word, or of its line.
_END = r"(?=[,\s\"'\\`]|$)"


@dataclass(frozen=True)
class Spot:
    """Where a Dockerfile names a base image: the reference, its line, and where it begins in the file's text."""

    ref: str
    line: int
    start: int


@dataclass(frozen=True)
class Loose:
    """A base image whose name cannot be written there, and why."""

    ref: str
    line: int
    why: str


@dataclass(frozen=True)
class Given:
    """What kiro.yaml gives to builds: values of arguments, and images in the place of others."""

    build_args: Mapping[str, str]
    base_images: Mapping[str, str]


def tagged(ref: str) -> str:
    """A reference without its digest: what a registry is asked for. "" where only the digest tells which image."""
    name, at, _ = ref.partition("@")
    has_tag = ":" in name.rpartition("/")[2]
    if at and not has_tag:
        return ""
    return name if has_tag else f"{name}:latest"


def is_pinned(ref: str) -> bool:
    """Whether a reference names one image for ever."""
    return "@" in ref


def spots(text: str, given: Given) -> tuple[Spot | Loose, ...]:
    """Every place where a Dockerfile names an image from outside, in the file's order, each once."""
    parsed = parse(text)
    found = [
        spot
        for each in _uses(text, parsed.given(given.build_args))
        for spot in _spots_of(each, text, parsed, given)
    ]
    return tuple(dict.fromkeys(sorted(found, key=lambda spot: spot.line)))


def pinned_text(text: str, given: Given, wanted: Mapping[str, str]) -> str:
    """A Dockerfile's text in which these references are replaced, all else byte for byte as it is.

    ValueError where it would then not name just those images.
    """
    changed = text
    places = [spot for spot in spots(text, given) if isinstance(spot, Spot) and spot.ref in wanted]
    for spot in sorted(places, key=lambda spot: spot.start, reverse=True):
        changed = changed[: spot.start] + wanted[spot.ref] + changed[spot.start + len(spot.ref) :]
    if _names(changed, given) != [wanted.get(ref, ref) for ref in _names(text, given)]:
        raise ValueError("the file would name other images than it should")
    return changed


def _names(text: str, given: Given) -> list[str]:
    """What each use of an image from outside comes to, in the file's order."""
    parsed = parse(text).given(given.build_args)
    values = parsed.values({})
    return [expand(use.source, values) for use in _uses(text, parsed)]


@dataclass(frozen=True)
class _Use:
    """An instruction that takes from an image from outside, as `source` names it."""

    source: str
    instruction: Instruction


def _uses(text: str, parsed: Dockerfile) -> Iterator[_Use]:
    at = -1
    for instruction in instructions(text):
        at += instruction.keyword == "FROM"
        if at < 0:
            continue
        stage = parsed.stages[at]
        sources = (stage.base,) if instruction.keyword == "FROM" else instruction.sources
        for source in sources:
            if source != "scratch" and parsed.source(stage, source) is None:
                yield _Use(source, instruction)


def _spots_of(use: _Use, text: str, parsed: Dockerfile, given: Given) -> Iterator[Spot | Loose]:
    values = parsed.values(given.build_args)
    line = use.instruction.line
    if not names_in(use.source) <= values.keys():
        yield Loose(use.source, line, "it depends on what only the engine knows")
        return
    ref = expand(use.source, values)
    if not ref or ref == "scratch":
        return
    if replacement := given.base_images.get(ref):
        if not is_pinned(replacement):
            why = f"kiro.yaml takes {replacement} in its place: write the digest there, under base_images:"
            yield Loose(ref, line, why)
        return
    if "$" not in use.source:
        yield from _written(_pattern(use.instruction.keyword, ref), use.instruction, ref, text)
        return
    argument = _ARGUMENT.fullmatch(use.source)
    name = (argument[1] or argument[2]) if argument else ""
    if name in given.build_args:
        if not is_pinned(ref):
            yield Loose(ref, line, f"kiro.yaml gives it: write the digest there, under build_args: {name}")
    elif name and parsed.arguments.get(name) == ref:
        declared = [one for one in instructions(text) if one.keyword == "ARG" and one.line < _first(parsed)]
        pattern = rf"(?<=\s){re.escape(name)}=[\"']?(?P<ref>{re.escape(ref)}){_END}"
        yield from (spot for one in declared for spot in _written(pattern, one, ref, text))
    elif not is_pinned(ref):
        yield Loose(ref, line, "its name is put together of arguments: give all of it to one argument")


def _pattern(keyword: str, name: str) -> str:
    ref = rf"(?P<ref>{re.escape(name)}){_END}"
    if keyword == "FROM":
        return rf"(?<=[\s\"']){ref}"
    if keyword == "RUN":
        return rf"(?i:[=,][\"']?from=)[\"']?{ref}"
    return rf"--from=[\"']?{ref}"


def _written(pattern: str, instruction: Instruction, ref: str, text: str) -> Iterator[Spot]:
    """The places in an instruction's own lines; of a RUN as many as it has mounts of that image, options come first."""
    start, end = _span(text, instruction)
    most = instruction.sources.count(ref) if instruction.keyword == "RUN" else 1
    for match, _ in zip(re.finditer(pattern, text[start:end], re.MULTILINE), range(most), strict=False):
        place = start + match.start("ref")
        yield Spot(ref, text.count("\n", 0, place) + 1, place)


def _span(text: str, instruction: Instruction) -> tuple[int, int]:
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: instruction.line - 1])
    return start, start + sum(len(line) + 1 for line in lines[instruction.line - 1 : instruction.last_line])


def _first(parsed: Dockerfile) -> int:
    """The line of the first stage: arguments before it are those that FROM sees."""
    return parsed.stages[0].line if parsed.stages else 0


@dataclass(frozen=True)
class Digest:
    """The digest of a tag. `is_local`: no registry answered, it is that of the image that was pulled."""

    text: str
    is_local: bool = False


@dataclass(frozen=True)
class Unknown:
    """There is no digest to be had, and why."""

    why: str


Answers = Mapping[str, Digest | Unknown]


@dataclass(frozen=True)
class Pin:
    """What is done with one reference: `status` is pinned, updated, unchanged, outdated, unpinned or unknown.

    `to` is what it becomes, or would; `why` says what is not known.
    """

    ref: str
    to: str
    status: str
    is_local: bool = False
    why: str = ""


def asked(refs: Sequence[str], *, update: bool) -> tuple[str, ...]:
    """The tags whose digests are wanted: of what is not pinned, with `update` of all."""
    tags = (tagged(ref) for ref in refs if update or not is_pinned(ref))
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def pins(refs: Sequence[str], answers: Answers, *, update: bool) -> tuple[Pin, ...]:
    """What becomes of each reference, as the registries answered."""
    return tuple(_pin(ref, answers, update=update) for ref in dict.fromkeys(refs))


def _pin(ref: str, answers: Answers, *, update: bool) -> Pin:
    tag = tagged(ref)
    if is_pinned(ref) and (not update or not tag):
        return Pin(ref, ref, "unchanged", why="" if tag else "it has no tag that could be asked for")
    answer = answers[tag]
    if isinstance(answer, Unknown):
        return Pin(ref, ref, "unknown", why=answer.why)
    if is_pinned(ref) and answer.is_local:
        return Pin(ref, ref, "unknown", why="no registry answers")
    to = f"{tag}@{answer.text}"
    status = "unchanged" if to == ref else "updated" if is_pinned(ref) else "pinned"
    return Pin(ref, to, status, answer.is_local)
