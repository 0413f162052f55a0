"""A tree with all that a listing can get wrong, and the revision of a tree by its definition."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def revision_of(tree: Path, *left_out: bytes) -> str:
    """The revision by its definition, told once more in another language."""
    entries = []
    for path in tree.rglob("*"):
        relative = os.fsencode(path.relative_to(tree))
        if relative.split(b"/")[0] in left_out:
            continue
        if path.is_symlink():
            entries.append((relative, b"l", os.fsencode(path.readlink())))
        elif path.is_file():
            kind = b"x" if path.stat().st_mode & 0o111 else b"f"
            entries.append((relative, kind, hashlib.sha256(path.read_bytes()).hexdigest().encode()))
    text = b"".join(path + b"\0" + kind + value + b"\0" for path, kind, value in sorted(entries))
    return f"kiro-revision-{hashlib.sha256(text).hexdigest()}"


def odd_tree(place: Path) -> Path:
    """Names and kinds that a listing can get wrong."""
    tree = place / "odd"
    for folder in ("a", "a-b", "a.b", "a/b", "empty", "node_modules/x", "deep/node_modules"):
        (tree / folder).mkdir(parents=True)
    names = [
        "a/z",
        "a-b/1",
        "a.b/1",
        "a/b/c",
        "A",
        "a b",
        "new\nline",
        "ä",
        "node_modules/x/y",
        "deep/node_modules/z",
    ]
    for number, name in enumerate(names):
        (tree / name).write_text(f"{number}\r\n")
    for raw in (b"\xff\xfe", b"\xc3(", b"\xf0\x9f\x98\x80", b"\xef\xbf\xbf"):
        (tree / os.fsdecode(raw)).write_bytes(raw)
    (tree / "large").write_bytes(bytes(range(256)) * 10_000)
    (tree / "none").touch()
    for number, mode in enumerate((0o755, 0o654, 0o645, 0o444)):
        (tree / f"mode{number}").touch(mode=0o600)
        (tree / f"mode{number}").chmod(mode)
    (tree / "to a folder").symlink_to("a")
    (tree / "to nothing").symlink_to("nowhere")
    (tree / "to raw bytes").symlink_to(os.fsdecode(b"\xff/.."))
    os.mkfifo(tree / "pipe")
    return tree
