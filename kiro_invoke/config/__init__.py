"""The configuration: options over `KIRO_*` variables over kiro.yaml over what the repository shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kiro_invoke.builds.built import configuration
from kiro_invoke.config import attest, disk, inputs, live, metrics, shared
from kiro_invoke.config.names import shown, slug_complaint
from kiro_invoke.config.nodes import FILE, Given, Value, read
from kiro_invoke.config.platforms import platforms
from kiro_invoke.config.services import Found, Repository, configured, detected, selected
from kiro_invoke.model.naming import slug
from kiro_invoke.model.service import Origin, Project, Secret, Setting

#: The versions of kiro.yaml that this release understands.
VERSIONS = ("1",)

_KEYS = (
    "version",
    "project",
    "services",
    "ca_bundle",
    "base_images",
    "secrets",
    "ssh",
    "build_args",
    "watch",
    "metrics",
    "disk",
    "builder",
    "cache",
    "platforms",
    "attest",
)


def find_root(start: Path) -> Path:
    """The repository that `start` lies in: the nearest folder upward with kiro.yaml or .git, else `start`.

    A kiro.yaml above the repository's own .git is somebody else's (a stray one in a home folder, say).
    """
    start = start.resolve()
    folders = (start, *start.parents)
    marked = (folder for folder in folders if any(os.path.lexists(folder / mark) for mark in (FILE, ".git")))
    return next(marked, start)


def load(start: Path, environ: Mapping[str, str], *, services: Sequence[str] = ()) -> Project:
    """The configuration of the repository that `start` lies in, merged and checked.

    `services` selects by name. ConfigError or UsageError says in one line what cannot be used.
    """
    root = find_root(start)
    files = configuration(root)
    fields = read(root / FILE).known_fields(_KEYS) if os.path.lexists(root / FILE) else {}
    version = _version(fields.get("version"))
    name = _project(fields.get("project"), environ, root)
    bundle = _given(fields.get("ca_bundle"), environ, "KIRO_CA_BUNDLE")
    ca_bundle = inputs.ca_bundle(bundle, root, environ) if bundle else None
    rows = {
        "base_images": inputs.base_images(fields.get("base_images")),
        "secrets": inputs.secrets(fields.get("secrets"), root, environ),
        "ssh": inputs.ssh(fields.get("ssh"), root, environ),
        "build_args": inputs.build_args(fields.get("build_args")),
    }
    watching, watch_settings = live.watching(fields.get("watch"), environ)
    recording, metrics_settings = metrics.recording(fields.get("metrics"), environ)
    floor, disk_settings = disk.disk_floor(fields.get("disk"), environ)
    builder, builder_settings = shared.builder(fields.get("builder"), environ)
    cache, cache_settings = shared.cache(fields.get("cache"))
    attested, attest_settings = attest.attest(fields.get("attest"))
    everywhere = platforms(fields.get("platforms"))
    services_found = _found(fields.get("services"), Repository(root, name.text))
    found = tuple(each.built_for(everywhere) for each in services_found)
    chosen = selected(found, services)
    settings = [version.setting("version")] if version else []
    settings.append(name.setting("project"))
    settings += _service_settings(chosen, fields.get("services"), by_option=bool(services))
    if bundle:
        settings.append(bundle.setting("ca_bundle", str(ca_bundle)))
    settings += [*builder_settings, *cache_settings]
    settings += [*_row_settings(rows), *watch_settings, *metrics_settings, *disk_settings, *attest_settings]
    return Project(
        root=root,
        name=name.text,
        services=tuple(each.service for each in chosen),
        ca_bundle=ca_bundle,
        base_images=tuple((row.name, row.value) for row in rows["base_images"]),
        secrets=tuple(Secret(row.name, row.value) for row in rows["secrets"]),
        ssh=tuple(row.value for row in rows["ssh"]),
        build_args=tuple((row.name, row.value) for row in rows["build_args"]),
        settings=tuple(settings),
        watching=watching,
        recording=recording,
        disk_floor=floor,
        builder=builder,
        shared=cache,
        attest=attested,
        files=tuple(files.items()),
        others=tuple(each.service.name for each in found if each not in chosen),
    )


def _given(value: Value | None, environ: Mapping[str, str], variable: str) -> Given | None:
    """What the variable says, else what kiro.yaml says; an empty variable says nothing."""
    from_file = value.text() if value else None
    if text := environ.get(variable):
        return Given(text, Origin.ENVIRONMENT, variable)
    return from_file


def _version(value: Value | None) -> Given | None:
    if value is None:
        return None
    given = value.whole_number()
    if given.text not in VERSIONS:
        known = ", ".join(VERSIONS)
        message = f"version {shown(given.text)} is not understood: this release understands version {known}"
        raise given.refused(message, f"write `version: {VERSIONS[-1]}`, or upgrade kiro-invoke")
    return given


def _project(value: Value | None, environ: Mapping[str, str], root: Path) -> Given:
    given = _given(value, environ, "KIRO_PROJECT")
    if given is None:
        return Given(slug(root.name, "project"), Origin.DETECTED, shown(root.name))
    if complaint := slug_complaint(given.text, "project"):
        raise given.refused(*complaint)
    return given


def _found(value: Value | None, repository: Repository) -> tuple[Found, ...]:
    return detected(repository) if value is None else configured(value, repository)


def _service_settings(chosen: Sequence[Found], value: Value | None, *, by_option: bool) -> Iterator[Setting]:
    """Which services, and who said so; then each one's own settings."""
    names = ", ".join(each.service.name for each in chosen)
    if by_option:
        yield Setting("services", names, Origin.OPTION, "--service")
    elif value is not None:
        yield Setting("services", names, Origin.FILE, value.where)
    else:
        yield Setting("services", names, Origin.DETECTED, ", ".join(each.name.where for each in chosen))
    for each in chosen:
        yield from each.settings


def _row_settings(rows: Mapping[str, Sequence[inputs.Row]]) -> Iterator[Setting]:
    for section, entries in rows.items():
        for row in entries:
            yield row.given.setting(f"{section}.{row.name}", row.value)
