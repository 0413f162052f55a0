"""The services of a repository: as kiro.yaml lists them, or as its folders show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kiro_invoke.config.benchmark import benchmark
from kiro_invoke.config.inputs import path_rules
from kiro_invoke.config.live import live
from kiro_invoke.config.names import Complaint, image_complaint, nearest, shown, slug_complaint
from kiro_invoke.config.nodes import Given, Value
from kiro_invoke.config.paths import file_names, inside, is_file, is_folder, leads_outside, relative
from kiro_invoke.config.platforms import platforms
from kiro_invoke.ecosystems.registry import ECOSYSTEMS, OTHER, detect
from kiro_invoke.model.errors import ConfigError, UsageError
from kiro_invoke.model.naming import slug
from kiro_invoke.model.service import Origin, PathRule, Service, Setting

_TEXTS = ("name", "context", "dockerfile", "fast_dockerfile", "image", "ecosystem")
_RULES = ("dependency_inputs", "ignore")
_KEYS = (*_TEXTS, *_RULES, "live", "benchmark", "platforms")
_DEFAULT_FILES = {"dockerfile": "Dockerfile", "fast_dockerfile": "Dockerfile.fast"}
SKIPPED = frozenset({"node_modules", "target"})


@dataclass(frozen=True)
class Repository:
    """Where services are looked for: the root folder, resolved, and the project's name."""

    root: Path
    project: str


@dataclass(frozen=True)
class Found:
    """A service with what must be unique about it and its lines of `kiro config`."""

    service: Service
    name: Given
    image: Given
    settings: tuple[Setting, ...]

    def with_more(self, service: Service, settings: Sequence[Setting]) -> Found:
        """The same with more said of its service."""
        return replace(self, service=service, settings=(*self.settings, *settings))

    def built_for(self, given: Sequence[Given]) -> Found:
        """The same with these platforms, unless its own are known already."""
        if self.service.platforms or not given:
            return self
        service = replace(self.service, platforms=tuple(one.text for one in given))
        key = f"services.{service.name}.platforms"
        return self.with_more(service, [one.setting(f"{key}[{at}]") for at, one in enumerate(given)])


def configured(services: Value, repository: Repository) -> tuple[Found, ...]:
    """The services that kiro.yaml lists."""
    items = services.items()
    if not items:
        raise services.refused(
            "services is an empty list", "list a service, or delete the key to detect them"
        )
    return _distinct(_configured(item, repository) for item in items)


def detected(repository: Repository) -> tuple[Found, ...]:
    """The root and its direct subfolders that have a Dockerfile and belong to a known ecosystem."""
    found = _distinct(_detected(repository))
    if not found:
        looked_for = (
            "a Dockerfile or Dockerfile.fast beside a Cargo.toml, or beside a package.json and its lockfile"
        )
        fix = (
            f"put {looked_for} into a folder of {shown(str(repository.root))}, or list services: in kiro.yaml"
        )
        raise ConfigError("found no service", fix=fix)
    return found


def selected(found: Sequence[Found], names: Sequence[str]) -> tuple[Found, ...]:
    """The services of these names, in their own order; all of them when no name is given."""
    known = [each.service.name for each in found]
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f'; did you mean "{near}"?' if near else ""
            raise UsageError(f'no service "{shown(name)}"{hint}', fix=f"choose from: {', '.join(known)}")
    return tuple(each for each in found if not names or each.service.name in names)


def _configured(item: Value, repository: Repository) -> Found:
    fields = item.known_fields(_KEYS)
    given = {key: value.text() for key, value in fields.items() if key in _TEXTS}
    rules = {key: path_rules(fields[key], key) for key in _RULES if key in fields}
    if "name" not in given:
        raise item.refused(f"{item.key} has no name", "add `name: NAME`")
    name = given["name"]
    _accept(name, slug_complaint(name.text, "service"))
    context = given.get("context") or Given(name.text, Origin.DETECTED, name.file, name.line)
    folder = inside(context, "context", repository.root, repository.root)
    if not is_folder(folder):
        missing = f'context "{shown(context.text)}" of service "{name.text}" is no folder'
        raise context.refused(missing, "create the folder, or correct context:")
    if "context" not in given:
        context = Given(context.text, Origin.DETECTED, relative(folder, repository.root))
    found = _found({**given, "context": context}, folder.resolve(), repository, rules)
    prefix = f"services.{name.text}"
    if "platforms" in fields:
        found = found.built_for(platforms(fields["platforms"]))
    if "live" in fields:
        given_live, settings = live(fields["live"], f"{prefix}.live")
        found = found.with_more(replace(found.service, live=given_live), settings)
    if "benchmark" in fields:
        given_benchmark, settings = benchmark(
            fields["benchmark"], f"{prefix}.benchmark", folder.resolve(), repository.root
        )
        found = found.with_more(replace(found.service, benchmark=given_benchmark), settings)
    return found


def _detected(repository: Repository) -> Iterator[Found]:
    for folder in _folders(repository.root):
        names = file_names(folder)
        ecosystem = detect(names)
        if ecosystem is not None and not names.isdisjoint(_DEFAULT_FILES.values()):
            manifest = relative(folder / ECOSYSTEMS[ecosystem].manifest, repository.root)
            given = {
                "name": Given(slug(folder.name, "service"), Origin.DETECTED, manifest),
                "context": Given(relative(folder, repository.root), Origin.DETECTED, manifest),
            }
            yield _found(given, folder.resolve(), repository, {})


