"""Marks by which what was written is known again, whatever else is lost: a line before a whole file, lines around a
block. Each holds the version that wrote it and a hash of what it wrote, so that what a person changed since is seen.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_WHOLE = re.compile(
    r"(?P<comment>#|//) Written by kiro init (?P<version>\S+) \((?P<hash>[0-9a-f]{16})\):"
    r" `kiro init --upgrade` renews this file, `kiro uninstall` removes it\.\n"
)
_BLOCK = re.compile(
    r"(?P<joined>\n?)^(?P<comment>#|//) >>> kiro init (?P<version>\S+) "
    r"\((?P<hash>[0-9a-f]{16})(?P<bare>, no newline before)?\)\n"
    # what begins anew before it ended has lost its end: what follows there is a person's
    r"(?P<body>(?:(?!(?:#|//) >>> kiro init )[^\n]*\n)*?)(?P=comment) <<< kiro init\n",
    re.MULTILINE,
)
_BEGUN = re.compile(r"^(?:#|//) >>> kiro init \S+ \([0-9a-f]{16}[^)]*\)\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Mark:
    """What a mark tells: the version that wrote, and whether what it wrote is as it was."""

    version: str
    intact: bool
    body: str


def whole(text: str, version: str, comment: str = "#") -> str:
    """A whole file's text with its mark."""
    return (
        f"{comment} Written by kiro init {version} ({_hash(text)}): `kiro init --upgrade` renews this file,"
        f" `kiro uninstall` removes it.\n{text}"
    )


def whole_mark(text: str) -> Mark | None:
    """The mark of a whole file; None where it is a person's own."""
    plain = text.replace("\r\n", "\n")
    match = _WHOLE.match(plain)
    if match is None:
        return None
    body = plain[match.end() :]
    return Mark(match["version"], _hash(body) == match["hash"], body)


def is_marked(text: str) -> bool:
    """Whether anything in a file was written by init."""
    return whole_mark(text) is not None or block_mark(text) is not None


def with_block(text: str, body: str, version: str, comment: str = "#") -> str:
    """A person's file with a block at its end, the rest of it as it was; in place of the block that it has."""
    end = "\r\n" if _is_crlf(text) else "\n"
    before = without_block(text)
    bare = bool(before) and not before.endswith("\n")
    flag = ", no newline before" if bare else ""
    block = f"{comment} >>> kiro init {version} ({_hash(body)}{flag})\n{body}{comment} <<< kiro init\n"
    return f"{before}{end if bare else ''}{block.replace(chr(10), end)}"


def block_mark(text: str) -> Mark | None:
    """The mark of the block in a file; None where there is none."""
    match = _BLOCK.search(text.replace("\r\n", "\n"))
    if match is None:
        return None
    return Mark(match["version"], _hash(match["body"]) == match["hash"], match["body"])


def is_damaged(text: str) -> bool:
    """Whether a block begins in a file that has no end: nobody knows which of the lines below are a person's."""
    return _BEGUN.search(without_block(text)) is not None


def without_block(text: str) -> str:
    """A file as it was before a block was put in, byte for byte."""
    crlf = _is_crlf(text)
    plain = text.replace("\r\n", "\n") if crlf else text
    match = _BLOCK.search(plain)
    if match is None:
        return text
    below = plain[match.end() :]
    start = match.start() + (0 if match["bare"] and not below else len(match["joined"]))
    left = plain[:start] + below
    return left.replace("\n", "\r\n") if crlf else left


def _is_crlf(text: str) -> bool:
    """Whether all lines of a text end as on Windows."""
    return "\r\n" in text and "\n" not in text.replace("\r\n", "")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
