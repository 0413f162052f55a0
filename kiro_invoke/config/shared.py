"""What kiro.yaml says of what a team shares: `builder:` and `cache:`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping

from kiro_invoke.config.names import nearest, shown
from kiro_invoke.config.nodes import FILE, Given, Value, outranked
from kiro_invoke.config.quantities import age_of
from kiro_invoke.model.service import Origin, Setting
from kiro_invoke.model.shared import CACHE_PATIENCE, PATIENCE, Builder, CacheEntry, SharedCache, made_name

DRIVERS = ("remote", "kubernetes", "docker-container")
KINDS = ("registry", "local", "s3", "gha", "azblob")
MODES = ("max", "min")
COMPRESSIONS = ("zstd", "gzip", "estargz", "uncompressed")
PLACEHOLDERS = ("project", "service", "branch", "target")

_BUILDER_KEYS = ("name", "driver", "endpoints", "options", "patience")
_CACHE_KEYS = ("from", "to", "mode", "compression", "default_branch", "patience")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_ENDPOINT = re.compile(r"[a-z][a-z0-9-]*://[^\s,]+|[A-Za-z][A-Za-z0-9_.-]*")
#: `https://user:password@host`, `user:password@host/name`.
_PASSWORD = re.compile(r"(^|//)[^/@:]*:[^/@]*@")
#: What signs a URL: `https://host/place?sv=1&sig=…`.
_SIGNED = re.compile(r"[?&][\w-]*(sig|signature|token|key|secret|password|credential)[\w-]*=", re.IGNORECASE)
_CREDENTIAL = re.compile(r"(^|_)(token|secret|password|key)(_|$)|access_key|session_token", re.IGNORECASE)
_OPEN = re.compile(r"\{([^{}]*)\}")
#: What must not be missing.
_NEEDED = {"registry": "ref", "s3": "bucket", "azblob": "account_url"}


def builder(value: Value | None, environ: Mapping[str, str]) -> tuple[Builder | None, tuple[Setting, ...]]:
    """The builder that `KIRO_BUILDER` names, else the section `builder:`; None for the engine's own."""
    if environ.get("KIRO_BUILDER") or (value and value.kind != "a mapping"):
        given = outranked(value, "KIRO_BUILDER", environ, Value.text)
        assert given is not None
        name = _builder_name(given)
        return (None if name == "default" else Builder(name)), (given.setting("builder"),)
    if value is None:
        return None, ()
    fields = value.known_fields(_BUILDER_KEYS)
    if "driver" not in fields:
        if "name" not in fields:
            raise value.refused(
                "builder has neither name nor driver", f"name one, or give a driver: {', '.join(DRIVERS)}"
            )
        if more := [key for key in ("endpoints", "options") if key in fields]:
            raise fields[more[0]].refused(
                f"builder.{more[0]} without a driver", f"add driver: {', '.join(DRIVERS)}"
            )
    driver = _one_of(fields["driver"], DRIVERS).text if "driver" in fields else ""
    endpoints = tuple(map(_endpoint, fields["endpoints"].items())) if "endpoints" in fields else ()
    if driver == "remote" and not endpoints:
        raise fields["driver"].refused("driver remote needs endpoints", "add `endpoints: [tcp://HOST:1234]`")
    options = tuple(
        (name, _no_password(each.scalar()).text)
        for name, each in (fields["options"].fields() if "options" in fields else {}).items()
    )
    name = _builder_name(fields["name"].text()) if "name" in fields else made_name(driver, endpoints, options)
    patience = _seconds(fields.get("patience"), PATIENCE)
    made = Builder(name, driver, endpoints, options, patience)
    return made, tuple(
        each.scalar().setting(f"builder.{key}")
        for key, each in fields.items()
        if key not in {"endpoints", "options"}
    )


def cache(value: Value | None) -> tuple[SharedCache | None, tuple[Setting, ...]]:
    """The section `cache:`; None where nothing is shared."""
    if value is None:
        return None, ()
    fields = value.known_fields(_CACHE_KEYS)
    target = _entry(fields["to"]) if "to" in fields else None
    if "from" in fields:
        listed = fields["from"]
        sources = tuple(map(_entry, listed.items() if listed.kind == "a list" else (listed,)))
    else:
        sources = (read_back(target),) if target else ()
    if not sources and target is None:
        raise value.refused(
            "cache has neither from nor to", "add `to: registry.example.com/team/cache:{service}-{branch}`"
        )
    shared = SharedCache(
        sources,
        target,
        _one_of(fields["mode"], MODES).text if "mode" in fields else "max",
        _one_of(fields["compression"], COMPRESSIONS).text if "compression" in fields else "zstd",
        fields["default_branch"].text().text if "default_branch" in fields else "",
        _seconds(fields.get("patience"), CACHE_PATIENCE),
    )
    return shared, tuple(_cache_settings(fields, shared))


