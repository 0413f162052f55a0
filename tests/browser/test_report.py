"""The page of `kiro report` in a real browser."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, Request, expect

from kiro_invoke.metrics.entry import MEASURING, RAN, Entry, ImageEntry
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.record import Step
from tests.support.engine import kiro

pytestmark = [pytest.mark.docker, pytest.mark.browser]

SCRIPT, IMAGE = "<script>alert(1)</script>", "<img src=x onerror=alert(2)>"
CAUSE = f"{SCRIPT} changed <b>much</b> & more"
BEGIN, HOUR = 1_780_000_000.0, 3600.0
#: Steps of a build take the engine's names for stages as they are.
STAGE = "<b onmouseover=alert(3)>deps"


def build(number: int, service: str, kind: str, seconds: float, **of_image: Any) -> Entry:
    began = BEGIN + number * HOUR
    image = ImageEntry(service, "dev", kind, "src/a.rs changed", "src/a.rs", seconds=seconds, cached=3, ran=1)
    steps = (
        Step(service, STAGE, "RUN install", True),
        Step(service, "app", f"RUN make {IMAGE}", False, seconds, began, began + seconds),
    )
    return Entry(
        began, seconds, "build", cache_layers=10**9 + number * 10**6, cache_mounts=10**8,
        images=(replace(image, **of_image),), steps=steps,
    )  # fmt: skip


def history() -> Iterator[Entry]:
    for number in range(400):
        slow = 1.6 if number >= 380 else 1.0
        yield build(number, "backend", "SOURCE", (2.0 + number % 5 / 20) * slow)
        yield build(number, "frontend", "IGNORED" if number % 3 else "SOURCE", 0.4 + number % 3 / 10)
    yield build(401, "backend", "DEPENDENCY", 12.0, file=SCRIPT, cause=CAUSE, predicted="cached", verdict=RAN)
    yield build(402, IMAGE, "BASE", 90.0, file=IMAGE, cause="")
    for scenario in ("warm", "source"):
        for variant, seconds in (("standard", 80.0), ("fast", 2.0)):
            measured = {"variant": variant, "scenario": scenario}
            yield replace(build(403, "backend", "", seconds, **measured), command=MEASURING)


@dataclass
class Site:
    """The page, served; and what was asked of its server."""

    address: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("report") / SCRIPT.replace("/", "-")
    (root / ".kiro").mkdir(parents=True)
    (root / "kiro.yaml").write_text("project: shop\n")
    Store(root / ".kiro", pytest.fail).add(tuple(history()))
    ran = kiro("report", "--output", "www/report.html", cwd=root)
    assert ran.code == 0, ran.err
    site = Site()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            site.asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=root / "www")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site.address = f"http://127.0.0.1:{server.server_port}/report.html"
        yield site
        server.shutdown()


@dataclass
class Opened:
    """A page of the site in a browser of its own. Anything it complains about, asks for or runs fails the test."""

    browser: Browser
    site: Site
    complaints: list[str] = field(default_factory=list)

    def page(self, **of_context: Any) -> Page:
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **of_context})
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("dialog", self._dialog)
        page.on("request", self._request)
        page.goto(self.site.address)
        expect(page.locator("#bars .main-svg").first).to_be_visible()
        return page

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(dialog.message)
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if request.url != self.site.address and not request.url.startswith("data:"):
            self.complaints.append(request.url)


@pytest.fixture
def opened(browser: Browser, site: Site) -> Iterator[Opened]:
    opened = Opened(browser, site)
    already = len(browser.contexts)
    site.asked.clear()
    yield opened
    for context in browser.contexts[already:]:
        for page in context.pages:
            assert page.evaluate("typeof window.alerted") == "undefined"
        context.close()
    assert opened.complaints == []
    assert set(site.asked) <= {"/report.html"}


def shot(page: Page, name: str) -> None:
    if folder := os.environ.get("KIRO_TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"report-{name}.png", full_page=True)


def point(page: Page, kind: str) -> Locator:
    """The first point of a kind in the chart of build times."""
    number = page.evaluate(
        "kind => document.getElementById('times').data.findIndex(trace => trace.name === kind)", kind
    )
    assert number >= 0
    return page.locator("#times .scatterlayer .trace").nth(number).locator("path.point").first


def over(page: Page, mark: Locator) -> None:
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)


def stages(page: Page) -> set[str]:
    return set(page.locator("#stages .ytick text").all_text_contents())


def test_every_chart_is_drawn(opened: Opened) -> None:
    page = opened.page(color_scheme="light")
    # the service that got slower is the one that is shown
    expect(page.locator("#service")).to_have_value("0")
    expect(page.locator("#times path.point")).to_have_count(401)
    expect(page.locator("#stages .barlayer .point path")).to_have_count(1)
    expect(page.locator("#hits .scatterlayer .js-line")).to_have_count(3)
    expect(page.locator("#growth .scatterlayer .js-fill")).to_have_count(2)
    expect(page.locator("#bars .barlayer .point path")).to_have_count(4)
    shot(page, "light")


def test_a_point_tells_its_cause_as_text(opened: Opened) -> None:
    page = opened.page()
    over(page, point(page, "DEPENDENCY"))
    hover = page.locator("#times .hoverlayer .hovertext")
    expect(hover).to_contain_text("12.0 s")
    expect(hover).to_contain_text("<script>alert(1)</script> changed <b>much</b>")
    shot(page, "hover")


def test_a_stage_tells_its_steps_as_text(opened: Opened) -> None:
    page = opened.page()
    over(page, page.locator("#stages .barlayer .point path").first)
    expect(page.locator("#stages .hoverlayer .hovertext")).to_contain_text(f"RUN make {IMAGE}")
    assert stages(page) == {f"{IMAGE} · app", f"{IMAGE} · {STAGE}"}


def test_another_service_can_be_chosen(opened: Opened) -> None:
    page = opened.page()
    page.get_by_label("Service").first.select_option(IMAGE)
    expect(page.locator("#times path.point")).to_have_count(1)
    over(page, point(page, "BASE"))
    expect(page.locator("#times .hoverlayer .hovertext")).to_contain_text(IMAGE)


def test_a_click_on_a_point_shows_the_stages_of_its_build(opened: Opened) -> None:
    page = opened.page()
    mark = point(page, "DEPENDENCY")
    over(page, mark)
    expect(page.locator("#times .hoverlayer .hovertext")).to_be_visible()
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#build option:checked")).to_contain_text("12.0 s")
    assert stages(page) == {"backend · app", f"backend · {STAGE}"}


def test_a_click_on_an_old_point_says_that_its_stages_are_not_there(opened: Opened) -> None:
    page = opened.page()
    over(page, point(page, "SOURCE"))
    expect(page.locator("#times .hoverlayer .hovertext")).to_be_visible()
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#clicked")).to_contain_text("not in this page")


def test_names_are_shown_as_text_and_nothing_of_them_runs(opened: Opened) -> None:
    page = opened.page()
    causes = page.locator("#t-causes")
    expect(causes.get_by_text(SCRIPT, exact=True)).to_be_visible()
    expect(causes.get_by_text(CAUSE, exact=True)).to_be_visible()
    expect(causes.get_by_text(IMAGE, exact=True).first).to_be_attached()
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(1)<-script>")
    assert page.locator("img, body b, main script").count() == 0
    # and if one were there, the page's own policy would not run it
    blocked = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.alerted = true";
            document.body.append(script);
        })"""
    )
    assert blocked == "script-src-elem"
    opened.complaints = [text for text in opened.complaints if "Content Security Policy" not in text]


