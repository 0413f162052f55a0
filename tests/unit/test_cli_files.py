"""What is read of the docker CLI's files, and when what was once found out still holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kiro_invoke.engine import cli_files
from kiro_invoke.engine.cli_files import KnownPlugins, Plugin, chooses_default, read_config


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CLI, a buildx in the user's folder, a folder of the system's without one."""
    monkeypatch.setattr(cli_files, "SYSTEM_FOLDERS", (str(tmp_path / "system"),))
    for name in ("bin/docker", ".docker/cli-plugins/docker-buildx"):
        executable(tmp_path / name)
    return tmp_path


def executable(file: Path, text: str = "one") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def environ(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "PATH": str(home / "bin"), **more}


def configure(home: Path, value: object) -> None:
    (home / ".docker/config.json").write_text(value if isinstance(value, str) else json.dumps(value))


# --- the context


@pytest.mark.parametrize(
    ("config", "chosen"),
    [
        (None, True),
        ({}, True),
        ({"auths": {}, "currentContext": ""}, True),
        ({"currentContext": None}, True),
        ({"currentContext": "default"}, True),
        ({"currentContext": "remote"}, False),
        ("not JSON", False),
        ("[]", False),
    ],
)
def test_the_default_context_is_known_without_the_cli(home: Path, config: object, chosen: bool) -> None:
    if config is not None:
        configure(home, config)
    assert chooses_default(environ(home)) is chosen


@pytest.mark.parametrize("name", ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY"])
def test_what_else_chooses_an_engine_is_left_to_the_cli(home: Path, name: str) -> None:
    assert not chooses_default(environ(home, **{name: "1"}))
    assert chooses_default(environ(home, **{name: ""}))


def test_without_a_cli_or_a_home_nothing_is_known(home: Path) -> None:
    assert not chooses_default(environ(home, PATH=str(home)))
    assert not chooses_default({"PATH": str(home / "bin")})
    assert read_config({}) is None


def test_the_configuration_may_be_elsewhere(home: Path) -> None:
    (home / "other").mkdir()
    (home / "other/config.json").write_text('{"currentContext": "remote"}')
    assert not chooses_default(environ(home, DOCKER_CONFIG=str(home / "other")))


def test_a_configuration_that_cannot_be_read_is_left_to_the_cli(home: Path) -> None:
    (home / ".docker/config.json").mkdir()
    assert not chooses_default(environ(home))


# --- plugins


class Asked:
    """Answers with a newer version each time it is asked."""

    def __init__(self, file: str = "") -> None:
        self.file = file
        self.times = 0

    def __call__(self) -> Plugin:
        self.times += 1
        return Plugin(f"0.{self.times}", self.file)


def ask(home: Path, asked: Callable[[], Plugin], **more: str) -> str:
    return KnownPlugins(home / "state/plugins.json", environ(home, **more)).plugin("buildx", asked).version


def test_what_was_found_out_holds_while_the_files_stay(home: Path) -> None:
    asked = Asked(str(home / ".docker/cli-plugins/docker-buildx"))
    assert [ask(home, asked) for _ in range(3)] == ["0.1"] * 3
    known = KnownPlugins(home / "state/plugins.json", environ(home))
    assert known.plugin("buildx", asked).file == asked.file
    assert known.plugin("compose", asked).version == "0.2"


def replaced_alike(home: Path) -> None:
    """Another file with the same size and time of change, as packages bring them."""
    file = home / ".docker/cli-plugins/docker-buildx"
    before = file.stat()
    executable(file.with_name("new"), "two")
    file.with_name("new").replace(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def named_by_the_configuration(home: Path) -> None:
    executable(home / "extra/docker-buildx")
    configure(home, {"cliPluginsExtraDirs": [f"{home}/extra"]})


@pytest.mark.parametrize(
    "change",
    [
        lambda home: executable(home / ".docker/cli-plugins/docker-buildx", "longer"),
        replaced_alike,
        lambda home: executable(home / "bin/docker", "another"),
        lambda home: executable(home / "system/docker-buildx"),
        named_by_the_configuration,
    ],
    ids=["changed", "replaced", "another CLI", "one more", "one that the configuration names"],
)
def test_a_change_of_what_the_cli_would_find_is_a_reason_to_ask(
    home: Path, change: Callable[[Path], object]
) -> None:
    asked = Asked()
    assert ask(home, asked) == "0.1"
    change(home)
    assert [ask(home, asked) for _ in range(2)] == ["0.2"] * 2


def test_what_cannot_be_seen_is_asked_each_time(home: Path) -> None:
    asked = Asked()
    (home / ".docker/cli-plugins/docker-buildx").unlink()
    assert [ask(home, asked) for _ in range(2)] == ["0.1", "0.2"]
    assert [ask(home, asked, PATH="") for _ in range(2)] == ["0.3", "0.4"]
    assert not (home / "state").exists()


def test_a_plugin_that_is_missing_is_not_remembered(home: Path) -> None:
    assert ask(home, lambda: Plugin("")) == ""
    assert ask(home, Asked()) == "0.1"


@pytest.mark.parametrize("text", ["", "[]", '{"buildx": 1}', '{"buildx": {"marks": []}}', "\xff"])
def test_a_damaged_note_is_no_note(home: Path, text: str) -> None:
    (home / "state").mkdir()
    (home / "state/plugins.json").write_text(text, encoding="latin-1")
    assert [ask(home, Asked()), ask(home, Asked())] == ["0.1"] * 2


def test_a_note_cannot_name_a_program_of_its_own(home: Path) -> None:
    """A repository may bring a state folder along: nothing in it is ever started."""
    asked = Asked(str(home / ".docker/cli-plugins/docker-buildx"))
    ask(home, asked)
    note = home / "state/plugins.json"
    executable(home / "evil")
    note.write_text(note.read_text().replace(f'"file": "{asked.file}"', f'"file": "{home}/evil"'))
    assert "evil" in note.read_text()
    known = KnownPlugins(note, environ(home))
    assert known.plugin("buildx", asked) == Plugin("0.2", asked.file)


def test_a_state_folder_that_cannot_be_written_is_no_obstacle(home: Path) -> None:
    (home / "state").write_text("a file")
    assert ask(home, Asked()) == "0.1"


def test_nothing_is_noted_through_a_link(home: Path) -> None:
    (home / "theirs").mkdir()
    (home / "state").symlink_to(home / "theirs")
    asked = Asked()
    assert [ask(home, asked) for _ in range(2)] == ["0.1", "0.2"]
    assert list((home / "theirs").iterdir()) == []
