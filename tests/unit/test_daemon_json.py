"""The engine's configuration: a limit put in beside what is there, and taken out again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kiro_invoke.doctor.gc_limit import limits
from kiro_invoke.engine import process
from kiro_invoke.engine.daemon_json import merged, parted, set_gc, take_out
from kiro_invoke.engine.installed import Installed, read_state
from kiro_invoke.engine.privileged import Privileged
from kiro_invoke.engine.protocol import Completed, Run
from kiro_invoke.model.errors import ConfigError, EngineError

GC = limits(200_000_000_000)
THEIRS = '{\n  "registry-mirrors": ["https://mirror.example"],\n  "builder": {"Entitlements": {}}\n}\n'


def test_every_other_key_stays() -> None:
    found = json.loads(merged(THEIRS, GC))
    assert found == {
        "registry-mirrors": ["https://mirror.example"],
        "builder": {"Entitlements": {}, "gc": GC},
    }
    assert [*found] == ["registry-mirrors", "builder"]


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", '{"builder": []}', '{"builder": {"gc": {"enabled": false}}}']
)
def test_a_file_that_is_not_what_it_should_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        merged(text, GC)


@pytest.mark.parametrize("text", [THEIRS, '{"debug": true}', "{}"])
def test_what_was_put_in_is_taken_out(text: str) -> None:
    back = parted(merged(text, GC), json.dumps(GC))
    assert back is not None
    assert json.loads(back) == json.loads(text)


@pytest.mark.parametrize("text", ["{", "{}", '{"builder": 3}', '{"builder": {"gc": {"enabled": true}}}', ""])
def test_what_somebody_changed_since_stays(text: str) -> None:
    assert parted(text, json.dumps(GC)) is None


class Setup:
    """A configuration and a noted setup in a folder; the engine that is asked says `valid`."""

    def __init__(self, folder: Path) -> None:
        self.config, self.state = folder / "etc/daemon.json", folder / "lib/setup.json"
        self.state.parent.mkdir()
        self.state.write_text(json.dumps({"packages": ["docker.io"], "files": ["/etc/x"], "complete": True}))
        self.valid = True
        self.asked: list[str | None] = []

    def run(self) -> Run:
        def run(argv: list[str], *, stdin: str | None = None, **_: object) -> Completed:
            if argv[0] != "dockerd":
                return process.run(argv)
            self.asked.append(stdin)
            return Completed(tuple(argv), 0 if self.valid else 1, "", "" if self.valid else "unknown key\n")

        return run  # type: ignore[return-value]

    def set(self) -> None:
        set_gc(GC, self.run(), sudo=False, path=self.config, state=self.state)

    @property
    def noted(self) -> Installed:
        found = read_state(self.state)
        assert found is not None
        return found


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_a_new_file_is_gone_after_the_undo(setup: Setup) -> None:
    setup.set()
    assert json.loads(setup.config.read_text()) == {"builder": {"gc": GC}}
    assert setup.noted == Installed(("docker.io",), ("/etc/x",), complete=True, gc=json.dumps(GC))
    assert setup.asked == [setup.config.read_text()]
    take_out(setup.noted.gc, Privileged(setup.run(), sudo=False), path=setup.config)
    assert not setup.config.exists()


def test_a_new_file_that_somebody_added_to_keeps_that(setup: Setup) -> None:
    setup.set()
    setup.config.write_text(json.dumps({**json.loads(setup.config.read_text()), "debug": True}))
    take_out(setup.noted.gc, Privileged(setup.run(), sudo=False), path=setup.config)
    assert json.loads(setup.config.read_text()) == {"debug": True}


def test_somebody_s_file_keeps_its_mode_and_gets_back_what_it_was(setup: Setup) -> None:
    setup.config.parent.mkdir()
    setup.config.write_text(THEIRS)
    setup.config.chmod(0o600)
    setup.set()
    assert json.loads(setup.config.read_text())["builder"]["gc"] == GC
    assert setup.config.stat().st_mode & 0o777 == 0o600
    assert setup.noted.files == ("/etc/x",)
    take_out(setup.noted.gc, Privileged(setup.run(), sudo=False), path=setup.config)
    assert json.loads(setup.config.read_text()) == json.loads(THEIRS)
    assert setup.config.stat().st_mode & 0o777 == 0o600


def test_a_broken_file_is_left_as_it_is(setup: Setup) -> None:
    setup.config.parent.mkdir()
    setup.config.write_text("{ broken")
    with pytest.raises(ConfigError, match="not changed"):
        setup.set()
    assert setup.config.read_text() == "{ broken"
    assert setup.noted.gc == ""


def test_what_the_engine_would_not_start_with_is_not_written(setup: Setup) -> None:
    setup.valid = False
    with pytest.raises(EngineError, match="unknown key"):
        setup.set()
    assert not setup.config.exists()


def test_an_engine_that_nobody_noted_is_not_touched(setup: Setup) -> None:
    setup.state.unlink()
    with pytest.raises(EngineError, match="did not install"):
        setup.set()
    assert not setup.config.exists()
