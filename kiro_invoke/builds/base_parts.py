"""What whole stages are made from, part by part: a Dockerfile's stages, and what kiro.yaml gives to builds. Pure."""

from __future__ import annotations

import fnmatch
import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping

from kiro_invoke.builds.dockerfile import Dockerfile, expand, words_of
from kiro_invoke.builds.planner import Recipe, base_refs, shown
from kiro_invoke.model.fingerprint import Part
from kiro_invoke.model.service import Project

_CONFIGURATION = "kiro.yaml"
#: A base image that is an argument, whole.
_ARGUMENT = re.compile(r"\$\{?(\w+)\}?")
#: Arguments that the engine itself heeds, declared or not.
_PREDEFINED = re.compile(r"SOURCE_DATE_EPOCH|BUILDKIT_\w+")


def base_parts(recipe: Recipe, project: Project) -> dict[Part, str]:
    """The parts of one Dockerfile, its comments aside, and of the project's settings that it sees.

    Files are paths in the repository. Values are hashes: arguments may hold what nobody else should read.
    """
    place = shown(recipe.path, project.root)
    given, replaced = dict(project.build_args), dict(project.base_images)
    parts = {Part(place, what): _hash(value) for what, value in _of_file(recipe.parsed)}
    declared = _arguments(recipe.parsed)
    for name in sorted(given):
        if name in declared or _PREDEFINED.fullmatch(name):
            parts[Part(_CONFIGURATION, f"build argument `{name}`")] = _hash(given[name])
    for ref in base_refs([recipe], given):
        if ref in replaced:
            parts[Part(_CONFIGURATION, f"base image in place of `{ref}`")] = _hash(replaced[ref])
    return parts


def replacing(
    parsed: Dockerfile, given: Mapping[str, str], replaced: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Build arguments that put other base images in the place of these, for whoever can give nothing else; and the
    images that no argument replaces: they are named in a stage, or by an argument that a step sees, too.
    """
    seen = {
        word.partition("=")[0]
        for keyword, words in _instructions(parsed)
        if keyword == "ARG"
        for word in words
    }
    arguments: dict[str, str] = {}
    left = []
    for stage in parsed.stages:
        for source in stage.sources:
            refs = parsed.bases(given)
            ref = expand(source, parsed.values(given))
            if ref not in replaced or ref not in refs:
                continue
            name = _ARGUMENT.fullmatch(source) if source == stage.base else None
            if name and name[1] in parsed.arguments and name[1] not in seen:
                arguments[name[1]] = replaced[ref]
            else:
                left.append(ref)
    return arguments, tuple(dict.fromkeys(left))


def _of_file(parsed: Dockerfile) -> Iterator[tuple[str, object]]:
    for name, value in parsed.directives.items():
        yield f"directive `{name}`", value
    yield "what stands before the first stage", parsed.preamble
    # a number or a name in FROM and COPY --from means another stage in another order
    yield "order of the stages", [stage.name for stage in parsed.stages]
    seen: set[str] = set()
    for number, stage in enumerate(parsed.stages):
        name = f"{stage.name} ({number})" if stage.name in seen else stage.name
        seen.add(stage.name)
        yield f"stage `{name}`", (stage.raw, *(each.raw for each in stage.instructions))


def _arguments(parsed: Dockerfile) -> frozenset[str]:
    """The names of all arguments that the file declares."""
    found = set(parsed.arguments)
    for keyword, words in _instructions(parsed):
        if keyword == "ARG":
            found |= {word.partition("=")[0] for word in words}
    return frozenset(found)


def _instructions(parsed: Dockerfile) -> Iterator[tuple[str, list[str]]]:
    """Keyword and words of all instructions of its stages; what ONBUILD puts off counts as well."""
    for stage in parsed.stages:
        for each in stage.instructions:
            keyword, rest = each.keyword, each.rest
            if keyword == "ONBUILD":
                first, _, rest = rest.partition(" ")
                keyword = first.upper()
            yield keyword, words_of(rest)


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode(errors="surrogateescape")).hexdigest()


def names_folder(parsed: Dockerfile, folder: str) -> bool:
    """Whether an instruction takes a folder of the context, or what is in it, by its name: not with all else."""
    parts = folder.split("/")
    for source in _context_sources(parsed):
        if "$" in source:  # which may be anything
            return True
        own = [part for part in posixpath.normpath(f"/{source}").split("/") if part]
        if len(own) >= len(parts) and all(map(fnmatch.fnmatchcase, parts, own)):
            return True
    return False


def _context_sources(parsed: Dockerfile) -> Iterator[str]:
    for keyword, words in _instructions(parsed):
        options = [word for word in words if word.startswith("--")]
        if keyword in {"COPY", "ADD"} and not any(word.startswith("--from=") for word in options):
            yield from _paths([word for word in words if not word.startswith("--")])
        if keyword == "RUN":
            for option in options:
                fields = dict(
                    field.partition("=")[::2] for field in option.removeprefix("--mount=").split(",")
                )
                if option.startswith("--mount=") and "from" not in fields:
                    yield fields.get("source") or fields.get("src", "")


def _paths(words: list[str]) -> list[str]:
    """The paths of a COPY, in either of its forms."""
    if words and words[0].startswith("["):
        return re.findall(r"[^\[\],\s]+", " ".join(words))
    return words