def _folders(root: Path) -> Iterator[Path]:
    """The root, then its subfolders that services are looked for in, sorted."""
    try:
        entries = sorted(root.iterdir())
    except OSError as trouble:
        reason = trouble.strerror or "unknown trouble"
        message = f"{shown(str(root))} cannot be listed: {reason}"
        raise ConfigError(message, fix="start in a folder that you may read") from None
    yield root
    for entry in entries:
        if entry.name.startswith(".") or entry.name in SKIPPED or not is_folder(entry):
            continue
        if not entry.is_symlink() or _is_another_folder(entry, root):
            yield entry


def _is_another_folder(link: Path, root: Path) -> bool:
    """Whether a symlink leads to a folder of the repository that is not looked at anyway."""
    target = link.resolve()
    return not leads_outside(link, root) and target != root and target.parent != root


def _found(
    given: dict[str, Given],
    context: Path,
    repository: Repository,
    rules: Mapping[str, tuple[Given, ...]],
) -> Found:
    """The service that `given` describes, its defaults filled in from its folder."""
    name = given["name"]
    files = {key: _dockerfile(key, given.get(key), context, repository.root) for key in _DEFAULT_FILES}
    if not any(files.values()):
        shown_folder = relative(context, repository.root)
        message = f'service "{name.text}" has neither a Dockerfile nor a Dockerfile.fast in {shown_folder}'
        raise name.refused(message, "add one, or name one with dockerfile: or fast_dockerfile:")
    image = given.get("image") or Given(f"{repository.project}/{name.text}", Origin.DETECTED)
    _accept(image if image.file else name, image_complaint(image.text))
    ecosystem = _ecosystem(given.get("ecosystem"), context, repository.root)
    prefix = f"services.{name.text}"
    settings = [
        given["context"].setting(f"{prefix}.context", relative(context, repository.root)),
        image.setting(f"{prefix}.image"),
        ecosystem.setting(f"{prefix}.ecosystem"),
    ]
    for key, file in files.items():
        if file is not None:
            settings.append(file[1].setting(f"{prefix}.{key}", relative(file[0], repository.root)))
    for key, each in rules.items():
        settings += [pattern.setting(f"{prefix}.{key}[{at}]") for at, pattern in enumerate(each)]
    paths = {key: file[0] if file else None for key, file in files.items()}
    service = Service(
        name=name.text,
        context=context,
        image=image.text,
        ecosystem=ecosystem.text,
        dockerfile=paths["dockerfile"],
        fast_dockerfile=paths["fast_dockerfile"],
        dependency_inputs=_path_rules(rules, "dependency_inputs"),
        ignore=_path_rules(rules, "ignore"),
    )
    return Found(service, name, image, tuple(settings))


def _path_rules(rules: Mapping[str, tuple[Given, ...]], key: str) -> tuple[PathRule, ...]:
    return tuple(PathRule(one.text, one.where) for one in rules.get(key, ()))


def _dockerfile(key: str, given: Given | None, context: Path, root: Path) -> tuple[Path, Given] | None:
    """The Dockerfile that was named, which must exist, or the one that is found, if any."""
    default = _DEFAULT_FILES[key]
    if given is None:
        path = context / default
        if not is_file(path):
            return None
        there = Given(default, Origin.DETECTED, relative(path, root))
        return inside(there, key, context, root), there
    path = inside(given, key, context, root)
    if not is_file(path):
        message = f'{key} "{shown(given.text)}" is no file in {relative(context, root)}'
        raise given.refused(
            message, f"create it, or correct {key}: (it is relative to the service's context)"
        )
    return path, given


def _ecosystem(given: Given | None, context: Path, root: Path) -> Given:
    if given is None:
        name = detect(file_names(context))
        where = "" if name is None else relative(context / ECOSYSTEMS[name].manifest, root)
        return Given(name or OTHER, Origin.DETECTED, where)
    known = (*ECOSYSTEMS, OTHER)
    if given.text not in known:
        near = nearest(given.text, known)
        hint = f'; did you mean "{near}"?' if near else ""
        message = f'unknown ecosystem "{shown(given.text)}"{hint}'
        raise given.refused(message, f"use one of: {', '.join(known)}")
    return given


def _distinct(found: Iterable[Found]) -> tuple[Found, ...]:
    """All of `found`; ConfigError at the first that shares its name or image with an earlier one."""
    names: dict[str, Found] = {}
    images: dict[str, Found] = {}
    for each in found:
        name, image = each.service.name, each.service.image
        if name in names:
            message = f'two services are named "{name}" (the other: {names[name].name.where})'
            raise each.name.refused(message, "give each a name of its own under services: in kiro.yaml")
        if image in images:
            other = images[image].service.name
            place = each.image if each.image.file else each.name
            message = f'services "{other}" and "{name}" have the same image "{image}"'
            raise place.refused(message, "give each an image of its own")
        names[name] = images[image] = each
    return tuple(names.values())


def _accept(given: Given, complaint: Complaint | None) -> None:
    if complaint is not None:
        raise given.refused(*complaint)
