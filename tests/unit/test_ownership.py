"""Whose engine is on the machine: the one that a setup installed, or anybody else's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.engine import ownership
from kiro_invoke.engine.installed import Installed
from kiro_invoke.engine.ownership import is_foreign, is_ours

ADDED = Installed(packages=("docker.io", "iptables"), complete=True)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which the package docker.io is installed, with its dockerd."""
    for folder in ("sbin", "local"):
        (tmp_path / folder).mkdir()
    (tmp_path / "sbin" / "dockerd").touch()
    (tmp_path / "list").write_text(f"/.\n{tmp_path}/sbin/dockerd\n/etc/init.d/docker\n")
    monkeypatch.setattr(ownership, "FOLDERS", (str(tmp_path / "sbin"), str(tmp_path / "local")))
    monkeypatch.setattr(ownership, "FILE_LIST", tmp_path / "list")
    return tmp_path


def test_an_engine_that_a_setup_installed_is_ours(host: Path) -> None:
    assert is_ours(ADDED)
    assert not is_foreign(ADDED)


@pytest.mark.parametrize("added", [None, Installed(complete=True), Installed(("iptables",), complete=True)])
def test_an_engine_that_no_setup_added_is_foreign(host: Path, added: Installed | None) -> None:
    assert not is_ours(added)
    assert is_foreign(added)


def test_an_interrupted_setup_is_neither_ours_nor_in_its_own_way(host: Path) -> None:
    begun = replace(ADDED, complete=False)
    assert not is_ours(begun)
    assert not is_foreign(begun)


@pytest.mark.parametrize("listed", ["/etc/init.d/docker\n", None], ids=["removed", "purged"])
def test_an_engine_that_took_the_packages_place_is_foreign(host: Path, listed: str | None) -> None:
    (host / "list").unlink()
    if listed is not None:
        (host / "list").write_text(listed)
    assert not is_ours(ADDED)
    assert is_foreign(ADDED)


def test_a_second_engine_beside_ours_is_foreign(host: Path) -> None:
    (host / "local" / "dockerd").touch()
    assert not is_ours(ADDED)
    assert is_foreign(ADDED)


def test_no_engine_is_nobodys(host: Path) -> None:
    (host / "sbin" / "dockerd").unlink()
    assert not is_ours(ADDED)
    assert not is_foreign(ADDED)
    assert not is_foreign(None)


def test_folders_that_are_one_are_one(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "bin").symlink_to(host / "sbin")
    monkeypatch.setattr(ownership, "FOLDERS", (str(host / "bin"), str(host / "sbin")))
    assert is_ours(ADDED)
