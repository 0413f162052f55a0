"""What a check came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """PROBLEM: builds are slower, or wrong, for it. NOTE: worth to know. SKIPPED: it could not be told."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One thing that a check found: on what evidence, what to do ("" where nothing is), and where (1-based line)."""

    check: str
    verdict: Verdict
    evidence: str
    cure: str = ""
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`file:line`, `file` or ""."""
        return f"{self.file}:{self.line}" if self.line else self.file


def ok(check: str, evidence: str) -> Finding:
    return Finding(check, Verdict.OK, evidence)


def skipped(check: str, why: str) -> Finding:
    return Finding(check, Verdict.SKIPPED, why)


def note(check: str, evidence: str, cure: str = "", *, file: str = "", line: int = 0) -> Finding:
    return Finding(check, Verdict.NOTE, evidence, cure, file, line)


def problem(check: str, evidence: str, cure: str, *, file: str = "", line: int = 0) -> Finding:
    return Finding(check, Verdict.PROBLEM, evidence, cure, file, line)
