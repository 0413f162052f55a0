"""A real Chromium, from the distribution, in a container: nothing is installed on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.engine import Ran, docker, free_port, wait_for

IMAGE = "kiro-test/chromium"


@pytest.fixture(scope="session")
def browser(warmed: Ran) -> Iterator[Browser]:
    docker("build", "--quiet", "--tag", IMAGE, "tests/browser", timeout=900)
    port, name = free_port(), f"kiro-chromium-{os.getpid()}"
    docker(
        "run", "--rm", "--detach", "--init", "--name", name, "--network=host", IMAGE,
        f"--remote-debugging-port={port}", "about:blank",
    )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/json/version")
        with sync_playwright() as playwright:
            chromium = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
            yield chromium
            chromium.close()
    finally:
        docker("rm", "--force", name)
