"""What `kiro classify` says will happen to the dependency layer, against the engine's own verdicts."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.metrics.entry import CACHED, RAN
from kiro_invoke.metrics.store import Store
from tests.support.engine import ROOT, kiro

pytestmark = [pytest.mark.docker, pytest.mark.long]

#: Makes what it adds new to this engine: a layer from an earlier run would be taken for this one's.
TOKEN = f"k{uuid.uuid4().hex[:10]}"
#: The stage of each service in which its dependency layer begins.
LAYER = {"backend": "crates", "frontend": "install"}
#: Edits a file, given as text.
Edit = Callable[[str], str]


def put(text: str) -> Edit:
    return lambda _: text


def added(text: str) -> Edit:
    return lambda old: old + text


def replaced(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return edit


def in_json(change: Callable[[dict[str, Any]], object]) -> Edit:
    """Change the object that a file holds; what `change` returns is not looked at."""

    def edit(text: str) -> str:
        value = json.loads(text)
        change(value)
        return json.dumps(value, indent=2) + "\n"

    return edit


def top(**entries: object) -> Edit:
    return in_json(lambda package: package.update(entries))


def entry(section: str, key: str, value: object) -> Edit:
    """Set an entry of one of package.json's objects."""
    return in_json(lambda package: package.setdefault(section, {}).update({key: value}))


def turned_round(text: str) -> str:
    """The same object, its keys in another order."""
    return json.dumps(dict(reversed(json.loads(text).items())), indent=2)


def relocked(lock: dict[str, Any]) -> None:
    lock["version"] = lock["packages"][""]["version"] = "0.1.7"


API = "crates/kiro-backend"
BACKEND: dict[str, tuple[dict[str, Edit], bool]] = {
    "a source of the program": ({f"{API}/src/main.rs": added(f"// {TOKEN}\n")}, False),
    "a source of a library": ({"crates/kiro-domain/src/note.rs": added(f"// {TOKEN}\n")}, False),
    "a new module": ({f"{API}/src/routes/{TOKEN}.rs": put("")}, False),
    "a file of an existing test": ({f"{API}/tests/it/{TOKEN}.rs": put("")}, False),
    "a comment in a manifest": ({"Cargo.toml": added(f"# {TOKEN}\n")}, False),
    "a version, in the lockfile too": (
        {"Cargo.toml": replaced('version = "0.1.0"', 'version = "0.1.7"'),
         "Cargo.lock": lambda text: re.sub(r'(name = "kiro-[a-z]+"\nversion = )"0.1.0"', r'\1"0.1.7"', text)},
        False,
    ),
    "lints": ({"Cargo.toml": replaced('todo = "warn"', 'todo = "deny"')}, False),
    "a manifest outside the workspace": (
        {f"examples/{TOKEN}/Cargo.toml": put('[package]\nname = "x"\nversion = "0.1.0"\n[workspace]\n')}, False,
    ),
    "a file that the context leaves out": ({"README.md": added(TOKEN)}, False),
    "a data file": ({f"{API}/src/{TOKEN}.json": put("{}")}, False),
    "a new test target": ({f"{API}/tests/{TOKEN}.rs": put("")}, True),
    "a new program": ({f"{API}/src/bin/{TOKEN}.rs": put("fn main() {}\n")}, True),
    "a build script": (
        {"crates/kiro-domain/Cargo.toml": replaced("[package]\n", f'[package]\nbuild = "{TOKEN}.rs"\n'),
         f"crates/kiro-domain/{TOKEN}.rs": put("fn main() {}\n")},
        True,
    ),
    "a feature": ({f"{API}/Cargo.toml": added(f"\n[features]\n{TOKEN} = []\n")}, True),
    "a description": ({f"{API}/Cargo.toml": replaced("greets visitors", f"greets {TOKEN}")}, True),
    "a profile": ({"Cargo.toml": added(f'[profile.{TOKEN}]\ninherits = "dev"\n')}, True),
    "settings of cargo": ({".cargo/config.toml": put(f"# {TOKEN}\n")}, True),
    "another version of a crate, in the lockfile": (
        {"Cargo.lock": added(f'\n[[package]]\nname = "{TOKEN}"\nversion = "1.0.0"\n'
                             'source = "registry+https://github.com/rust-lang/crates.io-index"\n')},
        True,
    ),
}  # fmt: skip
FRONTEND: dict[str, tuple[dict[str, Edit], bool]] = {
    "a source": ({"src/App.tsx": added(f"// {TOKEN}\n")}, False),
    "a new source": ({f"src/{TOKEN}.ts": put("export {};\n")}, False),
    "settings of the bundler": ({"vite.config.ts": added(f"// {TOKEN}\n")}, False),
    "a version, in the lockfile too": (
        {"package.json": top(version="0.1.7"),
         "package-lock.json": in_json(relocked)},
        False,
    ),
    "a script": ({"package.json": entry("scripts", TOKEN, "true")}, False),
    "a description": ({"package.json": top(description=TOKEN)}, False),
    "the order of keys": ({"package.json": turned_round}, False),
    "a nested project": ({f"tools/{TOKEN}/package.json": put('{"dependencies": {"a": "1"}}')}, False),
    "a dependency": ({"package.json": entry("dependencies", TOKEN, "npm:react@^19")}, True),
    "another range": ({"package.json": entry("devDependencies", "vite", f"^8.3.8 || 0.0.0-{TOKEN}")}, True),
    "engines": ({"package.json": top(engines={"node": ">=20.19", TOKEN: "*"})}, True),
    "an override": ({"package.json": entry("overrides", TOKEN, "1.0.0")}, True),
    "a key that nobody knows": ({"package.json": top(**{TOKEN: 1})}, True),
    "settings of npm": ({".npmrc": put(f"# {TOKEN}\n")}, True),
}  # fmt: skip
CASES = [
    pytest.param(service, edits, runs, id=f"{service}: {name}")
    for service, cases in (("backend", BACKEND), ("frontend", FRONTEND))
    for name, (edits, runs) in cases.items()
]


