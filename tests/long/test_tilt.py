"""The extension with the real Tilt, where one is on the PATH: what it builds, what it updates live, and how often."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kiro_invoke.scaffold.files import files
from kiro_invoke.scaffold.repository import Repository
from tests.support.engine import ROOT, command, docker, free_port

PROGRAM = shutil.which("tilt")
pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.skipif(PROGRAM is None, reason="no tilt on the PATH (https://docs.tilt.dev/install.html)"),
]

PROJECT = f"kiro-test-tilt-{os.getpid()}"
IMAGE = f"{PROJECT}/app"
#: As `kiro up` wants it. Tilt by itself tags what it builds `latest`, and starts what has the tag `dev`.
COMPOSE = f"name: {PROJECT}\nservices:\n  app:\n    image: {IMAGE}:dev\n    network_mode: none\n"
CONFIG = (
    f"project: {PROJECT}\nservices:\n  - name: app\n    dependency_inputs: [packages.txt]\n"
    "    ignore: ['*.md']\n    live: {run: 'cp greeting.txt served.txt', restart: none}\n"
)
DOCKERFILE = (
    "FROM debian:13-slim\nWORKDIR /app\nCOPY packages.txt ./\nRUN cp packages.txt /installed\nCOPY . .\n"
    'RUN cp greeting.txt served.txt\nSTOPSIGNAL SIGKILL\nCMD ["sleep", "3600"]\n'
)
TILTFILE = (
    "load('./the extension/Tiltfile', 'kiro_resources', 'kiro_services')\n"
    f"docker_compose('compose.yaml', project_name='{PROJECT}')\n"
    "kiro_services()\nkiro_resources()\n"
)


#: Without the page, which a Tilt that was built from source may lack.
QUIET = {"TILT_DISABLE_ANALYTICS": "1", "TILT_WEB_MODE": "prod"}


@dataclass
class Loop:
    """A repository in which Tilt runs, or has run."""

    root: Path
    port: int
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    seen: set[str] = field(default_factory=set)

    def tilt(self, *words: str) -> str:
        """Ask Tilt, or have it do something once."""
        assert PROGRAM is not None
        ran = command(PROGRAM, *words, "--port", str(self.port), cwd=self.root, env=self.env)
        assert ran.code == 0, f"tilt {words}\n{ran.out[-3000:]}\n{ran.err[-3000:]}"
        return ran.out

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def up(self) -> None:
        assert PROGRAM is not None
        words = [PROGRAM, "up", "--stream", "--port", str(self.port)]
        with (self.root.parent / "log").open("wb") as log:
            self.process = subprocess.Popen(
                words, cwd=self.root, env={**os.environ, **self.env}, stdout=log, stderr=log
            )
        self.until(lambda: self.served() == "hello" and self.look() == 1, 120)

    def down(self) -> None:
        """End Tilt; what it started goes on."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
        self.process = None
        self.seen.clear()

    @property
    def log(self) -> str:
        return (self.root.parent / "log").read_text(errors="replace")

    def look(self) -> int:
        """How many updates of the service there have been, live ones and images. Tilt tells of the last two."""
        found = json.loads(self.tilt("get", "uiresource", "app", "-o", "json"))
        self.seen |= {one["startTime"] for one in found["status"].get("buildHistory") or ()}
        return len(self.seen)

    def held(self, name: str) -> str:
        ran = command("docker", "compose", "exec", "-T", "app", "cat", name, cwd=self.root)
        return ran.out.strip() if ran.code == 0 else ""

    def served(self) -> str:
        return self.held("/app/served.txt")

    def container(self) -> str:
        return docker("compose", "ps", "--quiet", "app", cwd=self.root).strip()

    def until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, self.log[-4000:]
            time.sleep(0.2)

    def updates(self, holds: Callable[[], bool]) -> int:
        """How many updates it took until something held, and nothing was under way."""
        before = len(self.seen)

        def looked() -> bool:
            self.look()
            return holds()

        self.until(looked)
        time.sleep(2)  # for one that should not be
        return self.look() - before


