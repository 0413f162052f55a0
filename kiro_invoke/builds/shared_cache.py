"""Which places of the shared cache a target reads and fills. Pure."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kiro_invoke.builds.option_rows import option_row
from kiro_invoke.engine.bases import registry_of
from kiro_invoke.model.plan import BuildPlan, Target
from kiro_invoke.model.shared import CacheEntry, SharedCache

#: A tag of a registry is no longer.
_LONGEST = 128
_UNSAFE = re.compile(r"[^a-z0-9_.-]+")
#: What names a place within a cache, by type: what a target's own name is added to.
_PLACE = {"registry": "ref", "local": "src", "s3": "name", "gha": "scope", "azblob": "name"}
#: The types whose layers buildx compresses as it is told.
_COMPRESSED = frozenset({"registry", "local"})


@dataclass(frozen=True)
class Branches:
    """The branch that is built, and the one whose cache serves where that has none."""

    current: str
    default: str


@dataclass(frozen=True)
class Places:
    """What one target gets: `cache-from` and `cache-to`, as buildx takes them."""

    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def places(
    shared: SharedCache, plan: BuildPlan, project: str, branches: Branches, *, push: bool
) -> Mapping[str, Places]:
    """By a target's name, what it reads and, with `push`, fills.

    Each target has a place of its own: of two that fill one place, the last would take away what the first left there.
    """
    return {target.name: _places(shared, target, project, branches, push=push) for target in plan.targets}


def _places(shared: SharedCache, target: Target, project: str, branches: Branches, *, push: bool) -> Places:
    sources = tuple(
        _row(entry.kind, attributes)
        for entry in shared.sources
        for attributes in _each_branch(entry, target, project, branches)
    )
    if not push or shared.target is None:
        return Places(sources)
    entry = shared.target
    attributes = dict(_filled(entry, target, project, branches.current))
    attributes.setdefault("mode", shared.mode)
    if entry.kind in _COMPRESSED:
        attributes.setdefault("compression", shared.compression)
    # what cannot be written is told; the images are built all the same
    attributes["ignore-error"] = "true"
    return Places(sources, (_row(entry.kind, attributes),))


def _each_branch(
    entry: CacheEntry, target: Target, project: str, branches: Branches
) -> Iterator[Mapping[str, str]]:
    seen: list[Mapping[str, str]] = []
    for branch in (branches.current, branches.default):
        attributes = _filled(entry, target, project, branch)
        if attributes not in seen:
            seen.append(attributes)
            yield attributes


def _filled(entry: CacheEntry, target: Target, project: str, branch: str) -> Mapping[str, str]:
    own = target.name.removeprefix(f"{target.service}-")
    values = {"project": project, "service": target.service, "branch": branch, "target": own}
    attributes = {
        name: re.sub(r"\{(\w+)\}", lambda found: safe(values[found[1]]), text)
        for name, text in entry.attributes
    }
    place = "dest" if entry.kind == "local" and "dest" in attributes else _PLACE[entry.kind]
    if not any("{target}" in text for _, text in entry.attributes):
        given = attributes.get(place) or f"{safe(project)}-{safe(target.service)}"
        attributes[place] = _with(entry.kind, given, safe(own))
    if entry.kind == "registry":
        attributes["ref"] = _short(attributes["ref"])
    return attributes


def _with(kind: str, place: str, own: str) -> str:
    if kind == "local":
        return f"{place.rstrip('/')}/{own}"
    if kind == "registry" and ":" not in place.rpartition("/")[2]:
        return f"{place}:{own}"
    return f"{place}-{own}"


def safe(text: str) -> str:
    """A name as a part of a tag; where that takes something away, with a hash, so that two do not become one."""
    plain = _UNSAFE.sub("-", text.lower()).strip("-.") or "x"
    return plain if plain == text else f"{plain}-{_hash(text)}"


def _short(ref: str) -> str:
    name, colon, tag = ref.rpartition(":")
    if not colon or "/" in tag or len(tag) <= _LONGEST:
        return ref
    return f"{name}:{tag[: _LONGEST - 7]}-{_hash(tag)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def refs(found: Iterable[Places]) -> tuple[str, ...]:
    """The references of registries among some places."""
    rows = (row for one in found for row in (*one.sources, *one.targets))
    return tuple(dict.fromkeys(filter(None, map(_ref, rows))))


def without(one: Places, registries: frozenset[str]) -> Places:
    """The places that are in none of these registries."""
    return Places(
        tuple(row for row in one.sources if not _is_in(row, registries)),
        tuple(row for row in one.targets if not _is_in(row, registries)),
    )


def _is_in(row: str, registries: frozenset[str]) -> bool:
    ref = _ref(row)
    return bool(ref) and registry_of(ref) in registries


def _ref(row: str) -> str:
    (fields,) = csv.reader([row])
    found = dict(field.partition("=")[::2] for field in fields)
    return found.get("ref", "") if found.get("type") == "registry" else ""


def _row(kind: str, attributes: Mapping[str, str]) -> str:
    return option_row((f"type={kind}", *(f"{name}={value}" for name, value in attributes.items())))


#: What CI systems tell of a build for others' changes: variable -> what it begins with ("": anything).
_PULL_REQUEST = {
    "GITHUB_EVENT_NAME": "pull_request",
    "CI_MERGE_REQUEST_IID": "",
    "SYSTEM_PULLREQUEST_PULLREQUESTID": "",
    "BITBUCKET_PR_ID": "",
    "CIRCLE_PULL_REQUEST": "",
    "CHANGE_ID": "",
}


def read_only(environ: Mapping[str, str]) -> str:
    """Why a build must write nothing to the shared cache; "" where it may."""
    if environ.get("KIRO_CACHE_READONLY") not in {None, "", "0"}:
        return "KIRO_CACHE_READONLY is set"
    for variable, begins in _PULL_REQUEST.items():
        if (value := environ.get(variable)) and value.startswith(begins):
            return f"this is a build of a pull request ({variable})"
    if environ.get("BUILDKITE_PULL_REQUEST", "false") not in {"", "false"}:
        return "this is a build of a pull request (BUILDKITE_PULL_REQUEST)"
    return ""


#: What CI systems call the branch: the changes' own first.
_CURRENT = ("GITHUB_HEAD_REF", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH", "BUILDKITE_BRANCH",
            "CIRCLE_BRANCH", "BITBUCKET_BRANCH", "CI_COMMIT_REF_NAME", "GITHUB_REF_NAME")  # fmt: skip


def branches(environ: Mapping[str, str], shared: SharedCache, current: str, default: str) -> Branches:
    """The branches, of what git says (`current` "": none is checked out) and the CI's variables."""
    told = next((environ[name] for name in _CURRENT if environ.get(name)), "")
    of_default = shared.default_branch or environ.get("CI_DEFAULT_BRANCH") or default or "main"
    return Branches(told or current or of_default, of_default)
