"""A package that npm installs, and edits of it with what each means to its install."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kiro_invoke.model.fingerprint import Part, Tree, differences

Files = dict[str, str | bytes]
#: What an edit is: of what an install can depend on; of what no install sees; of nothing that a manifest says.
Verdict = Literal["dependency", "source", "nothing", "doubt"]

FILES: Mapping[str, str | bytes] = {
    "package.json": json.dumps(
        {
            "name": "web",
            "version": "1.2.3",
            "description": "Notes",
            "license": "MIT",
            "scripts": {
                "build": "vite build",
                "postinstall": "node scripts/after.js && npm run generate",
                "generate": "node scripts/generate",
            },
            "dependencies": {"react": "^19.0.0", "zod": "^4.0.0"},
            "devDependencies": {"vite": "^7.0.0"},
            "optionalDependencies": {"fsevents": "^2.3.0"},
            "overrides": {"semver": "7.7.0"},
            "engines": {"node": ">=20"},
            "browserslist": ["defaults"],
        },
        indent=2,
    )
    + "\n",
    "package-lock.json": json.dumps(
        {
            "name": "web",
            "version": "1.2.3",
            "lockfileVersion": 3,
            "requires": True,
            "packages": {
                "": {
                    "name": "web",
                    "version": "1.2.3",
                    "license": "MIT",
                    "dependencies": {"react": "^19.0.0"},
                },
                "node_modules/react": {"version": "19.0.0", "integrity": "sha512-a"},
                "node_modules/vite": {"version": "7.0.0", "dev": True},
                "node_modules/vite/node_modules/@s/semver": {"version": "7.7.0"},
            },
        },
        indent=2,
    )
    + "\n",
    ".npmrc": "fund=false\n",
    ".nvmrc": "22\n",
    "patches/react+19.0.0.patch": "--- a\n",
    "prisma/schema.prisma": "model A {}\n",
    "scripts/after.js": "require('./more');\n",
    "scripts/generate.js": "1;\n",
    "scripts/more.js": "2;\n",
    "src/main.js": "3;\n",
    "examples/old/package.json": '{"dependencies": {"left-pad": "1.0.0"}}',
    "node_modules/react/package.json": '{"version": "19.0.0"}',
}


@dataclass(frozen=True)
class Edit:
    """`sentences`: all that must be said of it. `projected`: whether project-manifest.mjs gives another result."""

    name: str
    make: Callable[[Files], None]
    verdict: Verdict
    sentences: tuple[str, ...] = ()
    projected: bool = False

    def __str__(self) -> str:
        return self.name


def tree_of(files: Mapping[str, str | bytes]) -> Tree:
    """The files as a tree in memory."""
    held = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    return Tree(frozenset(held), held.get)


def said(before: Mapping[Part, str], after: Mapping[Part, str]) -> list[str]:
    """The sentences on what two fingerprints do not have in common."""
    return [str(difference) for difference in differences(before, after)]


def in_json(path: str, change: Callable[[Any], object]) -> Callable[[Files], None]:
    """An edit of what a file of JSON holds."""

    def make(files: Files) -> None:
        value = json.loads(files[path])
        change(value)
        files[path] = json.dumps(value, indent=2) + "\n"

    return make


def writes(path: str, text: str | bytes | None) -> Callable[[Files], None]:
    """An edit that writes a file anew, or removes it."""

    def make(files: Files) -> None:
        if text is None:
            del files[path]
        else:
            files[path] = text

    return make


def replaces(path: str, old: str, new: str) -> Callable[[Files], None]:
    """An edit of a file's text."""

    def make(files: Files) -> None:
        text = files[path]
        assert isinstance(text, str)
        assert old in text
        files[path] = text.replace(old, new)

    return make


def both(*edits: Callable[[Files], None]) -> Callable[[Files], None]:
    """Several edits as one."""

    def make(files: Files) -> None:
        for edit in edits:
            edit(files)

    return make


def dependency(name: str, make: Callable[[Files], None], *sentences: str, projected: bool = True) -> Edit:
    return Edit(name, make, "dependency", sentences, projected)


def source(name: str, make: Callable[[Files], None], *sentences: str, projected: bool = False) -> Edit:
    return Edit(name, make, "source", sentences, projected)


def nothing(name: str, make: Callable[[Files], None]) -> Edit:
    return Edit(name, make, "nothing")


def doubt(name: str, make: Callable[[Files], None], sentence: str) -> Edit:
    return Edit(name, make, "doubt", (sentence,))


def _manifest(**more: Any) -> Callable[[Files], None]:
    return in_json("package.json", lambda it: it.update(more))


def _script(name: str, text: object) -> Callable[[Files], None]:
    return in_json("package.json", lambda it: it["scripts"].update({name: text}))


def _needs(key: str, **more: Any) -> Callable[[Files], None]:
    return in_json("package.json", lambda it: it.setdefault(key, {}).update(more))


def _without(*keys: str) -> Callable[[Files], None]:
    def change(it: Any) -> None:
        for key in keys[:-1]:
            it = it[key]
        del it[keys[-1]]

    return in_json("package.json", change)


