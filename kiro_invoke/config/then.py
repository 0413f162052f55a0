"""What kiro.yaml gave to builds of a git revision, and where that is not what it gives to builds now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from posixpath import basename, dirname, normpath

import yaml

from kiro_invoke.builds.planner import Profile, Recipe, placed
from kiro_invoke.changes.revision import Revision
from kiro_invoke.config.nodes import FILE, Value, parsed
from kiro_invoke.config.services import SKIPPED
from kiro_invoke.ecosystems.registry import detect
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.naming import slug
from kiro_invoke.model.service import Project

#: Keys that no image depends on: what is watched, kept, and told. A key that is not listed counts.
_NO_BUILD = frozenset({"version", "watch", "metrics", "disk", "builder", "cache"})
_NO_BUILD_OF_SERVICE = frozenset({"ecosystem", "dependency_inputs", "ignore", "live", "benchmark"})
#: Keys that are compared by what they come to.
_READ = frozenset({"project", "services", "build_args", "base_images"})
_READ_OF_SERVICE = frozenset({"name", "context", "dockerfile", "fast_dockerfile", "image"})
_DOCKERFILES = {"dockerfile": "Dockerfile", "fast_dockerfile": "Dockerfile.fast"}

#: Whatever a YAML node comes to: compared, never looked into.
Plain = object


@dataclass(frozen=True)
class Entry:
    """A service: its context from the root ("" is the root), None outside of it; its Dockerfiles by key; its image."""

    context: str | None
    dockerfiles: Mapping[str, str | None]
    image: str
    rest: Mapping[str, Plain]


@dataclass(frozen=True)
class Said:
    """All of a kiro.yaml that a build can depend on."""

    project: str
    services: Mapping[str, Entry]
    build_args: Mapping[str, str]
    base_images: Mapping[str, str]
    rest: Mapping[str, Plain]

    def given(self, project: Project) -> Project:
        """A project that gives its builds what this says."""
        return replace(
            project, build_args=tuple(self.build_args.items()), base_images=tuple(self.base_images.items())
        )


#: Finds services where kiro.yaml lists none: their names, with their contexts.
Detect = Callable[[], Iterable[tuple[str, str]]]
#: Where a path of the project leads, links followed.
Where = Callable[[str], str | None]


def said_then(revision: Revision, project: Project, environ: Mapping[str, str]) -> Said:
    """What a revision's kiro.yaml says; ConfigError where that cannot be told."""
    data = revision.file(FILE)
    if data is None and revision.has(FILE):
        raise ConfigError("it cannot be read", file=FILE)
    root = slug(project.root.name, "project")
    return _said(data, root, environ, revision.where, lambda: _detected(revision, project.root.name))


def said_now(project: Project) -> Said:
    """What it says now, as far as the project does not tell it."""
    try:
        data: bytes | None = (project.root / FILE).read_bytes()
    except FileNotFoundError:
        data = None
    said = _said(data, project.name, {}, lambda path: path, tuple)
    services = {
        service.name: Entry(
            placed(service.context, project.root),
            {key: placed(path, project.root) if (path := getattr(service, key)) else None for key in _DOCKERFILES},
            service.image,
            said.services[service.name].rest if service.name in said.services else {},
        )
        for service in project.services
    }  # fmt: skip
    args, images = dict(project.build_args), dict(project.base_images)
    return Said(project.name, services, args, images, said.rest)


def differences(then: Said, now: Said, recipe: Recipe) -> Iterator[str]:
    """In what kiro.yaml has a service's image built otherwise, in words."""
    if then.project != now.project:
        yield f"{FILE}: `project` changed"
    for key in _differing(then.rest, now.rest):
        yield f"{FILE}: `{key}` changed"
    name = recipe.service.name
    was, is_ = then.services.get(name), now.services[name]
    if was is None:
        yield f"{name} was no service"
        return
    if was.context != is_.context:
        yield f"{FILE}: `context` of {name} changed"
    key = "fast_dockerfile" if recipe.profile is Profile.DEV else "dockerfile"
    if was.dockerfiles[key] != is_.dockerfiles[key]:
        yield f"{FILE}: `{key}` of {name} changed"
    if was.image != is_.image and then.project == now.project:
        yield f"{FILE}: `image` of {name} changed"
    for key in _differing(was.rest, is_.rest):
        yield f"{FILE}: `{key}` of {name} changed"


def _said(data: bytes | None, root: str, environ: Mapping[str, str], where: Where, detected: Detect) -> Said:
    fields = parsed(data).fields() if data is not None else {}
    project = environ.get("KIRO_PROJECT") or (fields["project"].text().text if "project" in fields else root)
    services: dict[str, Entry] = {}
    if "services" in fields:
        for item in fields["services"].items():
            entry = item.fields()
            if "name" not in entry:
                raise item.refused(f"{item.key} has no name", "add `name: NAME`")
            services[entry["name"].text().text] = _entry(entry, project, where)
    else:
        services = {
            name: Entry(context, _dockerfiles({}, context, where), f"{project}/{name}", {})
            for name, context in detected()
        }
    return Said(
        project,
        services,
        _texts(fields.get("build_args")),
        _texts(fields.get("base_images")),
        _rest(fields, _READ | _NO_BUILD),
    )


def _entry(fields: Mapping[str, Value], project: str, where: Where) -> Entry:
    texts = {key: fields[key].text().text for key in _READ_OF_SERVICE if key in fields}
    name = texts["name"]
    context = where(_normal(texts.get("context", name)))
    return Entry(
        context,
        _dockerfiles(texts, context, where),
        texts.get("image", f"{project}/{name}"),
        _rest(fields, _READ_OF_SERVICE | _NO_BUILD_OF_SERVICE),
    )


def _dockerfiles(texts: Mapping[str, str], context: str | None, where: Where) -> dict[str, str | None]:
    """Each Dockerfile's place; its folders are followed, the file itself is not."""
    found: dict[str, str | None] = {}
    for key, default in _DOCKERFILES.items():
        path = _normal(f"{context or ''}/{texts.get(key, default)}".lstrip("/"))
        folder = where(dirname(path))
        found[key] = None if folder is None else f"{folder}/{basename(path)}".lstrip("/")
    return found


def _detected(revision: Revision, root: str) -> Iterator[tuple[str, str]]:
    """The services that detection would have found."""
    for name, place in sorted(revision.folders().items()):
        is_link = place != name
        if name.startswith(".") or name in SKIPPED or (is_link and "/" not in place):
            continue
        names = revision.names(place)
        if detect(names) is not None and not names.isdisjoint(_DOCKERFILES.values()):
            yield slug(name or root, "service"), place


def _texts(value: Value | None) -> dict[str, str]:
    return {name: each.scalar().text for name, each in value.fields().items()} if value else {}


def _rest(fields: Mapping[str, Value], but: frozenset[str]) -> dict[str, Plain]:
    return {key: _plain(value.node) for key, value in fields.items() if key not in but}


def _plain(node: yaml.Node) -> Plain:
    if isinstance(node, yaml.MappingNode):
        return frozenset((_plain(key), _plain(value)) for key, value in node.value)
    if isinstance(node, yaml.SequenceNode):
        return tuple(map(_plain, node.value))
    return (node.tag, node.value)


def _differing(then: Mapping[str, Plain], now: Mapping[str, Plain]) -> list[str]:
    return sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))


def _normal(path: str) -> str:
    normal = normpath(path)
    return "" if normal == "." else normal
