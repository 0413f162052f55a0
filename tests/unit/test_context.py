"""Which files are a context: patterns as BuildKit reads them, the ignore file, the walk.

What the engine says to all of it: tests/docker/test_context.py.
"""

from __future__ import annotations

import os
import random
import socket
import stat
from pathlib import Path

import pytest

from kiro_invoke.changes.context import Rules, rules_of, walk
from kiro_invoke.changes.patterns import BadPattern, Matcher, read_patterns
from kiro_invoke.model.errors import ConfigError
from tests.support.trees import ordinary_folder, random_ignore_file, random_tree, write_tree


def rules(text: str) -> Rules:
    return Rules(read_patterns(text.encode(errors="surrogateescape")))


def sent(root: Path, given: Rules, skip: Path | None = None) -> set[str]:
    """What a walk finds: folders with a `/` at their end."""
    return {
        path
        for folder in walk(root, given, skip=skip)
        for path in (folder.prefix, *(folder.prefix + name for name, _ in folder.entries))
        if path
    }


@pytest.mark.parametrize(
    ("text", "path", "goes"),
    [
        ("a", "a", False),
        ("a", "b/a", True),
        ("a", "a/b/c", False),
        ("/a/", "a/b", False),
        ("./x/../a", "a", False),
        ("../a", "a", True),
        ("*.md", "b/x.md", True),
        ("**/*.md", "b/c/x.md", False),
        ("**/*.md", "x.md", False),
        ("**x", "a/box", False),
        ("**/x", "a/box", True),
        ("a/**", "a", True),
        ("a/**", "a/b/c", False),
        ("a/**/c", "a/c", False),
        ("a/**/c", "a/b/b/c", False),
        ("*", ".hidden", False),
        ("*\n!b", "b/c/d", True),
        ("*\n!b/c", "b/x", False),
        ("*\n!b/c", "b/c/d", True),
        ("!a\na", "a", False),
        ("a\n!a/b\na", "a/b", True),
        ("**\n!*.c", "d/x.c", False),
        (" a \t", "a", False),
        (" #a", "#a", False),
        ("#a", "#a", True),
        ("\ufeffa", "a", False),
        ("a\r\nb\r\n", "b", False),
        ("! a", "a", True),
        ("*\n! a", "a", True),
        ("[a-c]x", "bx", False),
        ("[^a-c]x", "bx", True),
        ("[!a]x", "!x", False),
        ("[[:digit:]]", "7", False),
        ("[^[:digit:]]", "7", True),
        ("[[:^digit:]x]", "7", True),
        (r"[\d]", "7", False),
        (r"[^\D7]", "7", True),
        (r"[^\D7]", "8", False),
        (r"\*", "*", False),
        (r"\*", "x", True),
        (r"\x41", "A", False),
        (r"\101", "A", False),
        ("a?c", "aéc", False),
        ("a?c", "a/c", True),
        ("a?c", "a\nc", False),
        ("a**c", "a\nc", True),
        ("x\ufffd*", "x\udcff", False),
        # patternmatcher forgets to escape these: `a|b*` is "begins with a, or ends with b..."
        ("a*|b", "another", False),
        ("z*|b", "a/b", False),
        ("a{2}*", "aab", False),
        ("a{2}*", "ab", True),
        ("{a}*", "{a}b", False),
        ("x{0}*", "y", False),
        ("a+(b)$*", "a+(b)$c", False),
        ("a^b*", "a^bc", True),
        ("/", "a", True),
        (".", "a", True),
        ("/!a", "a", True),
    ],
)
def test_a_path_is_judged_as_buildkit_does(text: str, path: str, goes: bool) -> None:
    assert rules(text).lets_through(path) is goes


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n!", 2),
        ("!/", 1),
        ("a[", 1),
        ("[]a]", 1),
        ("[a-]", 1),
        ("[b-a]*", 1),
        ("a\\", 1),
        ("a/*\\", 1),
        ("\\é", 1),
        ("\\p*", 1),
        ("[[:letters:]]", 1),
        ("*{2}", 1),
        ("a{2,1}*", 1),
        ("a{1001}*", 1),
        ("\n\nx*[", 3),
        ("a" * 70_000, 1),
    ],
)
def test_a_pattern_that_no_build_takes_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(BadPattern):
        rules(text)
    (tmp_path / ".dockerignore").write_text(text)
    with pytest.raises(ConfigError) as refused:
        rules_of(tmp_path, tmp_path / "Dockerfile")
    assert refused.value.place == f"{tmp_path}/.dockerignore:{line}"


def test_what_only_looks_malformed_is_taken() -> None:
    """Go looks at a pattern only until it no longer fits: people write such brackets, and builds take them."""
    assert not rules("src/*[_-]test.js").lets_through("src/a_test.js")
    assert not rules("src/*[-_]test.js").lets_through("src/a-test.js")


def test_the_quick_test_agrees_with_the_slow_one() -> None:
    """A path that no pattern matches by itself is judged as its folder is, whatever is random."""
    chance = random.Random(7)
    judged = 0
    for _ in range(400):
        try:
            matcher = Matcher(read_patterns(random_ignore_file(chance).encode()))
        except BadPattern:
            continue
        for path in random_tree(chance):
            folder = matcher.start
            parts = path.rstrip("/").split("/")
            for depth, name in enumerate(parts):
                here = "/".join(parts[: depth + 1])
                exact, names, matches = matcher.level(depth)
                judgement = matcher.judge(here, folder)
                if not (here in exact or name in names or matches(here)):
                    assert judgement == folder
                    judged += 1
                folder = judgement
    assert judged > 1000