@pytest.fixture(scope="module")
def loop(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    root = tmp_path_factory.mktemp("tilt") / "their repository"
    root.mkdir()
    kiro = root.parent / "kiro"
    env = {**QUIET, "KIRO": str(kiro), "TILT_DEV_DIR": str(root.parent / "tilt-dev")}
    one = Loop(root, free_port(), env)
    program(kiro)
    one.write("the extension/Tiltfile", (ROOT / "kiro_invoke/Tiltfile").read_text())
    one.write("Tiltfile", TILTFILE)
    one.write("compose.yaml", COMPOSE)
    one.write("kiro.yaml", CONFIG)
    one.write("app/Dockerfile.fast", DOCKERFILE)
    one.write("app/.dockerignore", ".dockerignore\nDockerfile*\n")
    one.write("app/packages.txt", "one")
    one.write("app/greeting.txt", "hello")
    try:
        one.up()
        yield one
    finally:
        one.down()
        docker("compose", "down", "--timeout", "0", cwd=root)
        for image in set(docker("image", "ls", "--quiet", IMAGE).split()):
            docker("rmi", "--force", image)


def test_a_source_is_one_live_update(loop: Loop) -> None:
    container = loop.container()
    loop.write("app/greeting.txt", "live!")
    assert loop.updates(lambda: loop.served() == "live!") == 1
    assert loop.container() == container


def test_an_edit_that_keeps_size_and_time_is_served(loop: Loop) -> None:
    path = loop.root / "app/greeting.txt"
    before, text = path.stat(), path.read_text()
    path.write_text(text[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert loop.updates(lambda: loop.served() == text[::-1]) == 1


def test_what_was_put_back_while_there_was_no_tilt_is_served(loop: Loop) -> None:
    """The image is the one that the container has; what the container holds is not."""
    loop.write("app/greeting.txt", "put back later")
    loop.until(lambda: loop.served() == "put back later")
    loop.down()
    loop.write("app/greeting.txt", "hello")
    loop.up()


def test_what_dependencies_come_from_is_one_image(loop: Loop) -> None:
    container = loop.container()
    loop.write("app/packages.txt", "two")
    assert loop.updates(lambda: loop.held("/installed") == "two") == 1
    assert loop.container() != container


def test_a_switch_of_branches_is_one_update(loop: Loop) -> None:
    loop.write("app/packages.txt", "six")
    loop.write("app/greeting.txt", "other")
    for number in range(50):
        loop.write(f"app/more/{number}", "x")
    assert loop.updates(lambda: (loop.held("/installed"), loop.served()) == ("six", "other")) == 1
    assert loop.held("/app/more/49") == "x"


def test_an_image_has_an_edit_that_keeps_size_and_time(loop: Loop) -> None:
    """Tilt sends all of the context each time."""
    path = loop.root / "app/packages.txt"
    before = path.stat()
    path.write_text("ten")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert loop.updates(lambda: loop.held("/installed") == "ten") == 1


def test_what_is_ignored_updates_nothing(loop: Loop) -> None:
    loop.write("app/NOTES.md", "x")
    time.sleep(2)
    assert loop.updates(lambda: True) == 0


def test_a_new_dockerfile_is_one_image(loop: Loop) -> None:
    loop.write("app/Dockerfile.fast", DOCKERFILE.replace("/installed", "/installed-elsewhere"))
    assert loop.updates(lambda: loop.held("/installed-elsewhere") == "ten") == 1


def test_a_container_that_is_made_anew_gets_what_the_image_has_not(loop: Loop) -> None:
    loop.write("app/greeting.txt", "not in the image")
    loop.until(lambda: loop.served() == "not in the image")
    container = loop.container()
    docker("compose", "up", "--detach", "--force-recreate", "--timeout", "0", cwd=loop.root)
    assert loop.container() != container
    loop.until(lambda: loop.served() == "not in the image")


def test_a_configuration_that_cannot_be_used_is_told_and_the_loop_goes_on(loop: Loop) -> None:
    loop.write("kiro.yaml", CONFIG.replace("services", "servces"))
    loop.until(lambda: 'kiro.yaml:2: unknown key "servces"' in loop.log)
    loop.write("kiro.yaml", CONFIG)
    loop.write("app/greeting.txt", "again")
    loop.until(lambda: loop.served() == "again")


def test_the_buttons_are_there_and_wait(loop: Loop) -> None:
    found = json.loads(loop.tilt("get", "uiresource", "-o", "json"))
    names = {one["metadata"]["name"] for one in found["items"]}
    assert {"kiro-warm-cache", "kiro-clean-cache", "kiro-test-build-performance", "kiro-report"} <= names
    waiting = json.loads(loop.tilt("get", "uiresource", "kiro-report", "-o", "json"))
    assert not waiting["status"].get("buildHistory")


@pytest.mark.parametrize(
    ("built", "starts"),
    [(IMAGE + "-by-hand", "old"), (IMAGE + "-by-hand:dev", "new")],
)
def test_by_hand_the_name_must_be_that_of_the_compose_file(
    tmp_path: Path, engine: None, built: str, starts: str
) -> None:
    """Why the extension gives an image two names (docs/promises.md)."""
    image, project = f"{IMAGE}-by-hand", f"{PROJECT}-by-hand"
    one = Loop(tmp_path / "repository", free_port(), {**QUIET, "TILT_DEV_DIR": str(tmp_path / "dev")})
    one.write("app/Dockerfile", DOCKERFILE)
    one.write("app/packages.txt", "one")
    one.write("app/greeting.txt", "old")
    one.write("compose.yaml", COMPOSE.replace(f"{IMAGE}:", f"{image}:").replace(PROJECT, project, 1))
    docker("build", "--quiet", "--tag", f"{image}:dev", "app", cwd=one.root)
    one.write("app/greeting.txt", "new")
    one.write(
        "Tiltfile",
        f"docker_compose('compose.yaml', project_name='{project}')\ndocker_build('{built}', 'app')\n",
    )
    try:
        one.tilt("ci")
        assert one.served() == starts, "Tilt gives Compose what it builds: docs/promises.md says otherwise"
    finally:
        docker("compose", "down", "--timeout", "0", cwd=one.root)
        for each in set(docker("image", "ls", "--quiet", image).split()):
            docker("rmi", "--force", each)


#: How a Tiltfile gets the extension.
WAYS = {
    "path": "load('../Tiltfile', 'kiro_resources', 'kiro_services')\n",
    "extension": (
        f"v1alpha1.extension_repo(name='kiro', url='file://{ROOT}')\n"
        "v1alpha1.extension(name='kiro_invoke', repo_name='kiro', repo_path='kiro_invoke')\n"
        "load('ext://kiro_invoke', 'kiro_resources', 'kiro_services')\n"
    ),
    "package": (
        "kiro = load_dynamic(str(local('\"$KIRO\" tilt-path', quiet=True)).strip())\n"
        "kiro_resources, kiro_services = kiro['kiro_resources'], kiro['kiro_services']\n"
    ),
    "without kiro": "load('../Tiltfile', 'kiro_resources', 'kiro_services')\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_the_extensions_own_test_passes(tmp_path: Path, engine: None, way: str) -> None:
    """`tilt ci`, from a path with a space."""
    folder = tmp_path / "a folder"
    shutil.copytree(ROOT / "kiro_invoke/test", folder / "test", ignore=shutil.ignore_patterns(".kiro"))
    shutil.copy(ROOT / "kiro_invoke/Tiltfile", folder)
    own = (folder / "test/Tiltfile").read_text()
    assert WAYS["path"] in own
    (folder / "test/Tiltfile").write_text(own.replace(WAYS["path"], WAYS[way]))
    kiro = "/nowhere/kiro" if way == "without kiro" else str(program(folder / "kiro"))
    env = {**QUIET, "TILT_DEV_DIR": str(tmp_path / "dev"), "KIRO": kiro}
    assert PROGRAM is not None
    try:
        ran = command(PROGRAM, "ci", "--port", str(free_port()), cwd=folder / "test", env=env, timeout=300)
        assert ran.code == 0, ran.out[-3000:] + ran.err[-3000:]
        assert ("kiro is not installed here" in ran.out + ran.err) is (way == "without kiro")
    finally:
        command("docker", "compose", "down", "--timeout", "0", cwd=folder / "test")
        for image in set(docker("image", "ls", "--quiet", "kiro-extension-test/app").split()):
            docker("rmi", "--force", image)


@pytest.mark.parametrize("theirs", [False, True], ids=["a Tiltfile of init's", "lines in theirs"])
@pytest.mark.parametrize("is_there", [True, False], ids=["with kiro", "without kiro"])
def test_the_lines_of_init_are_understood(tmp_path: Path, is_there: bool, theirs: bool) -> None:
    """What they come to without kiro: Compose's own build, or an error if it could be an image from elsewhere."""
    one = Loop(tmp_path / "repository", free_port(), {})
    one.write("docker-compose.yml", f"services:\n  app:\n    image: {IMAGE}:dev\n    build: app\n")
    one.write("kiro.yaml", CONFIG)
    one.write("app/Dockerfile", DOCKERFILE)
    one.write("app/Dockerfile.fast", DOCKERFILE)
    one.write("app/packages.txt", "one")
    before = "docker_compose('docker-compose.yml')\n" if theirs else ""
    there = frozenset({"docker-compose.yml"} | ({"Tiltfile"} if theirs else set()))
    made = files(Repository("shop", there, lambda _path: before), (), PROJECT, ("tilt",))
    one.write("Tiltfile", before + next(each.text for each in made if each.path == "Tiltfile"))
    kiro = str(program(tmp_path / "kiro")) if is_there else "/nowhere/kiro"
    env = {**QUIET, "TILT_DEV_DIR": str(tmp_path / "dev"), "KIRO": kiro}
    assert PROGRAM is not None
    ran = command(PROGRAM, "alpha", "tiltfile-result", cwd=one.root, env=env)
    assert (ran.code == 0) is (is_there or not theirs), ran.err
    if ran.code:
        assert "kiro is not installed here (pip install kiro-invoke, or set KIRO)" in ran.err
        return
    (app,) = json.loads(ran.out)["Manifests"]
    (image,) = app["ImageTargets"]
    assert bool(image["LiveUpdateSpec"].get("syncs")) is is_there


def program(file: Path) -> Path:
    """A `kiro` that is this checkout's."""
    words = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m kiro_invoke.cli"
    file.write_text(f'#!/bin/sh\n{words} "$@"\n')
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("words", [(), ("--", "--k8s")], ids=["compose", "cluster"])
def test_this_repositorys_tiltfile_is_understood(tmp_path: Path, words: tuple[str, ...]) -> None:
    env = {**QUIET, "TILT_DEV_DIR": str(tmp_path / "dev"), "KIRO": str(program(tmp_path / "kiro"))}
    assert PROGRAM is not None
    ran = command(PROGRAM, "alpha", "tiltfile-result", *words, env=env)
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["Error"] is None
    names = [each["Name"] for each in result["Manifests"]]
    assert names[:2] == ["backend", "frontend"]
    images = {each["Name"]: each["ImageTargets"] for each in result["Manifests"]}
    assert all(len(images[name]) == 1 for name in ("backend", "frontend"))