def read_back(target: CacheEntry) -> CacheEntry:
    """Where builds read what is written to `target`."""
    return CacheEntry(
        target.kind,
        tuple(
            ("src" if target.kind == "local" and name == "dest" else name, text)
            for name, text in target.attributes
        ),
    )


def _cache_settings(fields: Mapping[str, Value], shared: SharedCache) -> Iterator[Setting]:
    for key, each in fields.items():
        if key == "from":
            told = ", ".join(entry.told for entry in shared.sources)
        elif key == "to":
            told = shared.target.told if shared.target else ""
        else:
            yield each.scalar().setting(f"cache.{key}")
            continue
        yield Given(told, Origin.FILE, FILE, each.line).setting(f"cache.{key}")


def _entry(value: Value) -> CacheEntry:
    if value.kind == "a mapping":
        pairs = {name: each.scalar() for name, each in value.fields().items()}
    else:
        given = value.text()
        pairs = _pairs(given)
    if "type" not in pairs:
        raise value.refused(f"{value.key} has no type", f"use one of: {', '.join(KINDS)}")
    kind = _among(pairs.pop("type"), f"{value.key}: type", KINDS)
    needed = _NEEDED.get(kind.text) or ("src" if value.key.startswith("cache.from") else "dest")
    if kind.text != "gha" and needed not in pairs:
        raise value.refused(f"{value.key}: type {kind.text} needs {needed}", f"add `{needed}=…`")
    for name, given in pairs.items():
        _check(value.key, name, given)
    return CacheEntry(kind.text, tuple((name, given.text) for name, given in pairs.items()))


def _pairs(given: Given) -> dict[str, Given]:
    """`type=registry,ref=…`, or the reference alone."""

    def part(text: str) -> Given:
        return Given(text, given.origin, given.file, given.line)

    if "=" not in given.text:
        return {"type": part("registry"), "ref": part(given.text)}
    (row,) = csv.reader([given.text]) if "\n" not in given.text else ([given.text],)
    pairs = {}
    for text in row:
        name, equals, rest = text.partition("=")
        if not equals or not rest:
            raise given.refused(f'"{shown(text)}" is no attribute', "write NAME=VALUE, with commas between")
        pairs[name.strip()] = part(rest)
    return pairs


def _check(key: str, name: str, given: Given) -> None:
    if _CREDENTIAL.search(name):
        raise given.refused(
            f"{key}: {name} is a credential, and would stand in process lists and logs",
            "log in with `docker login`, or set the variables that buildx reads (AWS_ACCESS_KEY_ID, …)",
        )
    _no_password(given)
    for placeholder in _OPEN.findall(given.text):
        if placeholder not in PLACEHOLDERS:
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise given.refused(f'{key}: "{{{shown(placeholder)}}}" is not known', f"use {known}")


def _no_password(given: Given) -> Given:
    if _PASSWORD.search(given.text):
        raise given.refused("a password stands in it", "log in with `docker login` instead")
    if _SIGNED.search(given.text):
        raise given.refused("what signs a URL stands in it", "set the variables that buildx reads instead")
    return given


def _builder_name(given: Given) -> str:
    if not _NAME.fullmatch(given.text):
        raise given.refused(
            f'builder "{shown(given.text)}" is no name of a builder', "see `docker buildx ls`"
        )
    return given.text


def _endpoint(value: Value) -> str:
    given = _no_password(value.text())
    if not _ENDPOINT.fullmatch(given.text):
        raise given.refused(f'"{shown(given.text)}" is no endpoint', "write it like tcp://HOST:1234")
    return given.text


def _one_of(value: Value, known: tuple[str, ...]) -> Given:
    return _among(value.text(), f"{value.key}:", known)


def _among(given: Given, what: str, known: tuple[str, ...]) -> Given:
    if given.text not in known:
        near = nearest(given.text, known)
        fix = f'write "{near}"' if near else f"use one of: {', '.join(known)}"
        raise given.refused(f'{what} "{shown(given.text)}" is not known', fix)
    return given


def _seconds(value: Value | None, usual: float) -> float:
    if value is None:
        return usual
    given = value.text()
    seconds = age_of(given.text)
    if not seconds:
        raise given.refused(f'{value.key}: "{shown(given.text)}" is no time', "write one like 30s or 2m")
    return seconds
