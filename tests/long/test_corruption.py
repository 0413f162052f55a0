"""Cache mounts that are really damaged: each is found out, cured, and what is built then runs and is of now.

Some damages are no harm: a helper in the Dockerfile starts afresh, or nothing reads what is torn. The tables say which.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.cache.namespaces import read_namespaces
from kiro_invoke.cache.remembered import LAYERS, read_made
from tests.docker.test_frontend_install import write as write_packages
from tests.docker.test_warm_cache import docker_engine
from tests.support.crates import Checkout, forget, manifest, mounts_of, records, small_workspace, sweep
from tests.support.engine import ROOT, Ran, command, docker, kiro

pytestmark = [pytest.mark.docker, pytest.mark.long]

PROJECT = f"kiro-torn-{os.getpid()}"
_numbers = count(1)


@dataclass
class Service:
    """One service of a repository, built by `kiro build`, and its mounts."""

    root: Path
    name: str
    program: tuple[str, ...]
    #: of the mounts that are damaged: folder -> the text of the `--mount` that has it
    mounts: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return read_namespaces(config.load(self.root, {})).of(self.name)

    @property
    def image(self) -> str:
        return f"{PROJECT}/{self.name}:dev"

    def plant(self, folder: str, script: str) -> None:
        """Run a shell script on a mount, behind the tool's back."""
        number = (
            f"echo {PROJECT} {next(_numbers)} >/planted"  # an empty layer would count as the base image's
        )
        text = (self.root / self.name / "Dockerfile.fast").read_text()
        text += f"FROM base AS planted\nRUN {self.mounts[folder]} set -eu; {script}; {number}\n"
        given = [
            f"--build-arg=BUILDKIT_CACHE_MOUNT_NS={self.namespace}",
            "--target=planted",
            "--output=type=cacheonly",
        ]
        ran = command("docker", "buildx", "build", *given, "-f", "-", str(self.root / self.name), stdin=text)
        assert ran.code == 0, ran.err[-2000:]

    def build(self) -> Ran:
        ran = kiro("build", "--service", self.name, cwd=self.root)
        assert ran.code == 0, ran.err[-4000:]
        return ran

    def run(self) -> str:
        return docker(
            "run", "--rm", "--network=none", f"--entrypoint={self.program[0]}", self.image, *self.program[1:]
        )

    def cured(self, said: str) -> str:
        """Builds what is damaged: in two attempts, of which is said why; what the program then prints."""
        before = self.namespace
        ran = self.build()
        (line,) = [line for line in ran.err.splitlines() if "building once more in a new namespace" in line]
        assert re.search(rf"{self.name}: the cache mount \S+ is {said}", line), line
        assert self.namespace != before
        left = [one for one in mounts_of(before, self.own) if f'"{before}/' in one.description]
        assert not left, "what was damaged is gone"
        assert "once more" not in self.build().err
        return self.run()

    def harmless(self) -> tuple[str, str]:
        """Builds what is damaged: in one attempt. What was said in it, and what the program prints."""
        before = self.namespace
        ran = self.build()
        assert "once more" not in ran.err
        assert self.namespace == before
        log = max((self.root / ".kiro/logs").iterdir(), key=lambda path: path.stat().st_mtime)
        return log.read_text(), self.run()

    #: how the ids of its mounts end that only it has
    own: str = ""


def mounts(text: str, *folders: str) -> dict[str, str]:
    return {
        folder: re.findall(rf"--mount=type=cache\S*,target={folder}(?=[,\s])\S*", text)[0]
        for folder in folders
    }


