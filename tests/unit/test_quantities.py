"""Sizes and ages as they are given, and amounts as they are told."""

from __future__ import annotations

import pytest

from kiro_invoke.config.quantities import age_of, size_of
from kiro_invoke.model.amounts import told_bytes


@pytest.mark.parametrize(
    ("text", "bytes"),
    [
        ("0", 0),
        ("0", 0),
        ("12B", 12),
        ("5GB", 5 * 10**9),
        ("500MB", 500 * 10**6),
        ("1KB", 1000),
        ("1kB", 1000),
        ("2tb", 2 * 10**12),
        ("1.5GiB", 3 * 2**29),
        ("1.5 GB", 1_500_000_000),
        ("0.1GB", 100_000_000),
        ("64KiB", 65_536),
        ("3MiB", 3 * 2**20),
        ("1TiB", 2**40),
        ("9007199254740993B", 9_007_199_254_740_993),
    ],
)
def test_sizes(text: str, bytes: int) -> None:
    assert size_of(text) == bytes


@pytest.mark.parametrize(
    "text",
    [
        "", "GB", "-1GB", "+1GB", "1.GB", ".5GB", "1,5GB", "1e9", "5 gigabytes", "5G", "5iB", "1.5", "1.5B", "0x10",
        "5  GB", " 5GB", "5GB ", "5GB\n", "٥GB", "5 GBGB", "1" * 19, "nan", "inf", "5", "5000", "5ıB", "5KİB",
    ],
)  # fmt: skip
def test_what_is_no_size(text: str) -> None:
    assert size_of(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("30s", 30), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("8w", 4_838_400)],
)
def test_ages(text: str, seconds: float) -> None:
    assert age_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7 d", "7D", "-7d", "1.5h", "7days", "1" * 10 + "d", "7d\n", "٧d"]
)
def test_what_is_no_age(text: str) -> None:
    assert age_of(text) is None


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (99_960, "100 kB"),
        (356_000_000, "356 MB"),
        (999_400, "999 kB"),
        (999_900, "1.0 MB"),
        (1_234_567, "1.2 MB"),
        (5 * 10**12, "5.0 TB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_told_bytes(count: int, told: str) -> None:
    assert told_bytes(count) == told
