"""What `kiro affected` says of edits at random, against what builds of both checkouts are given and sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.affected_truth import Checkout, check

pytestmark = pytest.mark.long


def test_no_image_that_a_build_makes_otherwise_is_missed(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    conservative = [check(checkout, seed) for seed in range(1000, 1080)]
    assert conservative.count("") > 48
