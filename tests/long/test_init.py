"""`kiro init` in repositories of many shapes: built, run, edited, correct; and gone again, byte for byte."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kiro_invoke import config
from tests.support.engine import Ran, command, docker, free_port, kiro, wait_for
from tests.support.private_crates import private_crates
from tests.support.private_npm import private_npm
from tests.support.repository import git, write_texts
from tests.support.shapes import FRESH, SEALED, SHAPES, crate, program

pytestmark = [pytest.mark.docker, pytest.mark.long]


@dataclass(frozen=True)
class Case:
    """A shape, the port variables of what serves in it, and the file that says its word."""

    shape: str
    serves: tuple[str, ...]
    word: str
    old: str = '"one"'
    first: str = "one"
    #: of which service the production image is run too, and the port in it
    produced: str = ""
    port: int = 0


CASES = [
    Case("single", ("SINGLE",), "src/main.rs", produced="single", port=3000),
    Case("two binaries", ("FIRST", "SECOND"), "crates/words/src/lib.rs", produced="second", port=3002),
    Case("npm", ("FIRST",), "first/words.js"),
    Case("pnpm", ("FIRST",), "packages/words/words.js", produced="first", port=3000),
    Case("yarn berry", ("FIRST",), "first/words.js", produced="first", port=3000),
    Case("mixed", ("API",), "services/api/src/main.rs"),
    Case(
        "openssl",
        ("SEALED",),
        "sealed/src/main.rs",
        SEALED,
        "8",
        "sealed",
        3000,
    ),
    Case("Läden und mehr", ("EIN_DIENST_F_R",), "ein Dienst für ä/src/main.rs"),
]


@dataclass
class Repository:
    root: Path
    name: str
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def env(self) -> Mapping[str, str]:
        return {
            "COMPOSE_PROJECT_NAME": self.name,
            **{f"{name}_PORT": str(port) for name, port in self.ports.items()},
        }

    def kiro(self, *words: str) -> Ran:
        ran = kiro(*words, cwd=self.root, env=self.env)
        assert ran.code == 0, ran.out + ran.err[-4000:]
        return ran

    def answers(self) -> set[str]:
        return {wait_for(f"http://127.0.0.1:{port}/") for name, port in self.ports.items() if name != "WEB"}

    def files(self) -> dict[str, bytes]:
        """Everything but git's and the tool's own state."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and not {".git", ".kiro"} & set(path.relative_to(self.root).parts)
        }


@pytest.fixture
def repository(engine: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Repository]:
    case: Case = request.param
    root = tmp_path / f"{case.shape} {os.getpid()}"
    write_texts(root, SHAPES[case.shape])
    git("init", "-q", str(root))
    git("-C", str(root), "add", "--all")
    git("-C", str(root), "commit", "-qm", "as it was")
    found = Repository(root, f"kiro-init-{os.getpid()}")
    found.ports = {name: free_port() for name in case.serves}
    if case.shape == "mixed":
        found.ports["WEB"] = free_port()
    try:
        yield found
    finally:
        kiro("down", "--volumes", cwd=root, env=found.env)
        kiro("clean-cache", "--yes", cwd=root, env=found.env)
        shutil.rmtree(root)


@pytest.mark.parametrize(
    ("case", "repository"),
    [(case, case) for case in CASES],
    indirect=["repository"],
    ids=lambda one: one.shape,
)
def test_a_repository_is_built_run_edited_and_left_as_it_was(case: Case, repository: Repository) -> None:
    before = repository.files()
    ran = repository.kiro("init", "--format", "json")
    assert len(ran.json["services"]) == len(repository.ports)
    again = repository.kiro("init", "--format", "json")
    assert {file["deed"] for file in again.json["files"]} == {"keep"}

    repository.kiro("up")
    page = repository.ports.get("WEB", 0)
    assert all(answer.startswith(case.first) for answer in repository.answers())
    _edit(repository, case.word, case.old, '"two"')
    repository.kiro("watch", "--once")
    assert repository.answers() == {"two"}
    _edit(repository, case.word, '"two"', '"three"')
    repository.kiro("up")
    assert repository.answers() == {"three"}
    if page:
        assert "<title>page</title>" in wait_for(f"http://127.0.0.1:{page}/")
        assert wait_for(f"http://127.0.0.1:{page}/api/x") == "three"
    if case.produced:
        repository.kiro("build", "--prod", "--service", case.produced)
        assert _served(f"{_project(repository)}/{case.produced}:prod", case.port) == "three"

    repository.kiro("down")
    _edit(repository, case.word, '"three"', case.old)
    repository.kiro("uninstall")
    assert repository.files() == before
    assert git("-C", str(repository.root), "status", "--short") == ""
    repository.kiro("init")  # for what is cleaned at the end


def test_a_fresh_crate_and_a_fresh_page_work_without_an_edit(engine: None, tmp_path: Path) -> None:
    """In a folder that is no git repository, without cargo and npm on the machine. The program ends by itself, and that
    is what it is to do.
    """
    root = tmp_path / f"fresh {os.getpid()}"
    write_texts(root, FRESH)
    found = Repository(root, f"kiro-init-{os.getpid()}", {"WEB": free_port()})
    page = f"http://127.0.0.1:{found.ports['WEB']}"
    try:
        ran = kiro("init", cwd=root, env={**found.env, "PATH": _without_managers(tmp_path)})
        assert ran.code == 0, ran.out + ran.err
        assert ran.err.count("works on this machine") == 2
        assert {(root / path).stat().st_uid for path in ("api/Cargo.lock", "web/package-lock.json")} == {
            os.getuid()
        }
        for words in (["warm-cache"], ["watch", "--once"]):
            found.kiro(*words)
        assert "<title>page</title>" in wait_for(f"{page}/")
        _edit(found, "api/src/main.rs", "world", "kiro")
        _edit(found, "web/src/main.js", '"one"', '"two"')
        found.kiro("watch", "--once")
        container = docker(
            "ps", "--quiet", "--filter", f"label=com.docker.compose.project={found.name}",
            "--filter", "label=com.docker.compose.service=api",
        ).strip()  # fmt: skip
        assert "Hello, kiro!" in docker("logs", container)
        assert 'document.title = "two"' in wait_for(f"{page}/src/main.js")
    finally:
        kiro("down", cwd=root, env=found.env)
        kiro("clean-cache", "--yes", cwd=root, env=found.env)


