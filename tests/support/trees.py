"""Trees for tests: written from a description, listed with all that a build can see of them."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Names that patterns, encodings and shells make something of.
NAMES = (
    "a", "b", "c", "ab", "a.b", "foo", "foo.c", "é", "x y", ".git", ".x", "a*b", "[x]", "a\\b", "!a", "#a", "1",
    "_", "-", "a+b", "(a)", "$", "^a", "{a}", "A", "\n", "a\nb", "n\udcff",
)  # fmt: skip


def write_tree(root: Path, paths: Iterable[str]) -> None:
    """Make each path with its folders: a folder if it ends with `/`, a link for `name -> text`, else a file.

    With the usual modes, whatever the umask.
    """
    for path in paths:
        link, arrow, text = path.partition(" -> ")
        place = root / link
        _make_folder(place if path.endswith("/") else place.parent)
        if arrow:
            place.symlink_to(text)
        elif not path.endswith("/"):
            place.write_text(f"content of {path}", errors="surrogateescape")
            place.chmod(0o644)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def listing(root: Path) -> dict[str, tuple[str, int, str]]:
    """Everything beneath a folder: path -> kind, permission bits, and the content's hash or the link's text."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            value = ""
            if stat.S_ISLNK(mode):
                value = str(path.readlink())
            elif stat.S_ISREG(mode):
                value = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(root))] = (chr(stat.S_IFMT(mode) >> 12), stat.S_IMODE(mode), value)
    return found


def random_tree(chance: random.Random) -> list[str]:
    """Paths for `write_tree`, at least one level deep, folders without files among them."""
    taken: dict[str, bool] = {}
    for _ in range(chance.randint(3, 12)):
        parts = [chance.choice(NAMES) for _ in range(chance.randint(1, 4))]
        above = ["/".join(parts[:number]) for number in range(1, len(parts))]
        path = "/".join(parts)
        if path not in taken and not any(taken.get(one) for one in above):
            taken.update(dict.fromkeys(above, False))
            taken[path] = chance.random() < 0.9
    return [path if is_file else f"{path}/" for path, is_file in taken.items()]


def random_ignore_file(chance: random.Random) -> str:
    """One to five patterns: some as people write them, some of pieces thrown together."""
    return "\n".join(_random_pattern(chance) for _ in range(chance.randint(1, 5))) + chance.choice(
        ["", "\n", "\r\n"]
    )


_PIECES = (
    "*", "**", "**/", "/", "a", "b", "foo", ".c", "?", "[a-c]", "[^a]", "[!a]", "\\", "\\*", "!", "#", " ", ".",
    "..", "é", "[*]", "-", "]", "ab", "^", "$", "+", "\\d", "[[:alpha:]]", "(a)", "{a}", "{2}", "|", "x|y",
)  # fmt: skip


def _random_pattern(chance: random.Random) -> str:
    if chance.random() < 0.7:
        words = (*NAMES[:19], "*", "**", "a*", "?", "*.c")
        text = "/".join(chance.choice(words) for _ in range(chance.randint(1, 3)))
        text = chance.choice(["", "", "", "/"]) + text + chance.choice(["", "", "", "/"])
    else:
        text = "".join(chance.choice(_PIECES) for _ in range(chance.randint(1, 5)))
    return chance.choice(["", "", "!"]) + text


@contextmanager
def ordinary_folder() -> Iterator[Path]:
    """A folder of somebody who is not root, for whom permission bits count; the test is that user meanwhile."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="kiro-test-"))
    nobody = 65534
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.chown(folder, nobody, nobody)
            os.setegid(nobody)
            os.seteuid(nobody)
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(0)
        for path, folders, _ in os.walk(folder):
            for name in folders:
                if not Path(path, name).is_symlink():
                    Path(path, name).chmod(0o700)
        shutil.rmtree(folder)