def _locked(path: str, **more: Any) -> Callable[[Files], None]:
    return in_json("package-lock.json", lambda it: it["packages"].setdefault(path, {}).update(more))


def _lock(**more: Any) -> Callable[[Files], None]:
    return in_json("package-lock.json", lambda it: it.update(more))


def _reordered(files: Files) -> None:
    value = json.loads(files["package.json"])
    files["package.json"] = json.dumps(dict(reversed(value.items())), indent=2) + "\n"


EDITS: tuple[Edit, ...] = (
    dependency("add", _needs("dependencies", a="1"), "package.json: dependency `a` added"),
    dependency(
        "add and lock",
        both(_needs("dependencies", a="1"), _locked("node_modules/a", version="1.0.0")),
        "package-lock.json: locked package `a` added",
        "package.json: dependency `a` added",
    ),
    dependency("change", _needs("dependencies", react="*"), "package.json: dependency `react` changed"),
    dependency("remove", _without("dependencies", "zod"), "package.json: dependency `zod` removed"),
    dependency("dev", _needs("devDependencies", vite="8"), "package.json: dev dependency `vite` changed"),
    dependency(
        "move to dev",
        both(_without("dependencies", "zod"), _needs("devDependencies", zod="^4.0.0")),
        "package.json: dependency `zod` removed",
        "package.json: dev dependency `zod` added",
    ),
    dependency(
        "optional",
        _without("optionalDependencies", "fsevents"),
        "package.json: `optionalDependencies` added",
        "package.json: optional dependency `fsevents` removed",
    ),
    dependency("peer", _needs("peerDependencies", x="1"), "package.json: peer dependency `x` added"),
    dependency(
        "peer meta",
        _needs("peerDependenciesMeta", x={"optional": True}),
        "package.json: meta of peer dependency `x` added",
    ),
    dependency("override", _needs("overrides", semver="7"), "package.json: override `semver` changed"),
    dependency(
        "nested override",
        _needs("overrides", vite={"esbuild": "1", ".": "2"}),
        "package.json: override `vite` added",
    ),
    dependency("resolution", _needs("resolutions", x="1"), "package.json: resolution `x` added"),
    dependency("engine", _needs("engines", npm=">=10"), "package.json: engine `npm` added"),
    dependency(
        "dev engine",
        _needs("devEngines", runtime={"name": "node"}),
        "package.json: development engine `runtime` added",
    ),
    dependency("os", _manifest(os=["linux"]), "package.json: `os` added"),
    dependency("cpu", _manifest(cpu=["x64"]), "package.json: `cpu` added"),
    dependency("manager", _manifest(packageManager="npm@11.0.0"), "package.json: `packageManager` added"),
    dependency(
        "bundled", _manifest(bundledDependencies=["zod"]), "package.json: `bundledDependencies` added"
    ),
    dependency("program", _manifest(bin={"web": "cli.js"}), "package.json: `bin` added"),
    dependency("unknown key", _manifest(newInNpm99=True), "package.json: `newInNpm99` added"),
    dependency(
        "no object",
        _manifest(dependencies=["x"]),
        "package.json: `dependencies` added",
        "package.json: dependency `react` removed",
        "package.json: dependency `zod` removed",
    ),
    dependency("prepare", _script("prepare", "husky"), "package.json: script `prepare` added"),
    dependency(
        "install script",
        _script("postinstall", "true"),
        "package.json: script `generate` removed",
        "package.json: script `postinstall` changed",
        "scripts/after.js: input of the install removed",
        "scripts/generate.js: input of the install removed",
    ),
    dependency(
        "no install script",
        _without("scripts", "postinstall"),
        "package.json: script `generate` removed",
        "package.json: script `postinstall` removed",
        "patches/react+19.0.0.patch: input of the install removed",
        "prisma/schema.prisma: input of the install removed",
        "scripts/after.js: input of the install removed",
        "scripts/generate.js: input of the install removed",
    ),
    dependency("preinstall", _script("preinstall", "true"), "package.json: script `preinstall` added"),
    dependency("preprepare", _script("preprepare", "true"), "package.json: script `preprepare` added"),
    dependency(
        "script of an install script",
        _script("generate", "node scripts/generate --all"),
        "package.json: script `generate` changed",
        projected=False,
    ),
    dependency(
        "named file",
        writes("scripts/after.js", "9;\n"),
        "scripts/after.js: input of the install changed",
        projected=False,
    ),
    dependency(
        "named file without its ending",
        writes("scripts/generate.js", "9;\n"),
        "scripts/generate.js: input of the install changed",
        projected=False,
    ),
    dependency(
        "named file gone",
        writes("scripts/after.js", None),
        "scripts/after.js: input of the install removed",
        projected=False,
    ),
    dependency(
        "patch",
        writes("patches/b.patch", "+"),
        "patches/b.patch: input of the install added",
        projected=False,
    ),
    dependency(
        "schema",
        writes("prisma/schema.prisma", "model B {}"),
        "prisma/schema.prisma: input of the install changed",
        projected=False,
    ),
    dependency("settings", writes(".npmrc", "fund=true\n"), ".npmrc: settings changed"),
    dependency("settings gone", writes(".npmrc", None), ".npmrc: settings removed"),
    dependency(
        "locked version",
        _locked("node_modules/react", version="19.0.1"),
        "package-lock.json: locked package `react` changed",
    ),
    dependency(
        "locked below another",
        _locked("node_modules/vite/node_modules/@s/semver", version="7.7.1"),
        "package-lock.json: locked package `@s/semver` in `vite` changed",
    ),
    dependency(
        "locked copy",
        _locked("", dependencies={"react": "^19.0.0", "zod": "^4.0.0"}),
        "package-lock.json: copy of package.json changed",
    ),
    dependency(
        "format of the lockfile", _lock(lockfileVersion=2), "package-lock.json: `lockfileVersion` changed"
    ),
    source(
        "version",
        both(_manifest(version="2.0.0"), _lock(version="2.0.0"), _locked("", version="2.0.0")),
        "package-lock.json: `version` changed",
        "package-lock.json: `version` in the copy of package.json changed",
        "package.json: `version` changed",
    ),
    source(
        "name",
        both(_manifest(name="x"), _lock(name="x"), _locked("", name="x")),
        "package-lock.json: `name` changed",
        "package-lock.json: `name` in the copy of package.json changed",
        "package.json: `name` changed",
    ),
    source(
        "license",
        both(_manifest(license="0BSD"), _locked("", license="0BSD")),
        "package-lock.json: `license` in the copy of package.json changed",
        "package.json: `license` changed",
    ),
    source("description", _manifest(description="x"), "package.json: `description` changed"),
    source("keywords", _manifest(keywords=["y"]), "package.json: `keywords` added"),
    source(
        "browserslist", _manifest(browserslist=["last 2 versions"]), "package.json: `browserslist` changed"
    ),
    source("eslint", _manifest(eslintConfig={"root": True}), "package.json: `eslintConfig` added"),
    source("type", _manifest(type="module"), "package.json: `type` added"),
    source("remark", _manifest(**{"//": "x"}), "package.json: `//` added"),
    source("script", _script("build", "tsc && vite build"), "package.json: script `build` changed"),
    source("script added", _script("lint", "eslint ."), "package.json: script `lint` added"),
    source("script removed", _without("scripts", "build"), "package.json: script `build` removed"),
    source("empty install script", _script("install", ""), "package.json: script `install` added"),
    source("version file", writes(".nvmrc", "24\n"), ".nvmrc: file changed"),
    source("other version file", writes(".node-version", "24\n"), ".node-version: file added"),
    source(
        "indentation",
        lambda files: files.update({"package.json": json.dumps(json.loads(files["package.json"]), indent=4)}),
        "package.json: formatting changed",
    ),
    source(
        "lockfile's indentation",
        lambda files: files.update({"package-lock.json": json.dumps(json.loads(files["package-lock.json"]))}),
        "package-lock.json: formatting changed",
    ),
    source("order", _reordered, "package.json: formatting changed", projected=True),
    source("line ends", replaces("package.json", "\n", "\r\n"), "package.json: formatting changed"),
    nothing("byte order mark", replaces("package.json", '{\n  "name"', '\ufeff{\n  "name"')),
    nothing("source", writes("src/main.js", "9;\n")),
    nothing("file that a named file reads", writes("scripts/more.js", "9;\n")),
    nothing("nested package", writes("examples/old/package.json", "{}")),
    nothing("nested lockfile", writes("examples/old/package-lock.json", "{}")),
    nothing("installed package", writes("node_modules/react/package.json", "{")),
    nothing("repeated key", replaces("package.json", '"license"', '"license": "x",\n  "license"')),
    doubt(
        "truncated",
        replaces("package.json", '"license"', '"license": "MIT'),
        "package.json:5: no JSON: expecting ',' delimiter",
    ),
    doubt(
        "truncated lockfile",
        lambda files: files.update({"package-lock.json": str(files["package-lock.json"])[:60]}),
        "package-lock.json:4: no JSON: expecting ':' delimiter",
    ),
    doubt(
        "merge conflict",
        replaces("package-lock.json", '  "requires"', '<<<<<<< HEAD\n=======\n>>>>>>> x\n  "requires"'),
        "package-lock.json:5: a merge conflict",
    ),
    doubt("not UTF-8", writes("package.json", b'{\n"a": "\xff"}'), "package.json:2: not UTF-8"),
    doubt("no object at all", writes("package.json", "[]"), "package.json:1: not an object"),
    doubt("no manifest", writes("package.json", None), "package.json: is not there"),
    doubt("no number", writes("package.json", '{"a": NaN}'), "package.json: no JSON: NaN is no value"),
    doubt("deep", writes("package-lock.json", "[" * 100_000), "package-lock.json: nested too deeply"),
)


def watched(files: Mapping[str, str | bytes]) -> tuple[Tree, list[str]]:
    """A tree of these files, and the paths that are read of it from now on."""
    tree, seen = tree_of(files), list[str]()

    def read(path: str) -> bytes | None:
        seen.append(path)
        return tree.read(path)

    return Tree(tree.names, read), seen
