"""The page in a real browser, served by the development images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Stack
from tests.support.engine import ROOT, docker

pytestmark = [pytest.mark.docker, pytest.mark.browser]


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """The page, freshly opened. Anything the browser complains about fails the test, but a refused note."""
    complaints: list[str] = []
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(stack.frontend)
    yield page
    if folder := os.environ.get("KIRO_TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "page.png")
    context.close()
    assert [text for text in complaints if "status of 422" not in text] == []


def title_in_the_sources() -> str:
    text = (ROOT / "frontend/src/title.tsx").read_text()
    match = re.search(r'TITLE = "(.+)"', text)
    assert match
    return match[1]


def test_it_shows_its_title_and_the_greeting_from_the_backend(page: Page) -> None:
    expect(page.get_by_test_id("greeting")).to_have_text("Hello from Kiro")
    expect(page.get_by_role("heading", level=1)).to_have_text(title_in_the_sources())
    expect(page).to_have_title(title_in_the_sources())


def test_a_note_can_be_added_and_deleted_and_outlives_a_reload(page: Page) -> None:
    text = "seen <b>by</b> a browser & kept"
    page.get_by_label("New note").fill(text)
    page.get_by_role("button", name="Add note").click()
    expect(page.get_by_text(text, exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_text(text, exact=True)).to_be_visible()
    page.get_by_role("button", name=f"Delete note: {text}").click()
    expect(page.get_by_text(text, exact=True)).to_have_count(0)


def test_the_backends_complaint_is_shown(page: Page) -> None:
    page.get_by_label("New note").fill("   ")
    with page.expect_console_message(lambda message: "422" in message.text):
        page.get_by_role("button", name="Add note").click()
    expect(page.get_by_role("alert")).to_be_visible()


def open_when_vite_serves(page: Page, address: str) -> None:
    for _ in range(100):
        page.goto(address)
        if page.locator('script[src="/@vite/client"]').count():
            return
        page.wait_for_timeout(100)
    pytest.fail("Vite's dev server does not answer behind nginx")


def test_vites_dev_server_takes_over_behind_the_same_nginx(stack: Stack, browser: Browser) -> None:
    """Live mode: a saved source changes the open page without a reload."""
    container = stack.container("frontend")
    docker("exec", "--detach", container, "node_modules/.bin/vite")
    context = browser.new_context()
    page = context.new_page()
    try:
        heading = page.get_by_role("heading", level=1)
        open_when_vite_serves(page, stack.frontend)
        page.evaluate("window.sameDocument = true")
        docker("exec", container, "sed", "-i", 's/TITLE = ".*"/TITLE = "Changed live"/', "src/title.tsx")
        expect(heading).to_have_text("Changed live")
        assert page.evaluate("window.sameDocument") is True
    finally:
        context.close()
        docker("exec", container, "pkill", "-f", "node_modules/.bin/vite")
        docker(
            "exec",
            container,
            "sed",
            "-i",
            f's/TITLE = ".*"/TITLE = "{title_in_the_sources()}"/',
            "src/title.tsx",
        )
