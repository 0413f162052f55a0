"""What stands for the time of a production build."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kiro_invoke.builds.epoch import Epoch, as_arguments, asked_epoch
from kiro_invoke.builds.planner import Profile
from kiro_invoke.engine import git, process
from kiro_invoke.model.errors import UsageError
from tests.unit.build_fakes import recipe, service

PLAIN = recipe("FROM a\nWORKDIR /x\n", service("web"), Profile.PROD)
DECLARED = recipe("FROM a\nARG X SOURCE_DATE_EPOCH\nRUN b\n", service("api"), Profile.PROD)
COMMIT, ASKED = Epoch(7), Epoch(7, is_asked=True)


def given(epoch: Epoch, *, is_heeded: bool, runs_anyway: bool = False) -> set[str]:
    found = as_arguments((PLAIN, DECLARED), epoch, is_heeded=is_heeded, runs_anyway=runs_anyway)
    assert set(found.values()) <= {7}
    return {name for name, _ in found}


def test_a_commit_s_time_is_no_argument_which_would_build_everything_anew_for_each_commit() -> None:
    assert given(COMMIT, is_heeded=False) == {"api"}
    assert given(COMMIT, is_heeded=True) == {"api"}


def test_where_the_builder_ignores_the_output_s_option_it_is_one_if_it_was_asked_for_or_costs_nothing() -> (
    None
):
    assert given(ASKED, is_heeded=False) == {"web", "api"}
    assert given(COMMIT, is_heeded=False, runs_anyway=True) == {"web", "api"}
    assert given(ASKED, is_heeded=True, runs_anyway=True) == {"api"}


def test_kiro_yaml_goes_before_the_environment() -> None:
    assert asked_epoch({"SOURCE_DATE_EPOCH": "5"}, {"SOURCE_DATE_EPOCH": "6"}) == Epoch(6, is_asked=True)
    assert asked_epoch({"SOURCE_DATE_EPOCH": "0"}, {}) == Epoch(0, is_asked=True)
    assert asked_epoch({"SOURCE_DATE_EPOCH": ""}, {}) is None


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "٣"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        asked_epoch({"SOURCE_DATE_EPOCH": text}, {})


def committed(root: Path) -> int | None:
    return git.committed_at(root, process.run)


def test_the_time_of_the_commit_stands_for_a_tree_that_is_as_committed(tmp_path: Path) -> None:
    env = {
        **os.environ,
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "a"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "a@example"),
        "GIT_COMMITTER_DATE": "1700000000 +0100",
    }

    def run(*argv: str) -> None:
        subprocess.run(["git", *argv], cwd=tmp_path, env=env, check=True, capture_output=True)

    assert committed(tmp_path) is None
    run("init", "--quiet")
    assert committed(tmp_path) is None
    (tmp_path / "a").write_text("1")
    (tmp_path / ".gitignore").write_text("ignored\n")
    run("add", ".")
    run("commit", "--quiet", "-m", "one")
    assert committed(tmp_path) == 1_700_000_000
    (tmp_path / "ignored").write_text("x")
    assert committed(tmp_path) == 1_700_000_000
    (tmp_path / "new").write_text("x")
    assert committed(tmp_path) is None
    (tmp_path / "new").unlink()
    (tmp_path / "a").write_text("2")
    assert committed(tmp_path) is None