@pytest.fixture(scope="module")
def root(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("torn")
    (made / "kiro.yaml").write_text(f"project: {PROJECT}\nservices:\n  - name: app\n  - name: page\n")
    (made / "app").mkdir()
    (made / "page").mkdir()
    for name in ("app", "page"):
        (made / name / "Dockerfile.fast").write_text("FROM scratch\n")
        (made / name / ".dockerignore").write_text("Dockerfile*\n.dockerignore\n")
    project = config.load(made, {})
    namespace, made_file = project.checkout, project.state / LAYERS
    yield made
    found = docker("image", "ls", "--quiet", "--filter", f"label=dev.kiro.project={PROJECT}")
    if found:
        docker("rmi", "--force", *set(found.split()))
    sweep(namespace, cooked=True)
    # what mounts were dropped of stands on no mount any more
    engine_now = docker_engine()
    layers = read_made(made_file).read(engine_now.cache_records(), engine_now.facts.address).layers
    forget(one for one in records() if one.id in layers or PROJECT in one.description)


# --- cargo


@dataclass
class Crates(Service):
    checkout: Checkout = field(default_factory=lambda: Checkout(Path(), ""))

    def edit(self) -> str:
        """A new word in the program: what it must print from now on."""
        return self.checkout.reword("crates/kiro-backend/src/main.rs")

    def edit_dependencies(self) -> str:
        """The same, and the dependency layer is made anew."""
        more = f"[features]\nf{next(_numbers)} = []\n"
        self.checkout.write("crates/low/Cargo.toml", manifest("low", "0.0.1", more))
        return self.edit()


@pytest.fixture(scope="module")
def crates(root: Path) -> Crates:
    checkout = Checkout(root / "app", "")
    small_workspace(checkout, recipe=PROJECT)
    text = (ROOT / "backend/Dockerfile.fast").read_text()
    checkout.write("Dockerfile.fast", text, as_old=False)
    known = mounts(text, "/deps", "/mounted", "/kiro/registry")
    made = Crates(root, "app", ("/app/target/debug/kiro-backend",), known, "-target", checkout)
    made.build()
    return made


def words(printed: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in printed.splitlines())


HALF = 'f=$(ls {}); truncate -s $(( $(stat -c %s "$f") / 2 )) "$f"'
GARBAGE = 'for f in {}; do head -c 99 /dev/urandom >"$f"; done'


@pytest.mark.parametrize(
    ("folder", "script", "said"),
    [
        ("/deps", f"{HALF.format('/deps/debug/deps/libitoa*.rlib')}", r"damaged \(.*(ld terminated|invalid)"),
        (
            "/mounted",
            HALF.format("/mounted/debug/deps/liblow*.rlib"),
            r"damaged \(.*E0786|damaged \(failed to",
        ),
        (
            "/kiro/registry",
            f"cd /kiro/registry; rm -rf src/*/itoa*; {HALF.format('cache/*/itoa*.crate')}",
            r"damaged \(unexpected end of file: failed to unpack .*\)",
        ),
    ],
    ids=["library of a dependency", "library of the target", "half a crate"],
)
def test_a_damage_that_fails_the_build_is_cured(crates: Crates, folder: str, script: str, said: str) -> None:
    crates.plant(folder, script)
    word = crates.edit_dependencies() if folder != "/mounted" else crates.edit()
    assert words(crates.cured(said))["main"] == word


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (GARBAGE.format("/mounted/debug/.fingerprint/*/lib-* /mounted/debug/.fingerprint/*/bin-*"), ""),
        (GARBAGE.format("/mounted/debug/.fingerprint/*/dep-*"), ""),
        (GARBAGE.format("/mounted/.kiro/list"), ""),
        (HALF.format("/mounted/debug/deps/libitoa*.rlib"), "its dependencies are not the cooked ones"),
    ],
    ids=["fingerprints", "what was read", "kiro-fresh's list", "a library that was cooked"],
)
def test_a_damage_that_only_costs_time(crates: Crates, script: str, said: str) -> None:
    """Cargo compiles what it knows nothing of, and kiro-fresh what it has no list of."""
    crates.plant("/mounted", script)
    word = crates.edit()
    log, printed = crates.harmless()
    assert words(printed)["main"] == word
    assert said in log


def test_what_a_build_script_wrote_may_be_empty(crates: Crates) -> None:
    """An empty file that may be run is no torn program there: the target would start afresh each time."""
    crates.plant(
        "/mounted", "for f in /mounted/debug/build/side-*/out; do install -m 755 /dev/null $f/empty; done"
    )
    word = crates.edit()
    log, printed = crates.harmless()
    assert words(printed)["main"] == word
    assert "starting the target afresh" not in log


@pytest.mark.parametrize("size", [0, 4096])
def test_a_program_that_is_torn_is_not_shipped(crates: Crates, size: int) -> None:
    """Cargo counts it as built, and nothing concerns it: without kiro-fresh, it would be in the image as it is."""
    crates.plant("/mounted", f"truncate -s {size} /mounted/debug/kiro-backend")
    before = words(crates.run())["main"]
    crates.checkout.reword("crates/tools/src/bin/tool.rs")
    log, printed = crates.harmless()
    assert words(printed)["main"] == before
    assert "starting the target afresh: /mounted/debug/kiro-backend is torn" in log


