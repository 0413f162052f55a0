"""Base images from a real registry: pulled, refused, gone silent, answering again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.engine import Ran, docker, free_port, http, kiro

pytestmark = pytest.mark.docker

REGISTRY_IMAGE = "kiro-test/registry"
CONFIG = """\
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000"}
"""


@dataclass(frozen=True)
class Registry:
    container: str
    address: str

    def put(self, name: str, content: str) -> str:
        """Push an image that holds /content; nothing of it stays in the engine."""
        ref = f"{self.address}/{name}"
        docker(
            "build",
            "--quiet",
            "--tag",
            ref,
            "-",
            stdin=f"FROM debian:13-slim\nRUN echo {content} > /content\n",
        )
        docker("push", "--quiet", ref)
        docker("rmi", ref)
        return ref

    def stop(self) -> None:
        docker("stop", "--time", "1", self.container)

    def start(self) -> None:
        docker("start", self.container)
        self.wait()

    def wait(self) -> None:
        end = time.monotonic() + 20
        while True:
            try:
                assert http(f"http://{self.address}/v2/")[0] == 200
                return
            except OSError:
                assert time.monotonic() < end, "the registry does not start"
                time.sleep(0.1)


@pytest.fixture(scope="module")
def registry_image(warmed: Ran) -> str:
    text = (
        "FROM debian:13-slim\n"
        "RUN apt-get update && apt-get install -y --no-install-recommends docker-registry\n"
        f"COPY <<EOF /config.yml\n{CONFIG}EOF\n"
    )
    docker("build", "--quiet", "--tag", REGISTRY_IMAGE, "-", stdin=text)
    return REGISTRY_IMAGE


@pytest.fixture
def registry(registry_image: str) -> Iterator[Registry]:
    port = free_port()
    container = docker(
        "run", "--detach", "--publish", f"127.0.0.1:{port}:5000", registry_image,
        "docker-registry", "serve", "/config.yml",
    ).strip()  # fmt: skip
    found = Registry(container, f"127.0.0.1:{port}")
    found.wait()
    yield found
    docker("rm", "--force", "--volumes", container)
    if ids := docker("images", "--quiet", f"{found.address}/*").split():
        docker("rmi", "--force", *ids)


def base_of(tiny: Path, ref: str) -> None:
    (tiny / "app/Dockerfile.fast").write_text(f"FROM {ref}\nRUN cat /content\n")


def status(tiny: Path, *options: str) -> tuple[dict[str, str], str]:
    ran = kiro("warm-cache", "--format", "json", *options, cwd=tiny)
    assert ran.code == 0, ran.err
    return {base["ref"]: base["status"] for base in ran.json["base_images"]}, ran.err


@pytest.fixture(autouse=True)
def cleaned(tiny: Path) -> Iterator[None]:
    yield
    kiro_tag = f"kiro-test-{os.getpid()}/app:dev"
    if docker("images", "--quiet", kiro_tag):
        docker("rmi", kiro_tag)


def test_a_missing_base_is_pulled_and_a_present_one_is_not_asked_for(registry: Registry, tiny: Path) -> None:
    ref = registry.put("base:1", "one")
    base_of(tiny, ref)
    assert status(tiny)[0] == {ref: "pulled"}
    registry.stop()
    assert status(tiny)[0] == {ref: "present"}


def test_pull_brings_what_changed_behind_a_name(registry: Registry, tiny: Path) -> None:
    ref = registry.put("base:1", "one")
    base_of(tiny, ref)
    status(tiny)
    before = docker("image", "inspect", "--format", "{{.Id}}", ref)
    registry.put("base:1", "two")
    base_of(tiny, ref)
    assert status(tiny, "--pull")[0] == {ref: "pulled"}
    assert docker("image", "inspect", "--format", "{{.Id}}", ref) != before


def test_a_name_that_the_registry_does_not_know_is_an_error_of_its_own(
    registry: Registry, tiny: Path
) -> None:
    base_of(tiny, f"{registry.address}/none:1")
    ran = kiro("warm-cache", cwd=tiny)
    assert ran.code == 4
    assert f"base image {registry.address}/none:1: its registry refused it" in ran.err


def test_a_silent_registry_is_asked_once_and_with_pull_again(registry: Registry, tiny: Path) -> None:
    ref = registry.put("base:1", "one")
    base_of(tiny, ref)
    registry.stop()
    first = kiro("warm-cache", cwd=tiny)
    assert (first.code, f"{ref}: no registry answers (" in first.err) == (4, True)
    registry.start()
    again = kiro("warm-cache", cwd=tiny)
    assert (again.code, "no registry answers (" in again.err) == (4, False)
    assert status(tiny, "--pull")[0] == {ref: "pulled"}
    docker("rmi", f"kiro-test-{os.getpid()}/app:dev", ref)
    assert status(tiny)[0] == {ref: "pulled"}


def test_base_images_can_be_replaced_by_a_mirrors(registry: Registry, tiny: Path) -> None:
    ref = registry.put("mirror/base:1", "mirrored")
    base_of(tiny, "example.invalid/base:1")
    settings = (tiny / "kiro.yaml").read_text()
    (tiny / "kiro.yaml").write_text(settings + f"base_images:\n  example.invalid/base:1: {ref}\n")
    assert status(tiny)[0] == {ref: "pulled"}
    assert docker("run", "--rm", f"kiro-test-{os.getpid()}/app:dev", "cat", "/content").strip() == "mirrored"


def test_what_is_pinned_stays_one_image_with_and_without_a_registry(registry: Registry, tiny: Path) -> None:
    ref = registry.put("base:1", "one")
    base_of(tiny, ref)
    assert kiro("pin-images", cwd=tiny).code == 0
    path = tiny / "app/Dockerfile.fast"
    pinned = path.read_text().split()[1]
    assert pinned.startswith(f"{ref}@sha256:")
    registry.put("base:1", "two")
    assert status(tiny, "--pull")[0] == {pinned: "pulled"}
    image = f"kiro-test-{os.getpid()}/app:dev"
    assert docker("run", "--rm", image, "cat", "/content").strip() == "one"
    registry.stop()
    assert status(tiny)[0] == {pinned: "present"}
    docker("build", "--quiet", "-", stdin=f"FROM {pinned}\nRUN test one = $(cat /content) # {os.getpid()}\n")
    refused = kiro("pin-images", "--update", cwd=tiny)
    assert (refused.code, path.read_text().split()[1]) == (1, pinned)
    registry.start()
    assert kiro("pin-images", "--check", cwd=tiny).code == 1
    assert kiro("pin-images", "--update", cwd=tiny).code == 0
    assert path.read_text().split()[1].partition("@")[0] == ref
    assert kiro("pin-images", "--check", cwd=tiny).code == 0
    assert status(tiny)[0] == {path.read_text().split()[1]: "pulled"}
    assert docker("run", "--rm", image, "cat", "/content").strip() == "two"
