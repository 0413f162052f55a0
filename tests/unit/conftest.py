"""What all unit tests share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test pulls the plug: to wait for a busy disk took most of their time. That files are synced is tested."""
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
