"""Which service and which mount a record belongs to, by what Dockerfiles say."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.cache.places import Kind, Places, mount_kind, mount_path, places
from kiro_invoke.cache.records import LAYER, MOUNT
from kiro_invoke.engine.protocol import CacheRecord
from kiro_invoke.model.service import Service

APP = """\
ARG PLATFORM=amd64
FROM debian:13-slim AS base
ARG TOOL
ENV X=1
WORKDIR /app
RUN --mount=type=cache,id=registry,target=/r apt-get   install \\
    "curl"
FROM base AS cook
COPY --from=base $TOOL /tool
COPY $TOOL /tool
RUN --network=none --mount=type=cache,id=app-${PLATFORM}-target,target=/t --mount=type=cache,id=$UNKNOWN,target=/u \\
    cook "$TOOL"
RUN --mount=type=cache,target=/root/.npm <<EOF
one
two
EOF
"""
WEB = """\
FROM debian:13-slim
WORKDIR /app
RUN --mount=type=cache,id=words,target=/w ["cp", "/w/a", "/to here"]
RUN ["sh", "-c", "one && more"]
RUN [ -f /to ] && test
RUN --mount=type=cache,id=registry,target=/r npm ci
"""


def recipe(name: str, text: str) -> Recipe:
    folder = Path("/shop") / name
    service = Service(name, folder, f"shop/{name}", "other", None, folder / "Dockerfile.fast")
    return Recipe(service, Profile.DEV, folder / "Dockerfile.fast", parse(text))


SAID = places([recipe("app", APP), recipe("web", WEB)])


def run(text: str) -> CacheRecord:
    return CacheRecord("1", LAYER, f"mount / from exec /bin/sh -c {text}")


def copy(text: str) -> CacheRecord:
    return CacheRecord("1", LAYER, f"[stage-0 2/3] {text}")


def mount(id: str, path: str = "/t") -> CacheRecord:
    return CacheRecord("1", MOUNT, f'cached mount {path} from exec x with id "ns/{id}"')


@pytest.mark.parametrize(
    ("record", "services"),
    [
        (run('apt-get   install     "curl"'), {"app"}),
        (run("apt-get install 'curl'"), {"app"}),
        (run("npm ci"), {"web"}),
        (run("npm  ci && more"), set()),
        (CacheRecord("1", LAYER, "mount / from exec cp /w/a /to here"), {"web"}),
        (CacheRecord("1", LAYER, "mount / from exec sh -c one && more"), {"web"}),
        (run("[ -f /to ] && test"), {"web"}),
        (run("one\ntwo\n"), {"app"}),
        (run('cook "$TOOL"'), {"app"}),
        (copy("WORKDIR /app"), {"app", "web"}),
        (copy("COPY a.txt /tool"), set()),
        (copy("COPY --from=base /bin/x /tool"), {"app"}),
        (mount("registry"), {"app", "web"}),
        (mount("app-amd64-target"), {"app"}),
        (mount("/root/.npm"), {"app"}),
        (mount("other"), set()),
        (CacheRecord("1", LAYER, "local source for context"), set()),
        (CacheRecord("1", LAYER, ""), set()),
    ],
)
def test_services_of_a_record(record: CacheRecord, services: set[str]) -> None:
    assert SAID.services_of(record) == services


def test_a_copy_that_begins_with_a_variable_is_no_ones() -> None:
    """Every step would begin as it does."""
    assert SAID.services_of(copy("COPY anything /else")) == set()
    assert SAID.beginnings == ("COPY --from=base ",)


def test_a_step_tells_which_mounts_it_had() -> None:
    assert SAID.mounts_of(run("npm ci")) == {"registry"}
    assert SAID.mounts_of(run('cook "$TOOL"')) == {"app-amd64-target"}
    assert SAID.mounts_of(run("one two")) == {"/root/.npm"}
    assert SAID.mounts_of(run("unknown")) == set()


def test_a_build_argument_is_filled_into_a_mounts_id() -> None:
    parsed = parse(APP).given({"PLATFORM": "arm64", "UNKNOWN": "x"})
    changed = Recipe(recipe("app", APP).service, Profile.DEV, Path("/shop/app/Dockerfile.fast"), parsed)
    assert {"app-arm64-target", "registry", "/root/.npm"} == set(places([changed]).mounts)


def test_nothing_is_said_without_recipes() -> None:
    assert places(()) == Places({}, {}, {})
    assert places(()).services_of(run("x")) == set()


@pytest.mark.parametrize(
    ("id", "path", "kind"),
    [
        ("kiro-cargo-registry", "/usr/local/cargo/registry", Kind.REGISTRY),
        ("kiro-npm", "/root/.npm", Kind.NPM),
        ("/root/.npm", "/root/.npm", Kind.NPM),
        ("/usr/local/cargo/registry", "/usr/local/cargo/registry", Kind.REGISTRY),
        ("kiro-backend-debug-linux-amd64-target", "/app/target", Kind.TARGET),
        ("kiro-backend-debug-linux-amd64-deps", "/deps", Kind.DEPENDENCIES),
        ("kiro-backend-debug-linux-amd64-cooked", "/kiro/cooked", Kind.DEPENDENCIES),
        ("kiro-frontend-modules", "/app/node_modules", Kind.DEPENDENCIES),
        ("/app/target", "/app/target", Kind.TARGET),
        ("target", "/x", Kind.TARGET),
        ("npm", "/x", Kind.NPM),
        ("registry", "/x", Kind.REGISTRY),
        ("kiro-apt-lists", "/var/lib/apt/lists", Kind.OTHER),
        ("kiro-tool", "/tool/target", Kind.OTHER),
    ],
)
def test_what_a_mount_holds(id: str, path: str, kind: Kind) -> None:
    assert mount_kind(id, path) is kind


def test_where_a_mount_was() -> None:
    assert mount_path(mount("registry", "/r")) == "/r"
    assert mount_path(run("x")) == ""


@pytest.mark.parametrize(
    ("kind", "count", "words"),
    [
        (Kind.LAYER, 1, "1 layer"),
        (Kind.LAYER, 2, "2 layers"),
        (Kind.STANDIN, 1, "1 stand-in"),
        (Kind.IMAGE, 3, "3 images"),
        (Kind.OTHER, 1, "1 other mount"),
        (Kind.NPM, 2, "2 npm mounts"),
    ],
)
def test_kinds_are_counted_in_words(kind: Kind, count: int, words: str) -> None:
    assert kind.counted(count) == words
