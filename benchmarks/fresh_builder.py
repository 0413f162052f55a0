"""A builder that has nothing, and a shared cache: what another one built it never builds, and an edit costs its own."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.test_frontend_install import KNOWN
from tests.support import base_images
from tests.support.buildkitd import builder
from tests.support.engine import Ran, docker, kiro
from tests.support.registry import registry
from tests.support.repository import write_texts

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(1500)]

PROJECT = f"kiro-fresh-{os.getpid()}"
BASES = ("rust:1.95-slim-trixie", "node:24-trixie-slim")
MANIFEST = """\
[package]
name = "greeting"
version = "0.1.0"
edition = "2021"

[dependencies]
anyhow = "1"
fnv = "1"
hex = "0.4"
scopeguard = "1"
semver = "1"
serde = { version = "1", features = ["derive"] }
serde_json = "1"
thiserror = "2"
"""
MAIN_RS = """\
use serde::Serialize;

#[derive(Serialize)]
struct Greeting {
    word: &'static str,
    version: String,
}

fn main() -> anyhow::Result<()> {
    let greeting = Greeting { word: "@word@", version: semver::Version::new(1, 2, 3).to_string() };
    println!("{}", serde_json::to_string(&greeting)?);
    Ok(())
}
"""
PAGE = {
    "package.json": json.dumps(
        {
            "name": "page",
            "version": "1.0.0",
            "type": "module",
            "scripts": {"build": "node build.js", "start": "node build.js"},
            "dependencies": {"ms": "2.1.3"},
        }
    ),
    "package-lock.json": json.dumps(
        {
            "name": "page",
            "version": "1.0.0",
            "lockfileVersion": 3,
            "packages": {
                "": {"name": "page", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}},
                "node_modules/ms": {"version": "2.1.3", **KNOWN["ms@2.1.3"]},
            },
        }
    ),
    "build.js": 'import ms from "ms";\nconsole.log(ms(1000), "@word@");\n',
}


def write(root: Path, word: str) -> None:
    write_texts(root, {"greeting/src/main.rs": MAIN_RS.replace("@word@", word)})
    write_texts(root, {"page/build.js": PAGE["build.js"].replace("@word@", word)})


@dataclass(frozen=True)
class Machine:
    """A checkout, and the builder that it builds with."""

    root: Path
    builder: str

    def build(self, *words: str) -> dict[str, Any]:
        env = {"KIRO_BUILDER": self.builder, "GITHUB_REF_NAME": "main"}
        ran: Ran = kiro(*words, "--format", "json", cwd=self.root, env=env)
        assert ran.code == 0, ran.err[-4000:]
        assert "instead" not in ran.err
        return ran.json

    @property
    def compiled(self) -> list[str]:
        """The crates that the last build compiled."""
        logs = sorted((self.root / ".kiro/logs").iterdir(), key=lambda path: path.stat().st_mtime)
        return re.findall(r"Compiling (\S+) v", logs[-1].read_text())


def ran(built: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (service["name"], stage["name"])
        for service in built["services"]
        for stage in service["stages"]
        if not stage["cached"]
    }


def printed() -> str:
    run = ("run", "--rm", "--network=none", "--entrypoint")
    greeting = docker(*run, "/app/target/debug/greeting", f"{PROJECT}/greeting:dev")
    return greeting + docker(*run, "node", f"{PROJECT}/page:dev", "build.js")


@pytest.fixture
def machines(engine: None, tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    assert engine is None  # it is there
    first, second = tmp_path / "one", tmp_path / "another checkout"
    write_texts(first, {"greeting/Cargo.toml": MANIFEST})
    write_texts(first / "page", PAGE)
    shutil.copy(Path(__file__).parent / "greeting.lock", first / "greeting/Cargo.lock")
    write(first, "first")
    assert kiro("init", cwd=first).code == 0
    for name in ("greeting", "page"):
        (first / name / "Dockerfile").unlink()  # production images would compile all of it once more
    with registry(tmp_path / "registry") as shared:
        bases = base_images.put(shared, BASES)
        text = {
            "project": PROJECT,
            "services": [{"name": "greeting"}, {"name": "page"}],
            "base_images": dict(bases),
            "cache": {"to": f"{shared.host}/team/cache:{{service}}-{{branch}}"},
        }
        write_texts(first, {"kiro.yaml": yaml.safe_dump(text)})
        shutil.copytree(first, second)
        with (
            builder(tmp_path / "a", f"{PROJECT}-a", shared.host) as a,
            builder(tmp_path / "b", f"{PROJECT}-b", shared.host) as b,
        ):
            yield Machine(first, a.name), Machine(second, b.name)
    images = docker("image", "ls", "--quiet", "--filter", f"label=dev.kiro.project={PROJECT}").split()
    if images:
        docker("image", "rm", "--force", *set(images))


def test_a_fresh_builder_runs_nothing_and_compiles_of_an_edit_its_own_crate(
    machines: tuple[Machine, Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = machines
    cold = first.build("warm-cache", "--push")
    assert {("greeting", "chef"), ("greeting", "cook"), ("page", "install")} <= ran(cold)
    same = second.build("build")
    assert ran(same) == set()
    assert "first" in printed()
    write(second.root, "second")
    edit = second.build("build")
    assert ran(edit) == {("greeting", "dev"), ("page", "dev")}
    assert second.compiled == ["greeting"]
    assert printed().count("second") == 2
    # the layers that came with the first image are not sent again
    arrived = sum(path.stat().st_blocks for path in (second.root / ".kiro/arriving").rglob("*")) * 512
    assert arrived < 2_000_000
    write(second.root, "third!")
    again = second.build("build")
    assert second.compiled == ["greeting"]
    assert printed().count("third!") == 2
    with capsys.disabled():
        told = [("cold", cold), ("another builder", same), ("edit", edit), ("next edit", again)]
        print()
        for name, built in told:
            print(f"{name}: {built['seconds']:.1f} s, {built['seconds'] / cold['seconds']:.1%} of cold")
