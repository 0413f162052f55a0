"""Opening an engine: which one is ours, whether this user may use it, and how ours is started."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kiro_invoke.commands import bringing, opening
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine import daemon, docker, installed, installer, ownership
from kiro_invoke.engine.daemon import Daemon
from kiro_invoke.engine.installed import Installed
from kiro_invoke.engine.locate import DEFAULT_ADDRESS, Address
from kiro_invoke.engine.setup import Person
from kiro_invoke.model.errors import EngineError, ExitCode
from kiro_invoke.screen import Paper

ADDED = Installed(packages=("docker.io",), complete=True)
DEFAULT = Address(DEFAULT_ADDRESS, "default")
ADA = Person("ada", 1000, private_group=True)
STAFF = Person("ada", 50)
MEMBER = Person("ada", 50, docker_member=True, docker_now=True)


@pytest.fixture
def surface(tmp_path: Path) -> Surface:
    out, err = (Paper(lambda: Console(file=io.StringIO())) for _ in range(2))
    return Surface(out, err, {}, tmp_path, None)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was done to engines; nothing is done for real."""
    seen: dict[str, Any] = {}

    def start(started: Daemon, *, answers: Callable[[], bool], **options: Any) -> None:
        seen.update(options, daemon=started, answered=answers())

    monkeypatch.setattr(opening, "locate", lambda *_: DEFAULT)
    monkeypatch.setattr(docker, "answers", lambda _address: False)
    monkeypatch.setattr(docker, "connect", lambda _address, _run, *, ours, known: seen.update(ours=ours))
    monkeypatch.setattr(installed, "read_state", lambda *_: ADDED)
    monkeypatch.setattr(installer, "install", lambda *_: pytest.fail("installed"))
    monkeypatch.setattr(daemon, "start", start)
    monkeypatch.setattr(os, "access", lambda *_: True)
    return seen


@pytest.mark.parametrize("ours", [True, False])
def test_an_engine_is_ours_by_what_dpkg_noted_not_by_the_state_alone(
    surface: Surface, engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    monkeypatch.setattr(ownership, "is_ours", lambda _added: ours)
    opening.open_engine(surface, setup=False)
    assert engines == {"ours": ours}


def test_an_engine_that_took_the_place_of_ours_is_not_started(
    surface: Surface, engines: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dockerd").touch()
    monkeypatch.setattr(ownership, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(ownership, "FILE_LIST", tmp_path / "none")
    for attempt in (
        lambda: opening.open_engine(surface, setup=True),
        lambda: bringing.setup_lines(surface, DEFAULT),
    ):
        with pytest.raises(EngineError, match="kiro did not install"):
            attempt()
    assert engines == {}


# -- who may use it -----------------------------------------------------------------------------------


def test_a_socket_that_this_user_may_not_open_is_told(
    surface: Surface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "socket").touch()
    address = Address(f"unix://{tmp_path}/socket", "default")
    monkeypatch.setattr(opening, "locate", lambda *_: address)
    monkeypatch.setattr(os, "access", lambda *_: False)
    for attempt in (
        lambda: opening.open_engine(surface, setup=True),
        lambda: opening.open_engine(surface, setup=False),
        lambda: bringing.setup_lines(surface, address),
    ):
        with pytest.raises(EngineError, match=f"you may not use the engine at {address.url}") as caught:
            attempt()
        assert "sudo usermod -aG docker $USER" in str(caught.value.fix)
        assert caught.value.code == ExitCode.NO_ENGINE


def test_a_folder_that_this_user_may_not_enter_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(EngineError, match="may not use"):
        opening.check_permitted(DEFAULT)


@pytest.mark.parametrize("url", ["unix:///nowhere/socket", "tcp://127.0.0.1:1", "ssh://host"])
def test_what_is_not_here_is_not_forbidden(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    opening.check_permitted(Address(url, "default"))


# -- how ours is started ------------------------------------------------------------------------------


def begin(monkeypatch: pytest.MonkeyPatch, person: Person, *, uid: int = 1000, systemd: bool = False) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(installer, "person", lambda: person)
    monkeypatch.setattr(bringing, "_has_systemd", lambda: systemd)
    bringing._start(DEFAULT, True)


@pytest.mark.parametrize(("person", "arguments"), [(ADA, ("--group", "1000")), (MEMBER, ())])
def test_through_sudo_the_user_gets_the_socket(
    engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch, person: Person, arguments: tuple[str, ...]
) -> None:
    begin(monkeypatch, person)
    assert engines["daemon"].arguments == arguments
    assert engines["daemon"].log == Path("~/.local/state/kiro-invoke/dockerd.log").expanduser()
    assert engines["sudo"]


def test_through_sudo_nobody_else_gets_the_socket(
    engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="share your primary group") as caught:
        begin(monkeypatch, STAFF)
    assert "sudo kiro setup" in str(caught.value.fix)
    assert engines == {}


def test_with_systemd_the_login_must_know_the_group(
    engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is started, and not waited for in vain."""
    with pytest.raises(EngineError, match="installed and started") as caught:
        begin(monkeypatch, ADA, systemd=True)
    assert "newgrp docker" in str(caught.value.fix)
    assert engines["answered"]


def test_with_systemd_a_member_goes_on(engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch, MEMBER, systemd=True)
    assert not engines["answered"], "the engine itself is asked"


def test_root_starts_it_as_it_is(engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch, STAFF, uid=0)
    assert engines["daemon"] == bringing.OUR_DAEMON
    assert not engines["sudo"]
