"""The front end's images tell which sources they were built from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import ROOT, docker, free_port, http, wait_for
from tests.support.odd_tree import odd_tree, revision_of

pytestmark = pytest.mark.docker

FRONTEND = ROOT / "frontend"
#: A lifecycle script of the project: reads a file, and writes where an install and a build look.
POSTINSTALL = """
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
const text = readFileSync("patches/react.patch", "utf8");
writeFileSync("node_modules/react/patched", text);
writeFileSync("public/patched.txt", text);
"""


def test_the_images_node_finds_the_revision_of_the_definition(engine: None, tmp_path: Path) -> None:
    tree = odd_tree(tmp_path)
    mounts = (f"--volume={tree}:/tree:ro", f"--volume={ROOT}/kiro_invoke/templates:/templates:ro")
    words = ("node", "/templates/tree-revision.mjs", "/tree", "node_modules")
    found = docker("run", "--rm", *mounts, "node:24-trixie-slim", *words)
    assert found == revision_of(tree, b"node_modules") + "\n"


@pytest.fixture(scope="module")
def changed(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The front end with odd files, a lifecycle script and nothing that is ignored."""
    tree = tmp_path_factory.mktemp("changed") / "frontend"
    ignored = shutil.ignore_patterns("node_modules", "dist", ".dockerignore", "Dockerfile*", ".gitignore")
    shutil.copytree(FRONTEND, tree, ignore=ignored)
    odd = odd_tree(tree)
    shutil.rmtree(odd / "node_modules")
    (odd / "pipe").unlink()  # no context holds one
    (tree / "patches").mkdir()
    (tree / "patches/react.patch").write_text("patched")
    (tree / "postinstall.mjs").write_text(POSTINSTALL)
    manifest = json.loads((tree / "package.json").read_text())
    manifest["scripts"]["postinstall"] = "node postinstall.mjs"
    (tree / "package.json").write_text(json.dumps(manifest))
    return tree


@pytest.fixture(scope="module", params=["Dockerfile", "Dockerfile.fast"])
def image(changed: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    tag = f"kiro-test/frontend:{request.param.lower()}-{os.getpid()}"
    docker(
        "build", "--quiet", "--file", str(FRONTEND / request.param), "--tag", tag, str(changed), timeout=900
    )
    yield tag
    docker("rmi", tag)


@pytest.fixture(scope="module")
def served(image: str) -> Iterator[str]:
    port = free_port()
    name = docker("run", "--rm", "--detach", "--publish", f"127.0.0.1:{port}:8080", image).strip()
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        docker("rm", "--force", name)


def test_the_revision_of_the_sources_is_served_and_never_cached(served: str, changed: Path) -> None:
    status, text, headers = http(f"{served}/kiro-revision.txt")
    assert (status, text) == (200, revision_of(changed) + "\n")
    assert headers["Cache-Control"] == "no-store"


def test_the_projects_lifecycle_scripts_ran_with_all_files(served: str) -> None:
    assert http(f"{served}/patched.txt")[:2] == (200, "patched")


def test_the_label_says_where_the_proof_is(image: str, changed: Path) -> None:
    label = docker("inspect", "--format", '{{index .Config.Labels "dev.kiro.proof"}}', image).strip()
    assert docker("run", "--rm", "--entrypoint=cat", image, label) == revision_of(changed) + "\n"


def test_the_development_image_holds_the_sources_its_tools_and_what_an_install_made(changed: Path) -> None:
    tag = f"kiro-test/frontend:dockerfile.fast-{os.getpid()}-tools"
    docker("build", "--quiet", "--file", str(FRONTEND / "Dockerfile.fast"), "--tag", tag, str(changed))
    script = (
        "nginx -t 2>&1; curl --version; pgrep -V; cat node_modules/react/patched; echo; dpkg --audit; ls -A"
    )
    try:
        printed = docker("run", "--rm", "--entrypoint=sh", tag, "-c", script)
    finally:
        docker("rmi", tag)
    assert "test is successful" in printed
    _, _, left = printed.partition("\npatched\n")
    brought = {"node_modules", "public", *(path.name for path in changed.iterdir())}
    assert set(left.splitlines()) == brought  # and dpkg has nothing to say
