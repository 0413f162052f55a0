"""The wheel and the source archive: complete, and at work in an empty environment elsewhere."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from kiro_invoke.version import __version__
from tests.support.engine import ROOT, command

pytestmark = pytest.mark.long

#: What the package needs besides its modules.
DATA = ("templates", "schemas", "test", "py.typed", "kiro.mk", "Tiltfile", "README.md")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and source archive, made from a clean export of the checkout."""
    work = tmp_path_factory.mktemp("packaging")
    listed = command(
        "git", "ls-files", "-z", "kiro_invoke", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"
    ).out
    for name in filter(None, listed.split("\0")):
        target = work / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    script = "from setuptools import build_meta as b; b.build_sdist('../out'); b.build_wheel('../out')"
    env = venv_python(work / "builder")
    run(env, "-m", "pip", "install", "--quiet", "setuptools>=77")
    (work / "out").mkdir()
    run(env, "-c", script, cwd=work / "source")
    return work / "out"


def venv_python(folder: Path) -> str:
    venv.create(folder, with_pip=True)
    return str(folder / "bin/python")


def run(*argv: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_both_archives_hold_the_data_files(built: Path) -> None:
    listed = command("git", "ls-files", "-z", *(f"kiro_invoke/{name}" for name in DATA)).out
    data = set(filter(None, listed.split("\0")))
    assert all(any(name.startswith(f"kiro_invoke/{each}") for name in data) for each in DATA)
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        assert data <= set(wheel.namelist())
    with tarfile.open(next(built.glob("*.tar.gz"))) as source:
        assert data <= {name.partition("/")[2] for name in source.getnames()}


def test_the_wheel_works_in_a_foreign_repository(built: Path, tmp_path: Path) -> None:
    python = venv_python(tmp_path / "an empty environment")
    run(python, "-m", "pip", "install", "--quiet", str(next(built.glob("*.whl"))))
    repository = tmp_path / "a foreign repository"
    service = repository / "api"
    service.mkdir(parents=True)
    (service / "package.json").write_text("{}")
    (service / "package-lock.json").write_text("{}")
    (service / "Dockerfile.fast").write_text("FROM node:24-trixie-slim AS dev\n")
    kiro = str(Path(python).with_name("kiro"))
    assert run(kiro, "--version", cwd=repository).strip().endswith(__version__)
    assert "a-foreign-repository/api:dev" in run(kiro, "build", "--dry-run", cwd=repository)
    assert "no build is recorded yet" in run(kiro, "report", "--output", "report.html", cwd=repository)
    assert (repository / "report.html").stat().st_size > 1_000_000
    (repository / "report.html").unlink()
    (repository / "Makefile").write_text(
        "include $(or $(shell kiro make-path),$(error kiro is missing: pip install kiro-invoke))\n"
    )
    own_path = f"{Path(python).parent}:/usr/bin:/bin"
    made = run("env", f"PATH={own_path}", "make", "config", "KIRO_TARGETS=config", cwd=repository)
    assert "a-foreign-repository/api" in made
    extension = Path(run(kiro, "tilt-path", cwd=repository).strip())
    assert extension.is_relative_to(Path(python).parents[1])
    assert (extension.name, (extension.parent / "test/test.sh").is_file()) == ("Tiltfile", True)
    assert "a-foreign-repository/api from api/Dockerfile.fast" in run(kiro, "tilt-config", cwd=repository)
    (repository / "tasks.py").write_text(
        "import kiro_invoke\nfrom invoke import Collection, task\n\n"
        "@task\ndef build(ctx):\n    print('their own build')\n\n"
        "ns = Collection(build)\nns.add_collection(kiro_invoke.ns, name='kiro')\n"
    )
    invoke = str(Path(python).with_name("invoke"))
    assert "their own build" in run(invoke, "build", cwd=repository)
    assert "a-foreign-repository/api:dev" in run(invoke, "kiro.build", "--dry-run", cwd=repository)
    assert sys.version_info >= (3, 11)
