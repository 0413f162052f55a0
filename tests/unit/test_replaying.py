"""`kiro replay-history`: its lines, its summary, and what it says of lists and repositories that cannot be used."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from kiro_invoke.builds.costs import Costs
from kiro_invoke.commands.replaying import replay_history
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.change import Kind
from kiro_invoke.model.errors import KiroError, UsageError
from kiro_invoke.screen import Paper
from tests.unit.test_replay import FIRST, LOCK, MANIFEST, History, bumped

SCHEMA = Path(__file__).parents[2] / "kiro_invoke" / "schemas" / "replay-history.json"
GONE = "0123456789" * 4


@cache
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


class Asked:
    """A history of five commits, and what the command says of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.history = History(tmp_path / "a repository")
        self.folder = tmp_path
        self.commits = [
            self.history.commit(FIRST),
            self.history.commit({"app/Cargo.toml": bumped(MANIFEST), "app/Cargo.lock": bumped(LOCK)}),
            self.history.commit({"app/tests/api.rs": ""}),
            self.history.commit({"app/Cargo.toml": f'{bumped(MANIFEST)}hex = "0.4"\n'}),
            self.history.commit({"README": "y\n"}),
        ]
        self.out = io.StringIO()

    @property
    def surface(self) -> Surface:
        plain = Console(file=self.out, width=500, color_system=None, highlight=False, markup=False)
        return Surface(Paper(lambda: plain), Paper(lambda: plain), {}, self.folder, None)

    def answer(self, *, root: str = "app", repo: str = "a repository", **options: str) -> Answer:
        given: dict[str, str | None] = {"ecosystem": None, "commits": None, "last": None, **options}
        return replay_history(repo, root, **given)(self.surface)

    def rows(self, **options: str) -> list[dict[str, Any]]:
        found = [json.loads(json.dumps(row)) for row in self.answer(**options).rows()]
        for row in found:
            validator().validate(row)
        return found

    def text(self, **options: str) -> list[str]:
        self.answer(**options).show(self.surface)
        return self.out.getvalue().splitlines()


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_a_line_for_each_commit_newest_first(asked: Asked) -> None:
    rows = asked.rows()
    assert [row["commit"] for row in rows] == asked.commits[::-1]
    assert [(row["kind"], row["dependency"], row["glob_rule_dependency"]) for row in rows] == [
        ("IGNORED", False, False),
        ("DEPENDENCY", True, True),
        ("DEPENDENCY", True, False),
        ("SOURCE", False, True),
        ("DEPENDENCY", True, True),
    ]
    assert rows[1]["cause"] == "Cargo.toml: dependency `hex` added"


def test_the_last_ones_only(asked: Asked) -> None:
    assert [row["commit"] for row in asked.rows(last="2")] == asked.commits[:-3:-1]


def test_a_bare_repository_gives_the_same(asked: Asked) -> None:
    asked.history.git(
        "clone", "--quiet", "--bare", str(asked.history.folder), str(asked.folder / "bare"), place=False
    )
    assert asked.rows(repo="bare") == asked.rows()


def test_listed_commits_in_their_order(asked: Asked) -> None:
    (asked.folder / "some").write_text(f"# these\n{asked.commits[1]} and why\n\n{asked.commits[3]}\n")
    assert [row["commit"] for row in asked.rows(commits="some")] == [asked.commits[1], asked.commits[3]]


def test_a_missing_commit_is_told_and_the_code_is_1(asked: Asked) -> None:
    (asked.folder / "some").write_text(f"{asked.commits[1]}\n{GONE}\n")
    answer = asked.answer(commits="some")
    rows = list(answer.rows())
    validator().validate(rows[1])
    assert (rows[1]["commit"], rows[1]["kind"], rows[1]["dependency"]) == (GONE, None, None)
    assert GONE in rows[1]["cause"]
    assert callable(answer.exit_code)
    assert answer.exit_code() == 1
    assert any(GONE in line for line in asked.text(commits="some"))


def test_all_there_is_0(asked: Asked) -> None:
    answer = asked.answer()
    list(answer.rows())
    assert callable(answer.exit_code)
    assert answer.exit_code() == 0


def test_the_summary_counts(asked: Asked) -> None:
    lines = asked.text()
    assert lines[0].startswith("a repository, app (cargo): 5 commits in ")
    assert [line.split()[-2:] for line in lines[1:3]] == [["3", "(60.0%)"], ["3", "(60.0%)"]]
    assert "1 (33.3% of its rebuilds)" in lines[3]
    assert "1 (33.3% of what is rebuilt)" in lines[4]
    assert "time saved: not known" in lines[5]