@contextmanager
def read_only(service: Service, folder: str) -> Iterator[None]:
    """Have a mount where nothing can be written, as a damaged file system leaves it."""
    mark = f"mark-{PROJECT}-{next(_numbers)}"
    service.plant(folder, f"touch {folder}/{mark}")
    under = Path(docker("info", "--format", "{{.DockerRootDir}}").strip())
    (place,) = {found.parent for found in under.glob(f"overlay2/*/diff/{mark}")}
    for options in (("--bind", str(place), str(place)), ("-o", "remount,bind,ro", str(place))):
        done = command("mount", *options)
        assert done.code == 0, done.err
    try:
        yield
    finally:
        while command("umount", str(place)).code == 0:
            pass


def test_a_mount_that_cannot_be_written_is_given_up(crates: Crates) -> None:
    crates.plant("/kiro/registry", "rm -rf /kiro/registry/src/*/itoa*")
    with read_only(crates, "/kiro/registry"):
        word = crates.edit_dependencies()
        assert words(crates.cured("read-only"))["main"] == word


def test_where_the_second_attempt_fails_as_well_all_is_as_before(crates: Crates) -> None:
    """The first attempt fails for the mount, the second for the sources."""
    before = crates.namespace
    crates.plant("/mounted", HALF.format("/mounted/debug/deps/liblow*.rlib"))
    source = crates.root / "app/crates/kiro-backend/src/main.rs"
    text = source.read_text()
    source.write_text(text + "\nfn wrong() -> u8 { low::MISSING }\n")
    ran = kiro("build", "--service", "app", cwd=crates.root)
    assert ran.code == 4
    assert "once more" in ran.err
    assert "E0425" in ran.err
    assert crates.namespace == before
    assert not list(mounts_of(f"{before}-r"))
    source.write_text(text)
    word = crates.edit()
    crates.build()
    assert words(crates.run())["main"] == word


# --- npm


@dataclass
class Modules(Service):
    def edit(self, packages: dict[str, str], word: str) -> None:
        """Other packages, in an install that no earlier run has left in the engine's cache."""
        write_packages(self.root / "page", packages)
        file = self.root / "page/package.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "config": {"run": PROJECT}}))
        needed = " ".join(f'require("{name}");' for name in packages)
        (self.root / "page/main.js").write_text(f'{needed} console.log("{word}", require("ms")("1s"));\n')


@pytest.fixture(scope="module")
def page(root: Path) -> Modules:
    text = (ROOT / "frontend/Dockerfile.fast").read_text()
    text = text[: text.index("# `docker run` of this stage runs the tests.")]
    text += 'FROM install AS dev\nCOPY . .\nCMD ["node", "main.js"]\n'
    (root / "page/Dockerfile.fast").write_text(text)
    made = Modules(root, "page", ("node", "main.js"), mounts(text, "/root/.npm", "/modules"), "-modules")
    made.edit({"ms": "ms@2.1.2"}, "first")
    made.build()
    assert made.run() == "first 1000\n"
    return made


def test_a_package_cache_that_is_damaged_is_given_up(page: Modules) -> None:
    cache = "/root/.npm/_cacache/content-v2"
    page.plant("/root/.npm", f"rm -rf {cache}; echo torn >{cache}")
    page.edit({"ms": "ms@2.1.2", "mkdirp": "mkdirp@3.0.1"}, "second")
    assert page.cured(r"damaged \(.*ENOTDIR") == "second 1000\n"


@pytest.mark.parametrize(
    ("script", "more"),
    [('truncate -s 9 "$f"', "semver@7.6.3"), (': >"$f"', "uuid@8.3.2")],
    ids=["torn", "empty"],
)
def test_packages_that_are_torn_in_the_cache_are_fetched_again_or_given_up(
    page: Modules, script: str, more: str
) -> None:
    """npm asks for a package again whose archive is torn; what it knows of packages, it does not."""
    page.plant(
        "/root/.npm", f"find /root/.npm/_cacache/content-v2 -type f | while read -r f; do {script}; done"
    )
    page.plant("/modules", "rm -rf /modules/*")
    page.edit({"ms": "ms@2.1.2", more.partition("@")[0]: more}, more)
    page.build()
    assert page.run() == f"{more} 1000\n"


def test_a_kept_package_that_is_torn_is_installed_again(page: Modules) -> None:
    """The installer knows what it left in the mount."""
    page.plant("/modules", "truncate -s 9 /modules/node_modules/ms/index.js")
    page.edit({"ms": "ms@2.1.2", "mkdirp": "mkdirp@3.0.1", "semver": "semver@7.6.3"}, "fourth")
    log, printed = page.harmless()
    assert printed == "fourth 1000\n"
    assert "clean install: the kept tree changed since" in log
