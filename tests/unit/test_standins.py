"""Stand-ins: which names have one, what their Dockerfiles say, and how they are made."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from kiro_invoke.engine import standin_maker
from kiro_invoke.engine.protocol import ImageFacts
from kiro_invoke.engine.standin_maker import StandinMaker
from kiro_invoke.engine.standins import (
    LABEL,
    LABEL_HOLDS,
    ROOT_IMAGE,
    dockerfile,
    holds_dockerfile,
    quoted,
    recipe_for,
    standin_name,
)
from kiro_invoke.model.errors import BuildFailed
from tests.unit.fakes import FakeEngine, FakeRun

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("ref", "kind", "name"),
    [
        ("rust:1.95-slim-trixie", "rust", "kiro-standin/rust:1.95-slim-trixie"),
        ("rust", "rust", "kiro-standin/rust:latest"),
        ("docker.io/library/node:24", "node", "kiro-standin/node:24"),
        ("docker.io/node:24", "node", "kiro-standin/node:24"),
        ("library/node:24-bookworm", "node", "kiro-standin/node:24-bookworm"),
        ("nginx:1.27_x.y-Z", "nginx", "kiro-standin/nginx:1.27_x.y-Z"),
        ("debian:trixie-slim", "debian", "kiro-standin/debian:trixie-slim"),
    ],
)
def test_official_names_that_debian_can_stand_in_for(ref: str, kind: str, name: str) -> None:
    recipe = recipe_for(ref)
    assert recipe is not None
    assert recipe.kind == kind
    assert standin_name(ref) == name


@pytest.mark.parametrize(
    "ref",
    [
        "node:24-alpine",
        "node:alpine3.20",
        "rust:1-alpine",
        "nginx:stable-alpine-slim",
        "rust:windowsservercore",
        "node:24-ubuntu",
        "ghcr.io/x/rust:1",
        "ghcr.io/rust:1",
        "localhost:5000/rust:1",
        "localhost/rust",
        "quay.io/library/node:24",
        "someone/rust:1",
        f"rust@{DIGEST}",
        f"rust:1@{DIGEST}",
        "postgres",
        "postgres:17",
        "rustup:1",
        "Rust:1",
        "rust:",
        "rust:1:2",
        "",
        "scratch",
    ],
)
def test_names_that_nothing_stands_in_for(ref: str) -> None:
    assert recipe_for(ref) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("plain", '"plain"'),
        ("two words", '"two words"'),
        ('a "quoted" one', r'"a \"quoted\" one"'),
        ("$HOME", r'"\$HOME"'),
        ("back\\slash", r'"back\\slash"'),
        ("ends in \\", r'"ends in \\"'),
        ("one\nRUN evil", '"one RUN evil"'),
        ("", '""'),
    ],
)
def test_labels_are_one_quoted_word(text: str, word: str) -> None:
    assert quoted(text) == word


@pytest.mark.parametrize("ref", ["rust:1.95", "node:24", "nginx", "debian:trixie"])
def test_the_dockerfile_stands_on_the_root_trusts_the_host_and_is_labelled(ref: str) -> None:
    recipe = recipe_for(ref)
    assert recipe is not None
    lines = dockerfile(recipe, ref).splitlines()
    assert lines[0] == f"FROM {ROOT_IMAGE}"
    assert "NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt" in lines[1]
    assert lines[-1] == f'LABEL {LABEL}="{ref}"'
    assert sum(line.startswith("FROM ") for line in lines) == 1


@pytest.mark.parametrize(
    ("ref", "parts"),
    [
        ("rust", ["cargo", "gcc", "CARGO_HOME=/usr/local/cargo"]),
        ("node", ["nodejs npm", "--uid 1000", 'CMD ["node"]']),
        ("nginx", ["--uid 101", "/usr/share/nginx/html", "EXPOSE 80", "daemon off;"]),
    ],
)
def test_the_dockerfile_has_what_users_of_its_model_depend_on(ref: str, parts: list[str]) -> None:
    recipe = recipe_for(ref)
    assert recipe is not None
    assert [part for part in parts if part not in dockerfile(recipe, ref)] == []


def test_what_it_holds_is_a_label_on_top() -> None:
    assert holds_dockerfile("x-draft", 'Rust "1"') == f'FROM x-draft\nLABEL {LABEL_HOLDS}="Rust \\"1\\""\n'


# -- made ---------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def private_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The maker's lock and drafts lie in the test's own folder, and debootstrap is there."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not-used"))
    monkeypatch.setattr(standin_maker, "SCRATCH", folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kw: "/usr/sbin/debootstrap")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return folder


ROOT = ImageFacts("sha256:root", {}, 1)


def maker(engine: FakeEngine, run: FakeRun, *, bundle: Path | None = None) -> StandinMaker:
    return StandinMaker(engine, run, "http://mirror/", bundle)


def test_made_on_a_root_that_is_here(private_tmp: Path) -> None:
    engine, run, said = FakeEngine({ROOT_IMAGE: ROOT}), FakeRun(), list[str]()
    maker(engine, run).make(["rust:1", "node:24"], said.append)
    assert run.calls == []
    assert {*engine.images} == {ROOT_IMAGE, "kiro-standin/rust:1", "kiro-standin/node:24"}
    assert [name for name, _ in engine.built].count("kiro-standin/rust:1-draft") == 1
    assert said == [f"{ref}: stand-in made, holds Rust 1.85.0" for ref in ("rust:1", "node:24")]
    texts = dict(engine.built)
    assert texts["kiro-standin/rust:1"].startswith("FROM kiro-standin/rust:1-draft\n")


def test_made_side_by_side() -> None:
    engine = FakeEngine({ROOT_IMAGE: ROOT})
    together = threading.Barrier(2, timeout=5)
    build = engine.build_text

    def wait_for_the_other(text: str, tag: str) -> object:
        if tag.endswith("-draft"):
            together.wait()
        return build(text, tag)

    engine.build_text = wait_for_the_other  # type: ignore[method-assign,assignment]
    maker(engine, FakeRun()).make(["rust:1", "node:24"], lambda _: None)
    assert "kiro-standin/node:24" in engine.images


@pytest.mark.parametrize("euid", [0, 1000], ids=["root", "sudo"])
def test_the_root_is_made_from_packages_once(
    euid: int, monkeypatch: pytest.MonkeyPatch, private_tmp: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    engine, run = FakeEngine(), FakeRun()
    maker(engine, run, bundle=private_tmp / "none").make(["rust:1"], lambda _: None)
    prefix = () if euid == 0 else ("sudo", "-n")
    assert {argv[: len(prefix)] for argv in run.argvs} == {prefix}
    assert [argv[len(prefix)] for argv in run.argvs] == ["debootstrap", "tar", "rm"]
    first = run.argvs[0][len(prefix) :]
    assert first[:3] == ("debootstrap", "--variant=minbase", "trixie")
    assert first[4:] == ("http://mirror/", "sid")
    assert engine.imported == [ROOT_IMAGE]
    maker(engine, run).make(["node:24"], lambda _: None)
    assert engine.imported == [ROOT_IMAGE]


def test_the_root_trusts_the_hosts_bundle_and_its_extra_certificates(
    private_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n" for body in ("AA", "BB"))
    monkeypatch.setattr(standin_maker, "shipped_texts", lambda: (one,))
    bundle = private_tmp / "bundle.crt"
    bundle.write_text(one + two)
    copied: dict[str, str] = {}
    run = FakeRun().on("install", do=lambda argv: copied.update({argv[-1]: Path(argv[-2]).read_text()}))
    maker(FakeEngine(), run, bundle=bundle).make(["rust:1"], lambda _: None)
    placed = {path.partition("/root/")[2]: text for path, text in copied.items()}
    assert placed == {
        "etc/ssl/certs/ca-certificates.crt": one + two,
        "usr/local/share/ca-certificates/kiro-host-0.crt": two,
    }


@pytest.mark.parametrize("failing", ["debootstrap", "tar"])
def test_a_root_that_fails_leaves_nothing_on_disk(failing: str, private_tmp: Path) -> None:
    engine = FakeEngine()
    run = FakeRun().on(failing, code=1, out="I: Retrieving\n", err="E: no such mirror\n")
    with pytest.raises(BuildFailed, match="could not make the root file system: E: no such mirror") as caught:
        maker(engine, run, bundle=private_tmp / "none").make(["rust:1"], lambda _: None)
    assert caught.value.tail == ("I: Retrieving", "E: no such mirror")
    assert str(private_tmp) in str(caught.value.fix)
    assert ("mirror" in str(caught.value.fix)) == (failing == "debootstrap")
    assert run.argvs[-1][:4] == ("rm", "-rf", "--one-file-system", "--")
    assert not engine.images
    assert [path.name for path in private_tmp.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("scratch", [True, False], ids=["/var/tmp", "no /var/tmp"])
def test_roots_are_made_where_device_files_may_be(
    scratch: bool, private_tmp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "default").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "default"))
    if not scratch:
        monkeypatch.setattr(standin_maker, "SCRATCH", tmp_path / "none")
    run = FakeRun()
    maker(FakeEngine(), run, bundle=private_tmp / "none").make(["rust:1"], lambda _: None)
    parent = private_tmp if scratch else tmp_path / "default"
    assert Path(run.argvs[0][3]).parent.parent == parent


def lock_folder(tmp_path: Path) -> Path:
    return tmp_path / "home/.cache/kiro-invoke"


def test_the_lock_is_private(tmp_path: Path) -> None:
    lock_folder(tmp_path).mkdir(parents=True, mode=0o755)
    maker(FakeEngine({ROOT_IMAGE: ROOT}), FakeRun()).make(["rust:1"], lambda _: None)
    assert lock_folder(tmp_path).stat().st_mode & 0o777 == 0o700
    assert FileLock(lock_folder(tmp_path) / "standins.lock").acquire(timeout=0)


def test_who_waits_for_another_maker_says_so_and_makes_nothing_twice(tmp_path: Path) -> None:
    engine, said = FakeEngine(), list[str]()
    lock_folder(tmp_path).mkdir(parents=True)
    other = FileLock(lock_folder(tmp_path) / "standins.lock", thread_local=False)
    other.acquire()

    def meanwhile(line: str) -> None:
        said.append(line)
        engine.images["kiro-standin/rust:1"] = ROOT
        other.release()

    run = FakeRun()
    maker(engine, run).make(["rust:1"], meanwhile)
    assert said == ["stand-ins: waiting for another kiro that is making some"]
    assert engine.built == []
    assert run.calls == []


def test_without_a_home_the_lock_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(BuildFailed, match="cannot take the lock") as caught:
        maker(FakeEngine({ROOT_IMAGE: ROOT}), FakeRun()).make(["rust:1"], lambda _: None)
    assert "HOME" in str(caught.value.fix)


@pytest.mark.parametrize("lacking", ["mirror", "debootstrap"])
def test_without_debootstrap_or_mirror_there_is_no_root(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking == "debootstrap":
        monkeypatch.setattr(shutil, "which", lambda *_args, **_kw: None)
    run = FakeRun()
    one = StandinMaker(FakeEngine(), run, None if lacking == "mirror" else "http://m/", None)
    with pytest.raises(BuildFailed, match="debootstrap and a Debian mirror"):
        one.make(["rust:1"], lambda _: None)
    assert run.calls == []


def test_a_standin_that_cannot_be_built_is_told_and_not_named() -> None:
    engine = FakeEngine({ROOT_IMAGE: ROOT})
    engine.build_status, engine.build_output = 1, "step\nE: Unable to locate package rustc\n\n"
    with pytest.raises(BuildFailed, match="the stand-in for rust:1: E: Unable to locate package rustc"):
        maker(engine, FakeRun()).make(["rust:1"], lambda _: None)
    assert "kiro-standin/rust:1" not in engine.images
