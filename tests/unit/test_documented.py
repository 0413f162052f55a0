"""What the documentation tells a person to type: every task, option, target and file in it is there.

tests/long/test_documented.py runs it.
"""

from __future__ import annotations

import subprocess

import pytest
from invoke.parser import Parser

from kiro_invoke import ns
from tests.support.documented import FILES, NOT_RUN, Documented, documented
from tests.support.engine import ROOT

COMMANDS = [command for file in FILES for command in documented(file)]
_KIRO = ("kiro", "invoke", ".venv/bin/kiro", ".venv/bin/invoke")


def simple(*programs: str) -> list[tuple[str, ...]]:
    """The distinct words after these programs."""
    found = (words for command in COMMANDS for words in command.simple)
    return list(dict.fromkeys(words[1:] for words in found if words[0] in programs))


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 90
    assert {"README.md", "docs/adopting.md", "docs/guide.md"} <= {command.file for command in COMMANDS}


@pytest.mark.parametrize("words", simple(*_KIRO), ids=" ".join)
def test_a_task_has_each_option(words: tuple[str, ...]) -> None:
    if words[0] == "--print-completion-script":
        return
    (context,) = Parser(contexts=ns.to_contexts()).parse_argv(list(words))
    assert context.name == words[0]


@pytest.mark.parametrize("words", simple("make"), ids=" ".join)
def test_a_target_is_there(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.place)
def test_each_file_of_this_repository_is_there(command: Documented) -> None:
    for words in command.simple:
        for word in words:
            if (
                word.startswith(("backend/", "frontend/", "scripts/", "docs/", "tests/"))
                and "/target" not in word
            ):
                assert (ROOT / word).exists(), command.place


def test_what_is_not_run_is_documented_all_the_same() -> None:
    assert {command.typed for command in COMMANDS} >= set(NOT_RUN)


def test_a_command_goes_on_behind_a_pipe() -> None:
    command = Documented("x.md", 1, "A=b kiro build --print | docker buildx bake -f - 2>&1 && ls  # both")
    assert command.simple == (
        ("kiro", "build", "--print"),
        ("docker", "buildx", "bake", "-f", "-", "2"),
        ("ls",),
    )
    assert command.typed == "A=b kiro build --print | docker buildx bake -f - 2>&1 && ls"
