"""What CI releases: a clean build, and that mounts with a past leave no trace in a binary."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

from kiro_invoke import config
from tests.docker.test_warm_cache import docker_engine
from tests.support.crates import Checkout, small_workspace, sweep
from tests.support.engine import ROOT, docker, kiro

pytestmark = pytest.mark.docker

PROJECT = f"kiro-clean-{os.getpid()}"
IMAGE = f"{PROJECT}/app:prod"
BINARY = "/usr/local/bin/kiro-backend"


@pytest.fixture
def checkout(tmp_path: Path, engine: None) -> Iterator[Checkout]:
    """A repository with one small service, built by the backend's own production Dockerfile."""
    made = Checkout(tmp_path / "app", "")
    small_workspace(made, recipe=PROJECT)
    (tmp_path / "kiro.yaml").write_text(f"project: {PROJECT}\nservices:\n  - name: app\n")
    (tmp_path / "app/Dockerfile").write_text((ROOT / "backend/Dockerfile").read_text())
    (tmp_path / "app/.dockerignore").write_text("Dockerfile*\n.dockerignore\n")
    namespace = config.load(tmp_path, {}).checkout
    try:
        yield made
    finally:
        docker("image", "rm", "--force", IMAGE)
        sweep(namespace, cooked=True)


def released(checkout: Checkout, *arguments: str, ran: Set[str] = frozenset()) -> bytes:
    """The program in the production image; asserts that these stages ran for it."""
    done = kiro("build", "--prod", *arguments, "--format", "json", cwd=checkout.folder.parent)
    assert done.code == 0, done.err[-3000:]
    stages = done.json["services"][0]["stages"]
    assert ran <= {stage["name"] for stage in stages if not stage["cached"]}
    binary = docker_engine().image_file(IMAGE, BINARY)
    assert binary
    return binary


@pytest.mark.long
def test_a_clean_build_makes_the_same_binary_as_mounts_with_a_past(checkout: Checkout) -> None:
    source = "crates/low/src/lib.rs"
    first = released(checkout)
    checkout.reword(source)
    second = released(checkout)
    checkout.reword(source)
    mounted = released(checkout)
    assert len({first, second, mounted}) == 3
    clean = released(checkout, "--clean", ran={"crates", "cook", "builder"})
    assert hashlib.sha256(clean).hexdigest() == hashlib.sha256(mounted).hexdigest()
    assert clean == mounted