def test_tables_sort_by_mouse_and_keyboard(opened: Opened) -> None:
    page = opened.page()
    heading = page.locator("#t-kinds th", has_text="Median")

    def medians() -> list[float]:
        cells = page.locator("#t-kinds tbody td:nth-child(4)")
        return [
            float(value) for value in cells.evaluate_all("cells => cells.map(cell => cell.dataset.value)")
        ]

    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert medians() == sorted(medians(), reverse=True)
    assert len(medians()) == 5
    page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert medians() == sorted(medians())
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    kinds = page.locator("#t-kinds tbody td:nth-child(2)").all_text_contents()
    assert kinds == sorted(kinds)
    assert page.locator("#t-kinds th[aria-sort]").all_text_contents() == ["After"]


def luminance(page: Page) -> float:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [float(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(channels) / len(channels)


def test_a_dark_scheme_is_dark_and_follows_a_change(opened: Opened) -> None:
    page = opened.page(color_scheme="dark")
    assert luminance(page) < 40

    def text() -> str:
        return str(page.locator("#times .ytick text").first.evaluate("each => getComputedStyle(each).fill"))

    in_dark = text()
    shot(page, "dark")
    page.emulate_media(color_scheme="light")
    page.wait_for_function(
        "was => getComputedStyle(document.querySelector('#times .ytick text')).fill !== was", arg=in_dark
    )
    assert luminance(page) > 220


def test_a_phone_shows_it_without_scrolling_sideways(opened: Opened) -> None:
    page = opened.page(
        viewport={"width": 360, "height": 760}, device_scale_factor=2, is_mobile=True, has_touch=True
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("innerWidth") == 360
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.chart')].map(each => each.scrollWidth))"
    )
    assert 250 < widest <= 360
    scrolls = page.locator(".scroll").first
    assert scrolls.evaluate("each => each.scrollWidth > each.clientWidth")
    shot(page, "phone")
