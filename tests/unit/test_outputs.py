"""`--output FILE`: by extension, checked before any work, written whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kiro_invoke.commands.outputs import check_outputs, write_outputs
from kiro_invoke.model.errors import KiroError, UsageError

KNOWN = (".json", ".md")


def test_files_are_found_from_the_folder_on(tmp_path: Path) -> None:
    absolute = tmp_path / "b.MD"
    assert check_outputs(["a.json", str(absolute)], KNOWN, folder=tmp_path) == (tmp_path / "a.json", absolute)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a.pdf", "tells no format"),
        ("a", "tells no format"),
        (".json", "tells no format"),
        ("", "tells no format"),
        ("-", "tells no format"),
        ("folder.json", "is a folder"),
        ("file/a.json", "file is no folder"),
        ("a\x1b[2J.pdf", '"a.pdf"'),
    ],
)
def test_what_cannot_be_meant_is_told_before_any_work(tmp_path: Path, given: str, said: str) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=said) as caught:
        check_outputs(["good.json", given], KNOWN, folder=tmp_path)
    assert caught.value.fix
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]


def counting(text: str, asked: list[str]) -> Callable[[], str]:
    def make() -> str:
        asked.append(text)
        return text

    return make


def test_each_text_is_made_once_and_only_if_it_is_asked_for(tmp_path: Path) -> None:
    asked: list[str] = []
    paths = (tmp_path / "a.json", tmp_path / "new/deep/b.JSON")
    write_outputs(paths, {".json": counting("{}", asked), ".md": counting("# x", asked)})
    assert [path.read_text() for path in paths] == ["{}", "{}"]
    assert asked == ["{}"]


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 300}.json"
    with pytest.raises(KiroError, match=r"cannot be written: File name too long") as caught:
        write_outputs((path,), {".json": lambda: "{}"})
    assert caught.value.file == str(path)


def test_a_folder_that_takes_no_file_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        check_outputs(["/proc/r.md"], [".md"], folder=tmp_path)