def test_the_walk_agrees_with_the_judgement_of_single_paths(tmp_path: Path) -> None:
    chance = random.Random(8)
    for number in range(60):
        root = tmp_path / str(number)
        root.mkdir()
        write_tree(root, random_tree(chance))
        try:
            given = rules(random_ignore_file(chance))
        except BadPattern:
            continue
        files = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
        assert {path for path in sent(root, given) if not path.endswith("/")} == {
            path for path in files if given.lets_through(path)
        }


def test_excluded_folders_are_not_looked_into_unless_something_may_come_back(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/x", "b/x", "b/c/x", "b/d/e/x"])
    opened: list[object] = []
    found = os.open

    def watch(path: str, *args: int, **kwargs: int) -> int:
        opened.append(path)
        return found(path, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", watch)
        assert sent(tmp_path, rules("a\nb\n!b/d/e")) == {"b/", "b/d/", "b/d/e/", "b/d/e/x"}
    assert opened == [tmp_path, "b", "d", "e"]


def test_empty_folders_belong_to_it_and_excluded_ones_only_for_what_is_in_them(tmp_path: Path) -> None:
    write_tree(tmp_path, ["empty/", "out/deep/", "out/keep/er/", "out/x"])
    assert sent(tmp_path, rules("out\n!out/keep")) == {"empty/", "out/", "out/keep/", "out/keep/er/"}
    assert sent(tmp_path, rules("out\n!out/none")) == {"empty/"}


def test_only_files_and_links_have_a_place_in_it(tmp_path: Path) -> None:
    write_tree(tmp_path, ["file", "link -> ../elsewhere", "loop -> .", "folder/"])
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    assert sent(tmp_path, Rules()) == {"file", "link", "loop", "folder/"}


def test_the_state_folder_is_left_out(tmp_path: Path) -> None:
    write_tree(tmp_path, [".kiro/x", "a/.kiro/x"])
    (tmp_path.parent / "alias").unlink(missing_ok=True)
    (tmp_path.parent / "alias").symlink_to(tmp_path)
    for root in (tmp_path, tmp_path.parent / "alias"):
        for state in (tmp_path, tmp_path.parent / "alias"):
            assert sent(root, Rules(), skip=state / ".kiro") == {"a/", "a/.kiro/", "a/.kiro/x"}


def test_statuses_are_those_of_the_entries_themselves(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/link -> x", "a/x"])
    (tmp_path / "a").chmod(0o750)
    top, inner = walk(tmp_path, Rules())
    assert (top.path, inner.path, inner.mode) == ("", "a", 0o750)
    kinds = {name: stat.S_IFMT(status.st_mode) for name, status in inner.entries}
    assert kinds == {"link": stat.S_IFLNK, "x": stat.S_IFREG}


def test_a_folder_that_is_replaced_by_a_link_meanwhile_is_not_followed(tmp_path: Path) -> None:
    write_tree(tmp_path, ["in/a/x", "in/b/x", "secret/x"])
    seen = []
    for folder in walk(tmp_path / "in", Rules()):
        seen.append(folder.path)
        for name in ("a", "b"):
            if len(seen) == 1:
                (tmp_path / "in" / name).rename(tmp_path / f"moved-{name}")
                (tmp_path / "in" / name).symlink_to(tmp_path / "secret")
    assert seen == [""]


def test_an_unreadable_folder_is_named_with_the_cure() -> None:
    with ordinary_folder() as folder:
        write_tree(folder, ["a/x"])
        (folder / "a").chmod(0)
        with pytest.raises(ConfigError, match="cannot be read: Permission denied") as refused:
            sent(folder, Rules())
        assert refused.value.file == str(folder / "a")
        assert refused.value.fix == "make it readable, or name it in .dockerignore"
        assert sent(folder, rules("a\n!a/x")) == set()


def test_an_ignore_file_that_cannot_be_read_is_named() -> None:
    with ordinary_folder() as folder:
        (folder / ".dockerignore").write_text("a")
        (folder / ".dockerignore").chmod(0)
        with pytest.raises(ConfigError, match=r"\.dockerignore: cannot be read"):
            rules_of(folder, folder / "Dockerfile")


def test_the_own_ignore_file_wins_even_when_empty(tmp_path: Path) -> None:
    dockerfile = tmp_path / "docker/Dockerfile"
    write_tree(tmp_path, ["docker/Dockerfile"])
    assert rules_of(tmp_path, dockerfile) == Rules()
    (tmp_path / ".dockerignore").write_text("a")
    assert rules_of(tmp_path, dockerfile).file == tmp_path / ".dockerignore"
    assert not rules_of(tmp_path, dockerfile).is_own
    own = tmp_path / "docker/Dockerfile.dockerignore"
    own.write_text("")
    assert rules_of(tmp_path, dockerfile) == Rules((), own, is_own=True)


@pytest.mark.parametrize(
    ("link", "excludes"),
    [
        ("conf/i", True),
        ("/conf/i", True),
        ("conf/again", True),
        ("../../conf/i", True),
        ("conf/../conf/i", True),
        ("loop", False),
        ("..", False),
    ],
)
def test_a_link_to_the_ignore_file_stays_within_the_context(
    tmp_path: Path, link: str, excludes: bool
) -> None:
    write_tree(tmp_path, ["conf/i", "conf/again -> /conf/i", "loop -> loop"])
    (tmp_path / "conf/i").write_text("a")
    (tmp_path / ".dockerignore").symlink_to(link)
    assert rules_of(tmp_path, tmp_path / "Dockerfile").lets_through("a") is not excludes
