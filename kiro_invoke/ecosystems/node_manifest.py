"""package.json: what of it an install can depend on, and what its lifecycle scripts read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from typing import Any

from kiro_invoke.ecosystems.node_parts import (
    FORMATTING,
    MANIFEST,
    Project,
    canonical,
    each_key,
    hashed,
    is_installed,
    quoted,
    texts,
)

#: The keys that no install reads, as in templates/project-manifest.mjs. One that is not here counts.
# fmt: off
UNSEEN = frozenset((
    "version", "description", "keywords", "homepage", "bugs", "license", "author", "contributors", "maintainers",
    "funding", "files", "main", "module", "browser", "types", "typings", "exports", "imports", "type", "sideEffects",
    "repository", "publishConfig", "browserslist", "eslintConfig", "prettier", "stylelint", "jest", "babel", "nyc",
    "lint-staged", "husky", "commitlint", "//",
))
# fmt: on
#: The scripts that an install runs.
LIFECYCLE = (
    "preinstall",
    "install",
    "postinstall",
    "prepublish",
    "preprepare",
    "prepare",
    "postprepare",
)
DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
_CALLED = {
    "dependencies": "dependency",
    "devDependencies": "dev dependency",
    "optionalDependencies": "optional dependency",
    "peerDependencies": "peer dependency",
    "peerDependenciesMeta": "meta of peer dependency",
    "dependenciesMeta": "meta of dependency",
    "overrides": "override",
    "resolutions": "resolution",
    "engines": "engine",
    "devEngines": "development engine",
}
_PNPM = {
    "overrides": "override",
    "patchedDependencies": "patched dependency",
    "packageExtensions": "package extension",
}
#: What a program may be that a script names by its path, if there is a dot in its name.
_PROGRAMS = frozenset((".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".sh", ".bash", ".py", ".rb", ".pl"))
_SOURCES = frozenset((".c", ".cc", ".cpp", ".cxx", ".m", ".mm", ".h", ".hpp", ".gypi"))
_ARCHIVES = (".tgz", ".tar.gz", ".tar", ".patch", ".diff")
_VERSION_FILES = (".nvmrc", ".node-version")
_NAMES = frozenset((MANIFEST, "binding.gyp", *_VERSION_FILES))

_PATH = re.compile(r"[\w@.+/-]+")
_RUN = re.compile(r"\b(?:npm|pnpm|yarn|bun)\s+(?:(?:run|run-script|-\S+)\s+)*([^\s&|;<>\"']+)")
_RUN_ALL = re.compile(r"\b(?:run-s|run-p|npm-run-all)\s+([^&|;<>]+)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BETWEEN = re.compile(r"\s*:\s*|\s+")


def in_folder(folder: str, path: str) -> str:
    """A path as it stands in a package's folder, from the service's own; "" for one that leads out of it."""
    whole = posixpath.normpath(posixpath.join(folder, path))
    return "" if whole in (".", "..") or whole.startswith(("../", "/")) else whole


def reads(path: str) -> bool:
    """Whether `manifest_parts` may read a file there."""
    folder, name = posixpath.split(path)
    if is_installed(path):
        return False
    suffix = posixpath.splitext(name)[1]
    return (
        name in _NAMES
        or suffix in _PROGRAMS
        or "." not in name
        or suffix in _SOURCES
        or name.endswith(_ARCHIVES)
        or "patches" in folder.split("/")
        or (suffix == ".prisma" and "prisma" in folder.split("/"))
    )


def manifest_parts(
    project: Project, folder: str, manifest: dict[str, Any], seen: Collection[str] = ()
) -> None:
    """Gather a package's manifest and what it makes an install read. `seen`: keys of UNSEEN that count."""
    file = posixpath.join(folder, MANIFEST)
    run = _run_by_an_install(texts(manifest.get("scripts")))
    for key, value in manifest.items():
        if key == "scripts":
            _scripts(project, file, value, run)
        elif (key in UNSEEN or key == "name") and key not in seen:
            project.tells(file, quoted(key), canonical(value))
        elif key == "pnpm" and isinstance(value, dict):
            pnpm_settings(project, file, value, "pnpm setting")
        elif key in _CALLED:
            each_key(project, file, key, value, _CALLED[key])
        else:
            project.counts(file, quoted(key), canonical(value))
    for path in sorted(set(_files(project, folder, manifest, run))):
        if reads(path):
            project.counts_file(path)