def test_time_saved_by_what_was_measured_here(asked: Asked) -> None:
    costs = Costs()
    for seconds in (80.0, 90.0, 100.0):
        costs = costs.with_build("cargo", Kind.DEPENDENCY, seconds)
    costs = costs.with_build("cargo", Kind.SOURCE, 3.0)
    write_whole(asked.folder / ".kiro" / "costs.json", json.dumps(costs.seconds))
    (asked.folder / "kiro.yaml").write_text("")
    assert asked.text()[-1].strip() == (
        "time saved: 1 x (90.0 s - 3.0 s) = 1 min 27 s "
        "(as builds cost here: medians of 3 and 1 measured in this project)"
    )


def test_the_newest_builds_count(asked: Asked) -> None:
    costs = Costs()
    for seconds in range(200):
        costs = costs.with_build("cargo", Kind.SOURCE, seconds)
    assert (costs.count("cargo", Kind.SOURCE), costs.median("cargo", Kind.SOURCE)) == (50, 174.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"last": "0"}, "no number of commits"),
        ({"last": "-3"}, "no number of commits"),
        ({"last": "²"}, "no number of commits"),
        ({"last": "3", "commits": "some"}, "are given"),
        ({"commits": "nothing"}, "cannot be read"),
        ({"commits": "empty"}, "lists no commit"),
        ({"commits": "option"}, "no commit"),
        ({"repo": "nowhere"}, "no such folder"),
        ({"repo": "."}, "not a git repository"),
        ({"root": "elsewhere"}, "no manifest"),
        ({"root": "../app"}, "no folder of the repository"),
        ({"root": "/app"}, "no folder of the repository"),
        ({"root": ""}, "no manifest"),
        ({"ecosystem": "maven"}, "not known"),
    ],
)
def test_what_cannot_be_meant(asked: Asked, options: dict[str, str], said: str) -> None:
    (asked.folder / "empty").write_text("# nothing\n")
    (asked.folder / "option").write_text("ok\n--batch\n")
    (asked.folder / "some").write_text(asked.commits[0])
    with pytest.raises(UsageError, match=said) as caught:
        asked.rows(**options)
    assert caught.value.fix


def test_a_folder_of_the_repository_is_the_services(asked: Asked) -> None:
    assert asked.rows(repo="a repository/app", root="") == asked.rows()


def test_the_folders_that_are_likely_meant_are_named(asked: Asked) -> None:
    with pytest.raises(UsageError) as caught:
        asked.rows(root="")
    assert "--root (app)" in str(caught.value)


def test_doubts_are_counted_by_themselves(asked: Asked) -> None:
    asked.history.commit({"app/Cargo.toml": "[package"})
    asked.history.commit({"app/Cargo.toml": MANIFEST})
    lines = asked.text()
    assert lines[2].split()[-2] == "3"
    assert lines[3].split()[-2:] == ["2", "(28.6%)"]


def test_the_cause_is_what_a_manifest_says(asked: Asked) -> None:
    asked.history.commit({"app/CHANGELOG": "x", "app/Cargo.toml": f"{MANIFEST}# x\n", "app/Cargo.lock": LOCK})
    asked.history.commit({"app/CHANGELOG": "y", "app/Cargo.toml": f"{MANIFEST}# y\n"})
    row = asked.rows(last="1")[0]
    assert (row["kind"], row["glob_rule_dependency"]) == ("SOURCE", True)
    assert row["cause"].startswith("Cargo.toml: ")


def test_a_shallow_clone_is_told_and_is_no_failure(asked: Asked) -> None:
    url = f"file://{asked.history.folder}"
    asked.history.git("clone", "--quiet", "--depth=2", url, str(asked.folder / "shallow"), place=False)
    answer = asked.answer(repo="shallow")
    assert [row["kind"] for row in answer.rows()] == ["IGNORED", None]
    assert callable(answer.exit_code)
    assert answer.exit_code() == 0
    assert "git fetch --unshallow" in asked.text(repo="shallow")[-1]


def test_a_repository_without_commits(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.history.git("init", "--quiet", str(tmp_path / "empty one"), place=False)
    with pytest.raises(KiroError, match="has no commit yet"):
        asked.rows(repo="empty one")
