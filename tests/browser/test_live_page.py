"""`kiro watch` and a real browser: what is saved shows in the page that is open."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.engine import ROOT, command, docker, free_port, http
from tests.support.watching import Project, Watch, until, watching

pytestmark = [pytest.mark.docker, pytest.mark.browser]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, warmed: object) -> Iterator[tuple[Project, Watch]]:
    """This repository's services in a copy, watched."""
    root = tmp_path_factory.mktemp("live") / "a copy"
    root.mkdir()
    for part in ("backend", "frontend"):
        shutil.copytree(
            ROOT / part, root / part, ignore=shutil.ignore_patterns("target", "node_modules", "dist")
        )
    for part in ("compose.yaml", "kiro.yaml"):
        shutil.copy(ROOT / part, root / part)
    ports = {"backend": free_port(), "frontend": free_port()}
    env = {
        "COMPOSE_PROJECT_NAME": f"kiro-live-{os.getpid()}",
        "BACKEND_PORT": str(ports["backend"]),
        "FRONTEND_PORT": str(ports["frontend"]),
    }
    project = Project(root, env["COMPOSE_PROJECT_NAME"], ports, env)
    try:
        with watching(project) as watch:
            yield project, watch
    finally:
        command("docker", "compose", "down", "--volumes", "--timeout", "1", cwd=root, env=env)


def test_a_saved_source_shows_in_the_open_page(live: tuple[Project, Watch], browser: Browser) -> None:
    """Without a reload, and nothing of the page that the image was built with."""
    project, watch = live
    page = browser.new_context().new_page()
    page.goto(f"http://127.0.0.1:{project.ports['frontend']}")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_be_visible(timeout=20_000)
    page.evaluate("window.sameDocument = true")
    title, mark = project.root / "frontend/src/title.tsx", watch.now
    title.write_text('export const TITLE = "Saved just now";\n')
    row = watch.wait("served", mark, service="frontend")
    assert row["path"] == "live"
    expect(heading).to_have_text("Saved just now", timeout=20_000)
    assert page.evaluate("window.sameDocument") is True
    if folder := os.environ.get("KIRO_TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "live.png")
    page.context.close()


def test_the_built_page_is_not_served_in_place_of_vites(live: tuple[Project, Watch]) -> None:
    project, _ = live
    container = project.container("frontend")
    docker("exec", container, "pkill", "-STOP", "-f", "node_modules/.bin/vite")
    docker("exec", container, "pkill", "-KILL", "-f", "node_modules/.bin/vite")
    address = f"http://127.0.0.1:{project.ports['frontend']}/"
    for _ in range(20):
        try:
            status, text, _ = http(address)
        except OSError:
            break  # nginx has ended with it
        assert status != 200 or "/@vite/client" in text
    docker("kill", "--signal", "HUP", container)


def test_a_source_that_vite_cannot_read_is_told(live: tuple[Project, Watch]) -> None:
    project, watch = live
    title, mark = project.root / "frontend/src/title.tsx", watch.now
    text = title.read_text()
    title.write_text(f"{text}export const = ;\n")
    row = watch.wait("broken", mark, service="frontend")
    assert "error: src/title.tsx: " in row["output"]
    assert "src/title.tsx:2:14" in row["output"]
    mark = watch.now
    title.write_text(text)
    watch.wait("served", mark, service="frontend")


def environments(project: Project) -> str:
    """Of all containers that the front end has at this moment."""
    found = project.container("frontend").split()
    return command("docker", "inspect", "--format", "{{.Config.Env}}", *found).out


def test_a_container_that_somebody_started_without_vite_is_started_with_it(
    live: tuple[Project, Watch], browser: Browser
) -> None:
    """`docker compose up` by hand knows nothing of KIRO_LIVE: its container would serve the built page."""
    project, watch = live
    env = {**project.env}
    command(
        "docker", "compose", "up", "--detach", "--no-build", "--force-recreate", "--no-deps", "--timeout", "1",
        "frontend", cwd=project.root, env=env,
    )  # fmt: skip
    until(lambda: "KIRO_LIVE=1" in environments(project), 60)
    title, mark = project.root / "frontend/src/title.tsx", watch.now
    title.write_text('export const TITLE = "By Vite again";\n')
    watch.wait("served", mark, service="frontend")
    page = browser.new_context().new_page()

    def is_shown() -> bool:
        # what is told as served may be the new container, which Vite may just be about to start in
        page.goto(f"http://127.0.0.1:{project.ports['frontend']}")
        page.wait_for_timeout(1000)
        return page.get_by_role("heading", level=1).all_text_contents() == ["By Vite again"]

    until(is_shown, 60)
    page.context.close()


def test_a_change_of_nginxs_configuration_is_taken_up(live: tuple[Project, Watch]) -> None:
    project, watch = live
    file, mark = project.root / "frontend/nginx.dev.conf", watch.now
    file.write_text(file.read_text().replace('return 200 "ok\\n"', 'return 200 "another\\n"'))
    watch.wait("served", mark, service="frontend", path="live")
    _, text, _ = http(f"http://127.0.0.1:{project.ports['frontend']}/healthz")
    assert text == "another\n"


def test_a_source_of_the_backend_is_compiled_in_its_container(live: tuple[Project, Watch]) -> None:
    project, watch = live
    lib, mark = project.root / "backend/crates/kiro-domain/src/lib.rs", watch.now
    text = lib.read_text()
    lib.write_text(text.replace('"Hello from Kiro"', '"Hello, edited"'))
    row = watch.wait("served", mark, service="backend", seconds=120)
    assert row["path"] == "live"
    _, answer, _ = http(f"http://127.0.0.1:{project.ports['backend']}/api/greeting")
    assert "Hello, edited" in answer
    version = docker("exec", project.container("backend"), "/app/target/debug/kiro-backend", "--version")
    assert row["revision"] in version
    mark = watch.now
    lib.write_text(text.replace('"Hello from Kiro"', '"Hello" + 1'))
    broken = watch.wait("broken", mark, seconds=120)
    assert "error[E0369]" in broken["output"]
    _, answer, _ = http(f"http://127.0.0.1:{project.ports['backend']}/api/greeting")
    assert "Hello, edited" in answer


def test_another_file_than_a_source_is_seen_by_cargo_too(live: tuple[Project, Watch]) -> None:
    """A link that leads elsewhere, which cargo itself does not look at."""
    project, watch = live
    src = project.root / "backend/crates/kiro-domain/src"
    lib = src / "lib.rs"
    text = lib.read_text()
    for name in ("one", "two"):
        (src / f"{name}.txt").write_text(f"Hello by {name}")
    (src / "greeting.txt").symlink_to("one.txt")
    mark = watch.now
    start = text.index("pub const GREETING_TEXT")
    end = text.index(";", start) + 1
    lib.write_text(f'{text[:start]}pub const GREETING_TEXT: &str = include_str!("greeting.txt");{text[end:]}')
    watch.wait("served", mark, service="backend", seconds=120)
    address = f"http://127.0.0.1:{project.ports['backend']}/api/greeting"
    assert "Hello by one" in http(address)[1]
    mark = watch.now
    (src / "greeting.txt").unlink()
    (src / "greeting.txt").symlink_to("two.txt")
    watch.wait("served", mark, service="backend", seconds=120)
    assert "Hello by two" in http(address)[1]
