"""The front end's install in a kept tree: whatever happened before, it equals a clean `npm ci`."""

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
TEMPLATES = ROOT / "kiro_invoke/templates"
NODE_IMAGE = parse(FAST.read_text()).arguments["NODE_IMAGE"] or ""
Packages = Mapping[str, str]

#: Small packages of the public registry, by name and version: what a lockfile tells of them.
KNOWN: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data/small-packages.json").read_text()
)

#: Stands before npm in PATH: the real one, and then what the test wants.
SHIM = """\
#!/bin/sh
PATH=${PATH#/usr/local/sbin:} npm "$@" || exit
. /test/behaviour
"""
LISTING = r"""
cd "$1" || exit
find . -mindepth 1 -type d -empty -prune -o -mindepth 1 -printf '%P %y %m %U:%G %l\n' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
"""


def write(folder: Path, packages: Packages) -> None:
    """A project with these packages: place below node_modules -> name@version. Those at the top are asked for."""
    locked = {
        f"node_modules/{place}": {"version": package.rpartition("@")[2], **KNOWN[package]}
        for place, package in sorted(packages.items())
    }
    ranges: dict[str, dict[str, str]] = {"dependencies": {}, "optionalDependencies": {}}
    for place, package in packages.items():
        name, _, version = package.rpartition("@")
        if place == name:
            ranges["optionalDependencies" if KNOWN[package].get("optional") else "dependencies"][name] = (
                version
            )
    root = {"name": "small", "version": "1.0.0", **ranges}
    lock = {"name": "small", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": root, **locked}}
    (folder / "package.json").write_text(json.dumps(root))
    (folder / "package-lock.json").write_text(json.dumps(lock))


@dataclass(frozen=True)
class Installed:
    """The tree that an install made, as a listing, and what the installer said."""

    tree: str
    said: tuple[str, ...]


class Bench:
    """The image's Node and npm, with the shipped scripts and a folder in place of the mount."""

    def __init__(self, folder: Path, name: str) -> None:
        self.project = folder / "project"
        self.test = folder / "test"
        self.name = name
        self._cleans: dict[tuple[str, ...], str] = {}
        for each in (self.project, self.test):
            each.mkdir()
        (self.test / "listing").write_text(LISTING)
        (self.test / "npm").write_text(SHIM)
        (self.test / "npm").chmod(0o755)
        self.behave("")
        places = {self.project: "/project", self.test: "/test", TEMPLATES: "/templates"}
        mounts = [f"--volume={path}:{place}:ro" for path, place in places.items()]
        mounts.append(f"--volume={self.test}/npm:/usr/local/sbin/npm:ro")
        docker("run", "--detach", "--init", "--name", name, *mounts, NODE_IMAGE, "sleep", "3600")

    def behave(self, script: str) -> None:
        """What npm does after its work, in a clean install too."""
        (self.test / "behaviour").write_text(script)

    def run(self, script: str, flavour: str = "") -> Ran:
        argv = ("docker", "exec", "--interactive", f"--env=FLAVOUR={flavour}", self.name, "sh", "-eu")
        return command(*argv, stdin=script)

    def try_install(self, flavour: str = "") -> Ran:
        """Install what /project holds, as the two steps of Dockerfile.fast do."""
        return self.run(
            "rm -rf /plan /app; mkdir -p /app /kept; cd /project\n"
            "node /templates/project-manifest.mjs /plan\n"
            "node /templates/install-modules.mjs /plan /kept /app\n",
            flavour,
        )

    def install(self, packages: Packages, flavour: str = "") -> Installed:
        """Install these packages; what comes of it equals a clean install."""
        write(self.project, packages)
        ran = self.try_install(flavour)
        assert ran.code == 0, ran.err
        tree = self.run("sh /test/listing /app/node_modules").out
        assert tree == self.clean(flavour)
        return Installed(tree, tuple(re.findall(r"^kiro: (.*)$", ran.out, re.MULTILINE)))

    def clean(self, flavour: str = "") -> str:
        """The tree of `npm ci` in a fresh folder.

        npm notes the project's name and version in the tree: they are the projection's here too.
        """
        files = [path.read_text() for path in sorted([*self.project.iterdir(), self.test / "behaviour"])]
        if (key := (flavour, *files)) in self._cleans:
            return self._cleans[key]
        ran = self.run(
            "rm -rf /clean; cd /project; node /templates/project-manifest.mjs /clean; cd /clean\n"
            "npm ci --prefer-offline --no-audit --no-fund >/dev/null\n"
            "sh /test/listing /clean/node_modules",
            flavour,
        )
        assert ran.code == 0, ran.err
        self._cleans[key] = ran.out
        return ran.out


@pytest.fixture(scope="module")
def bench(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    name = f"kiro-test-{os.getpid()}-npm"
    try:
        yield Bench(tmp_path_factory.mktemp("bench"), name)
    finally:
        docker("rm", "--force", "--volumes", name)


TWO = {"ms": "ms@2.0.0", "semver": "semver@7.6.3"}
CLEAN = "clean install: nothing is kept of a run that came to its end"


@pytest.fixture
def kept(bench: Bench) -> Bench:
    """The bench with TWO in the kept tree, whatever was there before."""
    bench.behave("")
    (bench.project / ".npmrc").unlink(missing_ok=True)
    bench.install(TWO)
    return bench


@pytest.mark.long
def test_edits_cost_no_clean_install_and_come_to_the_same(bench: Bench) -> None:
    nested = {"ms": "ms@2.0.0", "debug": "debug@4.3.6", "debug/node_modules/ms": "ms@2.1.2"}
    edits: dict[str, dict[str, str]] = {
        "added, with a program and a scope": {**TWO, "mkdirp": "mkdirp@3.0.1", "@types/ms": "@types/ms@2.1.0"},
        "removed": TWO,
        "added back": {**TWO, "mkdirp": "mkdirp@3.0.1", "@types/ms": "@types/ms@2.1.0"},
        "one inside another, programs removed": nested,
        "both in other versions": {**nested, "debug": "debug@4.3.7", "debug/node_modules/ms": "ms@2.1.3"},
        "hoisted, beside one of another system": {
            "ms": "ms@2.1.3", "debug": "debug@4.3.7", "fsevents": "fsevents@2.3.3"
        },
    }  # fmt: skip
    assert bench.install(TWO).said == (CLEAN,)
    for edit, packages in edits.items():
        installed = bench.install(packages)
        assert installed.said == (), edit
    assert "ms/package.json" in installed.tree
    assert "fsevents" not in installed.tree


def test_a_lockfile_that_does_not_fit_package_json_fails_as_npm_ci_does(kept: Bench) -> None:
    manifest = kept.project / "package.json"
    manifest.write_text(manifest.read_text().replace('"2.0.0"', '"2.1.3"'))
    ran = kept.try_install()
    assert ran.code == 1
    assert "Invalid: lock file's ms@2.0.0 does not satisfy ms@2.1.3" in ran.err


def test_another_environment_may_mean_other_files(kept: Bench) -> None:
    kept.behave('echo "$FLAVOUR" >node_modules/ms/flavour')
    sweet, sour = (kept.install(TWO, flavour) for flavour in ("sweet", "sour"))
    assert sweet.tree != sour.tree
    assert sour.said == ("clean install: Node, npm, the environment or a setting changed",)


def test_two_packages_with_one_program_are_linked_as_in_a_clean_install(kept: Bench) -> None:
    kept.install({"uuid": "uuid@8.3.2"})
    installed = kept.install({"uuid": "uuid@8.3.2", "node-uuid": "node-uuid@1.4.8"})
    assert "clean install: two packages in node_modules have a program uuid" in installed.said
    kept.install({"uuid": "uuid@8.3.2"})


def test_install_scripts_run_as_in_a_clean_install(kept: Bench) -> None:
    """esbuild's replaces its program by one for this machine."""
    installed = kept.install({"esbuild": "esbuild@0.25.0", "@esbuild/linux-x64": "@esbuild/linux-x64@0.25.0"})
    assert "node_modules/esbuild runs scripts when it is installed" in installed.said[-1]


def test_npms_settings_are_followed(kept: Bench) -> None:
    (kept.project / ".npmrc").write_text("bin-links=false\n")
    assert ".bin" not in kept.install(TWO).tree
    (kept.project / ".npmrc").unlink()
    assert ".bin" in kept.install(TWO).tree


# --- in BuildKit's cache mount

#: What the test wants comes by a mount: below a step with a secret, a COPY makes some engines read the whole image.
INPUTS = "--mount=type=bind,from=inputs,source=/kiro/test,target=/test"
LISTED = f"""
FROM base AS listed
COPY <<'LISTING' /listing.sh
{LISTING}
LISTING
RUN --mount=type=bind,from=install,source=/app/node_modules,target=/installed \\
    mkdir -p /kiro/list && sh /listing.sh /installed >/kiro/list/installed
FROM scratch AS list
COPY --from=listed /kiro/list/ /
"""


@dataclass
class Project:
    """A small project that is built with the shipped stages again and again, with mounts of its own."""

    folder: Path
    namespace: str
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def install(self, packages: Packages, image: str = NODE_IMAGE) -> Installed:
        write(self.folder, packages)
        out = self.folder.parent / f"list-{next(self.numbers)}"
        argv = [*self.argv("list", image), f"--output=type=local,dest={out}"]
        ran = command(*argv, stdin=self.dockerfile(), timeout=300)
        assert ran.code == 0, ran.err[-3000:]
        said = tuple(re.findall(r"^#\d+ [\d.]+ kiro: (.*)$", ran.err, re.MULTILINE))
        return Installed((out / "installed").read_text(), said)

    def argv(self, target: str, image: str = NODE_IMAGE) -> list[str]:
        given = (f"--build-arg=BUILDKIT_CACHE_MOUNT_NS={self.namespace}", f"--build-arg=NODE_IMAGE={image}")
        words = ("docker", "buildx", "build", "--progress=plain", f"--target={target}", "-f", "-")
        return [*words, *given, str(self.folder)]

    def dockerfile(self, behaviour: str = "", more: str = "") -> str:
        """The shipped file up to its install, whose step is a new one in each text."""
        lines = FAST.read_text().splitlines()
        stage = parse("\n".join(lines)).stage("install")
        assert stage is not None
        step = stage.instructions[-1]
        assert step.keyword == "RUN"
        shim = f"COPY --chmod=755 <<'SHIM' /usr/local/sbin/npm\n{SHIM}SHIM"
        lines[step.line - 1] = lines[step.line - 1].replace("RUN ", f"{shim}\nRUN {INPUTS} ", 1)
        inputs = f"FROM base AS inputs\nCOPY <<'BEHAVIOUR' /kiro/test/behaviour\n{behaviour}\nBEHAVIOUR\n"
        inputs += f"COPY <<NUMBER /kiro/test/number\n{self.namespace} {next(self.numbers)}\nNUMBER\n"
        lines.insert(stage.line - 1, inputs)
        return "\n".join([*lines[: step.last_line + 1], LISTED, more])

    def meddle(self, script: str) -> None:
        """Run a shell script in the kept tree, behind the installer's back."""
        (mount,) = re.findall(r"--mount=\S+,target=/modules,\S+", FAST.read_text())
        new = f"set -eu # {self.namespace} {next(self.numbers)}\ncd /modules/node_modules"
        more = f"FROM base AS meddled\nRUN {mount} <<'SCRIPT'\n{new}\n{script}\nSCRIPT\n"
        ran = command(*self.argv("meddled"), stdin=self.dockerfile(more=more))
        assert ran.code == 0, ran.err[-2000:]


@pytest.fixture(scope="module")
def project(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    namespace = f"kiro-test-{os.getpid()}-{os.urandom(4).hex()}"  # steps of an earlier run would be cached
    yield Project(tmp_path_factory.mktemp("project"), namespace)
    records = docker("buildx", "du", "--verbose").split("\n\n")
    found = [re.search(r"^ID:\s+(\S+)", one, re.MULTILINE) for one in records if f'"{namespace}/' in one]
    if ids := "|".join(match[1] for match in found if match):
        docker("buildx", "prune", "--force", "--filter", f"id=^({ids})$")


@pytest.mark.long
def test_a_killed_build_is_made_good_by_the_next(project: Project, bench: Bench) -> None:
    project.install(TWO)
    packages = {**TWO, "mkdirp": "mkdirp@3.0.1"}
    write(project.folder, packages)
    text = project.dockerfile("rm -r node_modules/semver/functions; echo half done; sleep 300")
    build = subprocess.Popen(
        project.argv("install"), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert build.stdin is not None
    assert build.stderr is not None
    with build, build.stdin as sent:
        sent.write(text)
        sent.close()
        assert any(re.match(r"#\d+ [\d.]+ half done", line) for line in build.stderr)
        build.kill()
    installed = project.install(packages)
    assert installed.said == (CLEAN,)
    assert installed.tree == clean(bench, packages)


def clean(bench: Bench, packages: Packages) -> str:
    bench.behave("")
    write(bench.project, packages)
    return bench.clean()


@pytest.mark.long
def test_a_mount_that_somebody_touched_is_not_used(project: Project, bench: Bench) -> None:
    """Not even when the file has its old size and date."""
    project.install(TWO)
    project.meddle("cd ms; cp -p index.js was; sed -i s/1000/1001/ index.js; touch -r was index.js; rm was")
    packages = {**TWO, "mkdirp": "mkdirp@3.0.1"}
    installed = project.install(packages)
    assert installed.tree == clean(bench, packages)
    assert installed.said == ("clean install: the kept tree changed since",)
    assert project.install(TWO).said == ()


def test_a_lockfile_that_changes_during_the_install_fails_the_build(project: Project) -> None:
    write(project.folder, {"ms": "ms@2.1.2"})
    ran = command(*project.argv("install"), stdin=project.dockerfile("echo >>package-lock.json"))
    assert ran.code != 0
    assert "kiro: package-lock.json changed during the install" in ran.err


@pytest.mark.long
def test_another_base_image_starts_with_an_empty_mount(project: Project, bench: Bench) -> None:
    """Even where Node and npm say the same of themselves: what else is in the image may matter."""
    project.install(TWO)
    image = f"{project.namespace}-node"
    docker("build", "--quiet", "--tag", image, "-", stdin=f"FROM {NODE_IMAGE}\nRUN touch /other\n")
    try:
        installed = project.install(TWO, image)
    finally:
        docker("rmi", image)
    assert installed.said == (CLEAN,)
    assert installed.tree == clean(bench, TWO)
