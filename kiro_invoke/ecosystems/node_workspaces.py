"""Which packages of a service belong to its workspace. A nested package that no pattern names does not."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kiro_invoke.ecosystems.node_manifest import (
    DEPENDENCIES,
    formatting,
    in_folder,
    local_paths,
    manifest_parts,
)
from kiro_invoke.ecosystems.node_parts import MANIFEST, Doubt, Project, is_installed, json_object, texts

#: (the package's folder, its manifest) -> the patterns of the packages below it
Patterns = Callable[[str, Mapping[str, Any]], Iterable[str]]
#: Whether a segment of a pattern fits a folder's name; None for `**`.
_Segment = Callable[[str], object] | None

_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MOST_ALTERNATIVES = 1000
#: Requirements of a workspace's package that any version of it meets.
_ANY_VERSION = frozenset(("", "*", "workspace:", "workspace:*", "workspace:^", "workspace:~"))
_BY_PATH = ("file:", "link:", "portal:", "./", "../", "workspace:.")


def own_patterns(_folder: str, manifest: Mapping[str, Any]) -> list[str]:
    """What the key `workspaces` of a manifest says: a list, or an object with one."""
    value = manifest.get("workspaces")
    if isinstance(value, dict):
        value = value.get("packages")
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def workspace(project: Project, patterns: Patterns, seen: frozenset[str] = frozenset()) -> list[str]:
    """Gather the manifest of the service and of each package of its workspace, or that one of these links to.

    Returns the packages' folders, "" first. `seen`: more keys of theirs that an install reads.
    """
    manifests = _manifests(project, patterns)
    ranged = {name for each in manifests.values() for name in _needed_by_version(each)}
    for folder, manifest in manifests.items():
        keys = set(seen)
        if folder:
            # what links lead to the package, and whether it is what another one wants
            keys.add("name")
            keys |= {"version"} if texts(manifest).get("name") in ranged else set()
        manifest_parts(project, folder, manifest, keys)
    return list(manifests)


def matching(folders: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The folders that the last of the patterns to fit does not exclude."""
    rules = [(negated, _compiled(one)) for pattern in patterns for negated, one in _rules(pattern)]
    found = []
    for folder in folders if rules else ():
        names = folder.split("/")
        fitting = (negated for negated, rule in reversed(rules) if _fits(rule, names))
        if not next(fitting, True):
            found.append(folder)
    return found


def _manifests(project: Project, patterns: Patterns) -> dict[str, dict[str, Any]]:
    """The manifests by folder, from the service's own on."""
    found: dict[str, dict[str, Any]] = {}
    queue = [""]
    for folder in queue:
        path = posixpath.join(folder, MANIFEST)
        if folder in found or (text := project.text(path)) is None:
            continue
        manifest = found[folder] = json_object(path, text)
        formatting(project, path, text, manifest)
        under = [below(folder, pattern) for pattern in patterns(folder, manifest)]
        queue += matching(project.packages, under)
        linked = (one for one in local_paths(manifest, folder) if one and not is_installed(one))
        queue += [one for one in linked if f"{one}/{MANIFEST}" in project.names]
    if not found:
        raise Doubt(MANIFEST, "cannot be read" if MANIFEST in project.names else "is not there")
    return found


def _needed_by_version(manifest: Mapping[str, Any]) -> Iterable[str]:
    """The dependencies that a package of the workspace may meet by its version alone."""
    for key in DEPENDENCIES:
        for name, wanted in texts(manifest.get(key)).items():
            if wanted not in _ANY_VERSION and not wanted.startswith(_BY_PATH):
                yield name


def below(folder: str, pattern: str) -> str:
    """A pattern of a package's folder as one of the service's."""
    bangs = len(pattern) - len(pattern.lstrip("!"))
    return pattern[:bangs] + in_folder(folder, pattern[bangs:].replace("\\", "/").lstrip("/"))


def _rules(pattern: str) -> Iterable[tuple[bool, str]]:
    """The pattern without its `!` and braces: (whether it excludes, the rest)."""
    rest = pattern.lstrip("!")
    negated = (len(pattern) - len(rest)) % 2 == 1
    alternatives = [rest]
    while found := next((match for each in alternatives if (match := _BRACES.search(each))), None):
        whole, choices = found[0], found[1].split(",")
        alternatives = [
            one
            for each in alternatives
            for one in ([each.replace(whole, choice, 1) for choice in choices] if whole in each else [each])
        ]
        if len(alternatives) > _MOST_ALTERNATIVES:
            raise Doubt(MANIFEST, "too many alternatives in a pattern of workspaces")
    return [(negated, each) for each in alternatives]


def _compiled(pattern: str) -> list[_Segment]:
    segments: list[_Segment] = []
    for segment in pattern.strip("/").split("/"):
        if segment == "**":
            if not segments or segments[-1] is not None:
                segments.append(None)
        elif "(" in segment:  # minimatch's own: taken as `*`, which fits more
            segments.append(_segment("*"))
        else:
            segments.append(_segment(segment))
    return segments


def _segment(pattern: str) -> Callable[[str], object]:
    if not any(letter in pattern for letter in "*?["):
        return pattern.__eq__
    fits = re.compile(fnmatch.translate(pattern.replace("[^", "[!"))).match
    return fits if pattern.startswith(".") else lambda name: not name.startswith(".") and fits(name)


def _fits(pattern: list[_Segment], names: list[str]) -> bool:
    """Whether a path fits: all places in the pattern that it can have come to are followed at once."""
    places = _with_next(pattern, {0})
    for name in names:
        reached = set()
        for place in places:
            if place == len(pattern):
                continue
            segment = pattern[place]
            if segment is None:
                reached |= set() if name.startswith(".") else {place}
            elif segment(name):
                reached.add(place + 1)
        if not reached:
            return False
        places = _with_next(pattern, reached)
    return len(pattern) in places


def _with_next(pattern: list[_Segment], places: set[int]) -> set[int]:
    """Those places, and the ones behind a `**`, which may stand for nothing."""
    return places | {at + 1 for at in places if at < len(pattern) and pattern[at] is None}
