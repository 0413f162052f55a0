"""Production images: their platforms as buildx reads them, the mounts of two platforms, the time that they tell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import command, docker, kiro

pytestmark = pytest.mark.docker

PROJECT = f"kiro-test-{os.getpid()}"
IMAGE = f"{PROJECT}/app"
NOWHERE = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
#: A mount as this repository's Dockerfiles have them: seeded from a folder of the stage below.
MOUNTED = """\
FROM debian:13-slim AS base
RUN mkdir -p /kiro/empty
FROM base AS build
ARG STEP
RUN --mount=type=cache,id=kiro-test-linux-amd64-target,target=/target,from=base,source=/kiro/empty \\
    : $STEP && ls -A /target >/seen && touch /target/made
"""


@pytest.fixture
def shop(tiny: Path) -> Iterator[Path]:
    for name in ("Dockerfile", "Dockerfile.fast"):
        (tiny / "app" / name).write_text(f"FROM debian:13-slim\nWORKDIR /w\nRUN echo {PROJECT} >/made\n")
    settings = (tiny / "kiro.yaml").read_text()
    (tiny / "kiro.yaml").write_text(
        f"{settings}    image: registry.example/{IMAGE}\nplatforms: [linux/amd64, linux/arm64/v8]\n"
    )
    yield tiny
    if ids := docker("images", "--quiet", f"registry.example/{IMAGE}").split():
        docker("rmi", "--force", *dict.fromkeys(ids))


def as_buildx_reads_it(folder: Path, *options: str) -> dict[str, Any]:
    """The one target of the definition that `kiro build` prints, without an engine, as `bake --print` tells it."""
    printed = kiro("build", "--print", *options, cwd=folder, env=NOWHERE)
    assert printed.code == 0, printed.err
    read = command(
        "docker", "buildx", "bake", "--print", "--file", "-", stdin=printed.out, env=NOWHERE, cwd=folder
    )
    assert read.code == 0, read.err
    (target,) = json.loads(read.out)["target"].values()
    assert isinstance(target, dict)
    return target


def test_platforms_and_attestations_reach_buildx(shop: Path) -> None:
    target = as_buildx_reads_it(shop, "--prod", "--push")
    assert target["platforms"] == ["linux/amd64", "linux/arm64/v8"]
    assert sorted(target["attest"]) == ["type=provenance,mode=min", "type=sbom"]
    assert target["output"] == ["type=registry"]
    assert target["tags"] == [f"registry.example/{IMAGE}:prod"]
    dev = as_buildx_reads_it(shop)
    assert "platforms" not in dev
    assert [entry for entry in dev["attest"] if "disabled=true" not in entry] == []


def test_the_engine_is_given_its_own_platform(shop: Path) -> None:
    ran = kiro("build", "--prod", cwd=shop)
    assert ran.code == 0, ran.err
    own = docker("version", "--format", "{{.Server.Arch}}").strip()
    loaded = docker("image", "inspect", "--format", "{{.Architecture}}", f"registry.example/{IMAGE}:prod")
    assert loaded.strip() == own


def test_two_clean_builds_of_one_tree_tell_the_same_time(shop: Path) -> None:
    def created() -> str:
        ran = kiro("build", "--prod", "--clean", cwd=shop, env={"SOURCE_DATE_EPOCH": "1700000000"})
        assert ran.code == 0, ran.err
        return docker(
            "image", "inspect", "--format", "{{.Created}}", f"registry.example/{IMAGE}:prod"
        ).strip()

    assert created() == created() == "2023-11-14T22:13:20Z"


def test_a_development_image_is_the_same_whatever_time_the_environment_tells(shop: Path) -> None:
    def built(seconds: str) -> str:
        ran = kiro("build", cwd=shop, env={"SOURCE_DATE_EPOCH": seconds})
        assert ran.code == 0, ran.err
        return docker("image", "inspect", "--format", "{{.Id}}", f"registry.example/{IMAGE}:dev").strip()

    assert built("1700000000") == built("1600000000")


def test_the_mounts_of_two_platforms_never_mix(tiny: Path) -> None:
    """Although their ids are the same: a seeded mount is known by what it was seeded from as well."""
    own = docker("version", "--format", "{{.Server.Arch}}").strip()
    other = {"amd64": "linux/amd64/v2", "arm64": "linux/arm64/v9"}[own]
    seen = []
    for platform in (f"linux/{own}", other):
        docker(
            "buildx", "build", "--builder", "default", "--platform", platform, "--tag", f"{IMAGE}:seen",
            "--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={tiny}", "--build-arg", f"STEP={tiny}", "-",
            stdin=MOUNTED,
        )  # fmt: skip
        seen.append(docker("run", "--rm", "--platform", platform, f"{IMAGE}:seen", "cat", "/seen"))
        docker("rmi", f"{IMAGE}:seen")
    assert seen == ["", ""]