@pytest.fixture(scope="module")
def copy(warmed: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's services elsewhere, built once, so that there is something to compare with."""
    root = tmp_path_factory.mktemp("prediction") / "a checkout"
    root.mkdir()
    skipped = shutil.ignore_patterns("target", "node_modules", "dist", "data")
    for service in LAYER:
        shutil.copytree(ROOT / service, root / service, ignore=skipped)
    (root / "kiro.yaml").write_text(f"project: {TOKEN}\nservices:\n  - name: backend\n  - name: frontend\n")
    ran = kiro("build", cwd=root)
    assert ran.code == 0, ran.err[-3000:]
    for service, stage in LAYER.items():
        assert not _verdict(root / service, stage)
    return root


@pytest.fixture
def service_of(copy: Path) -> Iterator[Callable[[str], Path]]:
    """The folder of a service; what the test changes in it is taken back."""
    touched: list[str] = []

    def folder(service: str) -> Path:
        touched.append(service)
        return copy / service

    yield folder
    for service in touched:
        shutil.rmtree(copy / service)
        skipped = shutil.ignore_patterns("target", "node_modules", "dist", "data")
        shutil.copytree(ROOT / service, copy / service, ignore=skipped)


@pytest.mark.parametrize(("service", "edits", "runs"), CASES)
def test_the_engine_does_what_was_predicted(
    service: str, edits: dict[str, Edit], runs: bool, service_of: Callable[[str], Path]
) -> None:
    folder = service_of(service)
    for path, edit in edits.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(edit(file.read_text() if file.exists() else ""))
    said = kiro("classify", "--service", service, "--format", "jsonl", cwd=folder)
    assert said.code == 0, said.err
    rows = [json.loads(line) for line in said.out.splitlines()]
    predicted = any(row["kind"] in {"DEPENDENCY", "BASE"} for row in rows)
    verdict = _verdict(folder, LAYER[service])
    assert (predicted, verdict) == (runs, runs), said.out


def test_the_history_says_the_same_of_both_services(copy: Path, service_of: Callable[[str], Path]) -> None:
    """The images are still built by the stage order that predictions assume."""
    sources = {"backend": "crates/kiro-domain/src/note.rs", "frontend": "src/App.tsx"}
    manifests = {
        "backend": (f"{API}/Cargo.toml", added(f"\n[features]\n{TOKEN}h = []\n")),
        "frontend": ("package.json", top(**{f"{TOKEN}h": 1})),
    }
    for service, path in sources.items():
        file = service_of(service) / path
        file.write_text(added(f"// {TOKEN} history\n")(file.read_text()))
    assert kiro("build", cwd=copy).code == 0
    for service, (path, edit) in manifests.items():
        file = copy / service / path
        file.write_text(edit(file.read_text()))
    assert kiro("build", cwd=copy).code == 0
    rows = [row.image for row in Store(copy / ".kiro", pytest.fail).images()]
    assert [(one.service, one.kind, one.predicted, one.verdict) for one in rows[-4:]] == [
        ("backend", "SOURCE", CACHED, CACHED),
        ("frontend", "SOURCE", CACHED, CACHED),
        ("backend", "DEPENDENCY", RAN, RAN),
        ("frontend", "DEPENDENCY", RAN, RAN),
    ]


def _verdict(folder: Path, stage: str) -> bool:
    """Whether the engine runs the stage, by its own word: once it has said so, the build is ended.

    A step that runs is started twice: to find out what it depends on, and to be run. One that is cached says so.
    """
    argv = ("docker", "buildx", "build", "--progress=rawjson", "--output=type=cacheonly", f"--target={stage}")
    build = subprocess.Popen(
        [*argv, "-f", "Dockerfile.fast", "."],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert build.stderr is not None
    starts: set[tuple[str, str]] = set()
    cached: dict[str, bool] = {}
    said = ""
    with build:
        for line in build.stderr:
            said += line
            if line.rstrip() == "}":
                for vertex in _vertexes(said, stage):
                    cached[vertex["digest"]] = bool(vertex.get("cached"))
                    if vertex.get("started") and not vertex.get("cached"):
                        starts.add((vertex["digest"], vertex["started"]))
                said = ""
            if len(starts) > len(cached):
                build.send_signal(signal.SIGINT)
                return True
    assert cached, said[-3000:]
    return not all(cached.values())


def _vertexes(event: str, stage: str) -> Iterator[dict[str, Any]]:
    """What an event tells of the stage's own steps."""
    for vertex in json.loads(event).get("vertexes") or ():
        if re.match(rf"\[{stage} \d+/\d+\] RUN", vertex["name"]):
            yield vertex
