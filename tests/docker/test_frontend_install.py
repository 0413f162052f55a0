"""The front end's install in a kept tree: whatever happened before, it equals a clean `npm ci`.

The stages are those of frontend/Dockerfile.fast; beside them stands a stage with a plain `npm ci`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.builds.dockerfile import parse
from tests.support.engine import ROOT, Ran, command, docker

pytestmark = pytest.mark.docker

FAST = ROOT / "frontend/Dockerfile.fast"
Lock = dict[str, dict[str, Any]]

#: Small packages of the public registry, by name and version: what a lockfile tells of them.
KNOWN: Lock = json.loads((Path(__file__).parent / "data/small-packages.json").read_text())

#: Stands before npm in PATH: the real one, and then what the test wants.
SHIM = """\
#!/bin/sh
PATH=${PATH#/usr/local/sbin:} npm "$@" || exit
. /behaviour
"""
LISTING = r"""
cd "$1" || exit
find . -mindepth 1 -type d -empty -prune -o -mindepth 1 -printf '%P %y %m %l\n' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
"""
BESIDE = f"""
FROM base AS clean
@shim@
COPY --from=planner /plan/ ./
RUN --mount=type=cache,id=kiro-npm,target=/root/.npm,sharing=locked \\
    npm ci --prefer-offline --no-audit --no-fund
FROM base AS listed
COPY <<'LISTING' /listing.sh
{LISTING}
LISTING
RUN --mount=type=bind,from=install,source=/app/node_modules,target=/installed \\
    --mount=type=bind,from=clean,source=/app/node_modules,target=/clean \\
    mkdir /lists && sh /listing.sh /installed >/lists/installed && sh /listing.sh /clean >/lists/clean
FROM scratch AS lists
COPY --from=listed /lists/ /
"""


@dataclass(frozen=True)
class Installed:
    """What an install made, what a clean one makes of the same project, and what the installer said."""

    tree: str
    clean: str
    said: tuple[str, ...]


@dataclass
class Project:
    """A small project that is built again and again, with mounts of its own."""

    folder: Path
    namespace: str
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def write(self, packages: Mapping[str, str]) -> None:
        """Lock packages, by their place below node_modules -> name@version; those at the top are asked for."""
        locked: Lock = {}
        wanted: dict[str, str] = {}
        for place, package in packages.items():
            name, _, version = package.rpartition("@")
            locked[f"node_modules/{place}"] = {"version": version, **KNOWN[package]}
            if place == name and not KNOWN[package].get("optional"):
                wanted[name] = version
        optional = {n: p["version"] for n, p in ((k[13:], v) for k, v in locked.items()) if p.get("os") == ["darwin"]}
        ranges = {"dependencies": wanted, "optionalDependencies": optional}
        lock = {
            "name": "small", "version": "1.0.0", "lockfileVersion": 3, "requires": True,
            "packages": {"": {"name": "small", "version": "1.0.0", **ranges}, **dict(sorted(locked.items()))},
        }  # fmt: skip
        self.folder.mkdir(exist_ok=True)
        (self.folder / "package.json").write_text(
            json.dumps({"name": "small", "version": "1.0.0", **ranges})
        )
        (self.folder / "package-lock.json").write_text(json.dumps(lock, indent=2) + "\n")

    def install(self, packages: Mapping[str, str], **options: str) -> Installed:
        """Write the project and install it; the install's step runs, whatever is cached."""
        self.write(packages)
        out = self.folder.parent / f"lists-{next(self.numbers)}"
        ran = self.build("lists", f"--output=type=local,dest={out}", **options)
        assert ran.code == 0, ran.err[-3000:]
        said = tuple(re.findall(r"^#\d+ [\d.]+ kiro: (.*)$", ran.err, re.MULTILINE))
        return Installed((out / "installed").read_text(), (out / "clean").read_text(), said)

    def build(self, target: str, *arguments: str, behaviour: str = "", image: str = "", flavour: str = "") -> Ran:
        return command(*self.argv(target, image, flavour), *arguments, stdin=self.dockerfile(behaviour), timeout=300)

    def argv(self, target: str, image: str = "", flavour: str = "") -> list[str]:
        options = [f"BUILDKIT_CACHE_MOUNT_NS={self.namespace}", f"FLAVOUR={flavour}"]
        options += [f"NODE_IMAGE={image}"] if image else []
        given = [word for option in options for word in ("--build-arg", option)]
        words = ["docker", "buildx", "build", "--progress=plain", f"--target={target}", "-f", "-", *given]
        return [*words, str(self.folder)]

    def dockerfile(self, behaviour: str = "", more: str = "") -> str:
        """The shipped file up to its install, whose step each call makes a new one."""
        lines = FAST.read_text().splitlines()
        stage = parse("\n".join(lines)).stage("install")
        assert stage is not None
        step = stage.instructions[-1]
        assert step.keyword == "RUN"
        shim = f"COPY --chmod=755 <<'SHIM' /usr/local/sbin/npm\n{SHIM}SHIM\n"
        shim += f"COPY <<'BEHAVIOUR' /behaviour\n{behaviour}\nBEHAVIOUR\nARG FLAVOUR"
        new = f"COPY <<NUMBER /number\n{self.namespace} {next(self.numbers)}\nNUMBER"
        own = [*lines[: step.line - 1], shim, new, *lines[step.line - 1 : step.last_line]]
        return "\n".join([*own, BESIDE.replace("@shim@", shim), more])

    def meddle(self, script: str) -> None:
        """Run a shell script in the kept tree, behind the installer's back."""
        (mount,) = re.findall(r"--mount=\S+,target=/modules,\S+", FAST.read_text())
        more = f"FROM base AS meddled\nRUN {mount} <<'SCRIPT'\nset -eu\ncd /modules/node_modules\n: {next(self.numbers)}"
        text = self.dockerfile(more=f"{more}\n{script}\nSCRIPT\n")
        ran = command(*self.argv("meddled"), stdin=text)
        assert ran.code == 0, ran.err[-2000:]


@pytest.fixture(scope="module")
def project(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    namespace = f"kiro-test-{os.getpid()}"
    yield Project(tmp_path_factory.mktemp("install") / "small", namespace)
    used = docker("buildx", "du", "--verbose")
    records = [re.search(r"^ID:\s+(\S+)", r, re.MULTILINE) for r in used.split("\n\n") if f'"{namespace}/' in r]
    if ids := "|".join(match[1] for match in records if match):
        docker("buildx", "prune", "--force", "--filter", f"id=^({ids})$")


TWO = {"ms": "ms@2.0.0", "semver": "semver@7.6.3"}


def kept(project: Project) -> None:
    """Leave TWO in the mount, whatever was there."""
    installed = project.install(TWO)
    assert installed.tree == installed.clean


def test_edits_cost_no_clean_install_and_come_to_the_same(project: Project) -> None:
    kept(project)
    nested = {"ms": "ms@2.0.0", "debug": "debug@4.3.6", "debug/node_modules/ms": "ms@2.1.2"}
    edits: dict[str, dict[str, str]] = {
        "added, with programs": {**TWO, "mkdirp": "mkdirp@3.0.1", "@types/ms": "@types/ms@2.1.0"},
        "removed": TWO,
        "added back": {**TWO, "mkdirp": "mkdirp@3.0.1", "@types/ms": "@types/ms@2.1.0"},
        "one in another, a program removed": nested,
        "both other versions": {**nested, "debug": "debug@4.3.7", "debug/node_modules/ms": "ms@2.1.3"},
        "hoisted": {"ms": "ms@2.1.3", "debug": "debug@4.3.7"},
        "a package of other systems": {"ms": "ms@2.1.3", "fsevents": "fsevents@2.3.3"},
        "nothing new": {"ms": "ms@2.1.3", "fsevents": "fsevents@2.3.3"},
    }
    for edit, packages in edits.items():
        installed = project.install(packages)
        assert installed.tree == installed.clean, edit
        assert installed.said == (), edit
    assert "fsevents" not in installed.tree
    assert "ms/package.json" in installed.tree