def _without_managers(folder: Path) -> str:
    """A PATH with all that the tool itself starts, and no package manager of a language."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("docker", "env", "git", "unshare"):
        (programs / name).symlink_to(shutil.which(name) or "")
    return str(programs)


def test_a_token_of_a_private_registry_is_used_and_kept_nowhere(engine: None, tmp_path: Path) -> None:
    token = secrets.token_hex(20)
    texts = program("app", "app", where="@own/words", dependencies={"@own/words": "1.0.0"})
    with private_npm(_gateway(), token) as place:
        npmrc = f"@own:registry=http:{place}\n{place}:_authToken=${{NPM_TOKEN}}\n"
        texts["app/.npmrc"] = npmrc
        _used_and_kept_nowhere(tmp_path, texts, token, {"NPM_TOKEN": token}, "kiro-npm", "_cacache")


def test_credentials_of_cargo_are_used_and_kept_nowhere(engine: None, tmp_path: Path) -> None:
    token = secrets.token_hex(20)
    more = '[dependencies]\nprivate-words = { version = "1", registry = "own" }\n'
    texts = crate("app", 3000, word="private_words::word()", more=more, folder="app")
    home = tmp_path / "cargo home"
    write_texts(home, {"credentials.toml": f'[registries.own]\ntoken = "{token}"\n'})
    with private_crates(_gateway(), token) as index:
        texts["app/.cargo/config.toml"] = (
            f'[registries.own]\nindex = "{index}"\n[registry]\nglobal-credential-providers = ["cargo:token"]\n'
        )
        _used_and_kept_nowhere(
            tmp_path, texts, token, {"CARGO_HOME": str(home)}, "kiro-cargo-registry", "index"
        )


def _gateway() -> str:
    """This machine's address, for containers and for itself."""
    return docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()


def _used_and_kept_nowhere(
    folder: Path, texts: Mapping[str, str], token: str, env: Mapping[str, str], mount: str, sign: str
) -> None:
    """`sign` is a name in the mount that downloads are kept in."""
    root = folder / f"private {os.getpid()}"
    write_texts(root, texts)
    found = Repository(root, f"kiro-init-{os.getpid()}", {"APP": free_port()})
    env = {**found.env, **env}
    try:
        for words in (["init"], ["up"], ["build", "--prod"]):
            ran = kiro(*words, cwd=root, env=env)
            assert ran.code == 0, ran.out + ran.err[-4000:]
            assert token not in ran.out + ran.err
        assert found.answers() == {"private"}
        images = [f"{_project(found)}/app:{kind}" for kind in ("dev", "prod")]
        for image in images:
            assert token not in docker("image", "inspect", image) + docker("history", "--no-trunc", image)
        assert not _holds(["docker", "save", *images], token)
        state = [path for path in root.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
        assert state == []
        assert not _mount_holds(root, mount, sign, token, env)
    finally:
        kiro("down", "--volumes", cwd=root, env=env)
        kiro("clean-cache", "--yes", cwd=root, env=env)


def _holds(argv: list[str], text: str) -> bool:
    """Whether what a program prints holds a text."""
    kept = b""
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(1 << 20):
            if text.encode() in kept + piece:
                return True
            kept = piece[-len(text) :]
    assert process.returncode == 0
    return False


def _mount_holds(root: Path, mount: str, sign: str, text: str, env: Mapping[str, str]) -> bool:
    """Whether a cache mount of a checkout's holds a text. A step of another text: without caches, mounts are empty."""
    namespace = config.load(root, {**os.environ, **env}).checkout
    dockerfile = (
        f"FROM debian:13-slim\nRUN --mount=type=cache,id={mount},target=/mount --mount=type=secret,id=text "
        f": {secrets.token_hex(8)}; ls -A /mount "
        "&& if grep -rqf /run/secrets/text /mount; then echo held; else echo not held; fi >/told\n"
        "FROM scratch\nCOPY --from=0 /told /\n"
    )
    ran = command(
        "docker", "buildx", "build", "--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={namespace}",
        "--secret", "id=text,env=TEXT", "--output", "type=tar,dest=-", "--progress=plain", "-",
        env={"TEXT": text}, stdin=dockerfile,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert sign in ran.err  # it is the mount
    return "not held" not in ran.out


def _edit(repository: Repository, path: str, old: str, new: str) -> None:
    file = repository.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def _project(repository: Repository) -> str:
    for line in (repository.root / "kiro.yaml").read_text().splitlines():
        if line.startswith("project: "):
            return line.removeprefix("project: ").strip('"')
    raise AssertionError


def _served(image: str, port: int) -> str:
    """What a container of an image answers."""
    outside = free_port()
    container = docker("run", "--detach", "--publish", f"127.0.0.1:{outside}:{port}", image).strip()
    try:
        return wait_for(f"http://127.0.0.1:{outside}/")
    finally:
        docker("rm", "--force", container)
