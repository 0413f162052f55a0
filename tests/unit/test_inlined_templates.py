"""This repository's Dockerfiles are what `kiro init` would write; what they carry inline comes from one source."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.scaffold.rendering import rendered

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "kiro_invoke/templates/kiro-fresh").iterdir())
SCRIPT = ROOT / "scripts/inline-templates.py"
BACKEND = ("backend/Dockerfile", "backend/Dockerfile.fast")


@pytest.mark.parametrize("name", BACKEND)
def test_both_dockerfiles_carry_the_helper_byte_for_byte(name: str) -> None:
    stage = parse((ROOT / name).read_text()).stage("fresh")
    assert stage is not None
    copies = [one for one in stage.instructions if one.keyword == "COPY"]
    assert all(one.rest.startswith("<<'") for one in copies)  # else the engine would fill in variables
    carried = {one.rest.split()[-1]: f"{one.heredoc}\n" for one in copies}
    assert carried == {f"/kiro-fresh/{source.name}": source.read_text() for source in SOURCES}


@pytest.mark.parametrize("name", BACKEND)
def test_the_helper_is_made_of_what_was_carried_and_of_nothing_else(name: str) -> None:
    stage = parse((ROOT / name).read_text()).stage("fresh")
    assert stage is not None
    (step,) = [one for one in stage.instructions if one.keyword == "RUN"]
    assert not step.mounts
    compiled = re.findall(r"(\S+)\.rs(?: |$)", step.rest)
    assert compiled == ["sha256", "main"]
    assert step.rest.endswith(" -o /usr/local/bin/kiro-fresh main.rs")
    (main,) = [source for source in SOURCES if source.name == "main.rs"]
    modules = {line[4:-1] for line in main.read_text().splitlines() if line.startswith("mod ")}
    assert modules == {source.stem for source in SOURCES} - {*compiled}


def copied(folder: Path) -> Path:
    """A copy of all that the script reads and writes; the copy of the script."""
    for name in ("backend", "frontend"):
        (folder / name).mkdir()
        for file in (ROOT / name).glob("Dockerfile*"):
            shutil.copy(file, folder / name)
    shutil.copytree(
        ROOT / "kiro_invoke", folder / "kiro_invoke", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "scripts").mkdir()
    return Path(shutil.copy(SCRIPT, folder / "scripts"))


def ran(script: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_every_dockerfile_is_what_its_template_makes(tmp_path: Path) -> None:
    assert ran(copied(tmp_path), "--check") == (0, "")


def test_the_script_finds_and_mends_what_differs(tmp_path: Path) -> None:
    script = copied(tmp_path)
    source = tmp_path / "kiro_invoke/templates/kiro-fresh/tree.rs"
    source.write_text(source.read_text() + "// $HOME ${x} \\ <<'TREE_RS'\n")
    differing = "".join(f"{name}\n" for name in BACKEND)
    assert ran(script, "--check") == (1, differing)
    assert source.read_text() not in (tmp_path / BACKEND[0]).read_text()
    assert ran(script) == (0, differing)
    assert all(source.read_text() in (tmp_path / name).read_text() for name in BACKEND)
    assert ran(script, "--check") == (0, "")


def test_a_dockerfile_that_was_edited_by_hand_is_found(tmp_path: Path) -> None:
    script = copied(tmp_path)
    file = tmp_path / "frontend/Dockerfile"
    file.write_text(file.read_text().replace("EXPOSE 8080", "EXPOSE 80"))
    assert ran(script, "--check") == (1, "frontend/Dockerfile\n")


@pytest.mark.parametrize("name", ["nginx.conf", "nginx.dev.conf"])
def test_the_front_ends_nginx_is_what_its_template_makes(name: str) -> None:
    values = {"proxied": ("/api/",), "backend": "backend:8080", "strict": True}
    assert rendered(name, values) == (ROOT / "frontend" / name).read_text()
