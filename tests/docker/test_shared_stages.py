"""Stages that several services have in common run once in a build of all, though their mounts are called otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.engine import docker, kiro

pytestmark = pytest.mark.docker
SERVICES = ("one", "two", "three")
DOCKERFILE = """\
FROM debian:13-slim AS base
RUN --mount=type=cache,id={name}-apt,target=/var/cache/apt,sharing=locked \\
    mkdir -p /kiro/empty && sleep 1 && head -c 16 /dev/urandom | md5sum >/base-ran
FROM base AS fresh
COPY <<'TEXT' /text
the same
TEXT
RUN sleep 1; head -c 16 /dev/urandom | md5sum >/fresh-ran
FROM base AS chef
RUN --mount=type=cache,id={name}-chef,target=/tmp/chef,from=base,source=/kiro/empty,sharing=locked \\
    sleep 1; head -c 16 /dev/urandom | md5sum >/chef-ran
FROM base AS dev
COPY --from=fresh /fresh-ran /fresh-ran
COPY --from=chef /chef-ran /chef-ran
COPY . .
"""


def test_shared_stages_run_once(tmp_path: Path, engine: None) -> None:
    project = f"kiro-shared-{os.getpid()}"
    rows = "".join(f"  - name: {name}\n" for name in SERVICES)
    (tmp_path / "kiro.yaml").write_text(f"project: {project}\nservices:\n{rows}")
    for name in SERVICES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile.fast").write_text(DOCKERFILE.format(name=f"{project}-{name}"))
    try:
        ran = kiro("build", cwd=tmp_path)
        assert ran.code == 0, ran.err
        read = ("cat", "/base-ran", "/fresh-ran", "/chef-ran")
        found = [docker("run", "--rm", "--network=none", f"{project}/{name}:dev", *read) for name in SERVICES]
        assert len(set(found)) == 1
        assert len(set(found[0].splitlines())) == 3
    finally:
        assert kiro("clean-cache", "--yes", cwd=tmp_path).code == 0