def pnpm_settings(project: Project, file: str, settings: dict[str, Any], called: str) -> None:
    """Gather pnpm's settings, which stand in package.json or in pnpm-workspace.yaml."""
    for key, value in settings.items():
        if key in _PNPM:
            each_key(project, file, key, value, _PNPM[key])
        else:
            project.counts(file, f"{called} {quoted(key)}", canonical(value))
    for path in texts(settings.get("patchedDependencies")).values():
        if reads(path := in_folder("", path)):
            project.counts_file(path)


def version_files(project: Project) -> None:
    """Tell of the files that choose a person's Node. An install in an image has the image's."""
    for file in _VERSION_FILES:
        project.tells_file(file)


def formatting(project: Project, file: str, text: str, value: dict[str, Any]) -> None:
    """Gather how a manifest is written: the white space that it uses, and the order of the keys that count.

    The order of keys that no install reads is left out: a script that is added explains itself.
    """
    between = sorted(set(_BETWEEN.findall(_STRING.sub('"', text))))
    counted = {key: each for key, each in value.items() if key not in UNSEEN and key != "scripts"}
    project.tells(file, FORMATTING, hashed([between, _order(counted), text[-1:].isspace()]))


def local_paths(manifest: dict[str, Any], folder: str) -> Iterator[str]:
    """Folders and files of the service that a manifest names as a dependency, or as a patch of one."""
    for key in (*DEPENDENCIES, "resolutions"):
        for wanted in texts(manifest.get(key)).values():
            kind, colon, rest = wanted.partition(":")
            if colon and kind in ("file", "link", "portal"):
                yield in_folder(folder, rest)
            elif wanted.startswith(("./", "../")):
                yield in_folder(folder, wanted)
            elif colon and kind == "patch":
                for patch in rest.rpartition("#")[2].split("&"):
                    yield in_folder("" if patch.startswith("~/") else folder, patch.removeprefix("~/"))


def _order(value: object) -> object:
    """The keys of objects in their order."""
    if isinstance(value, dict):
        return [[key, _order(each)] for key, each in value.items()]
    return [_order(each) for each in value] if isinstance(value, list) else None


def _scripts(project: Project, file: str, scripts: object, run: Collection[str]) -> None:
    """The scripts that an install runs count. An empty one is none."""
    if not isinstance(scripts, dict):
        project.tells(file, quoted("scripts"), canonical(scripts))
        return
    for name, script in scripts.items():
        counted = script and (name in run or name in LIFECYCLE)
        (project.counts if counted else project.tells)(file, f"script {quoted(name)}", canonical(script))


def _run_by_an_install(scripts: dict[str, str]) -> dict[str, str]:
    """The scripts that an install runs, with those that they run as `npm run NAME`."""
    run: dict[str, str] = {}
    queue = [name for name in LIFECYCLE if scripts.get(name)]
    while queue:
        name = queue.pop()
        if name in run or name not in scripts:
            continue
        text = run[name] = scripts[name]
        called = _RUN.findall(text) + [one for all_ in _RUN_ALL.findall(text) for one in all_.split()]
        queue += [around + one for one in called for around in ("", "pre", "post")]
    return run


def _files(project: Project, folder: str, manifest: dict[str, Any], run: dict[str, str]) -> Iterator[str]:
    """The files that an install reads beside the manifest: what a dependency or a script names, and by custom.

    `node scripts/x.js`, and `node scripts/x`, name scripts/x.js if there is such a file. What that file reads in
    its turn is not followed. Custom, where such scripts run: patches/ and Prisma's schemas.
    """
    yield from (path for path in local_paths(manifest, folder) if path in project.names)
    gyp = in_folder(folder, "binding.gyp")
    words = [word for text in run.values() for word in _PATH.findall(text)]
    if gyp in project.names:
        yield gyp
        words += _PATH.findall(project.text(gyp) or "")
    for word in words:
        for ending in ("", ".js", "/index.js"):
            if (path := in_folder(folder, word + ending)) in project.names:
                yield path
    patches, schemas = posixpath.join(folder, "patches/"), posixpath.join(folder, "prisma/")
    for name in project.customary if run else ():
        if name.startswith(patches) or (name.startswith(schemas) and name.endswith(".prisma")):
            yield name
