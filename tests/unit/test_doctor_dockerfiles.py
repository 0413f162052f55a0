"""What `doctor` finds in Dockerfiles: each planted fault with its line, and nothing in those that are well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.doctor import bases, caching
from kiro_invoke.doctor.finding import Finding, Verdict
from kiro_invoke.doctor.own_check import CHECK, check_own, knows_check
from kiro_invoke.doctor.steps import File, is_in, taken

ROOT = Path(__file__).parents[2]
MOUNTS = "--mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked"
COOK = "FROM rust:1.85 AS cook\nRUN cargo chef cook --release --recipe-path r.json\n"


def file(text: str, **build_args: str) -> File:
    return File("web/Dockerfile", parse(text), build_args)


def check(text: str, **build_args: str) -> tuple[Finding, ...]:
    one = file(text, **build_args)
    return (*caching.check_dockerfile(one), *bases.check_bases(one))


def problems(text: str) -> list[tuple[str, int]]:
    return [(one.check, one.line) for one in check(text) if one.verdict is Verdict.PROBLEM]


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"{service}/{name}"
            for service in ("backend", "frontend")
            for name in ("Dockerfile", "Dockerfile.fast")
        ),
        "tests/browser/Dockerfile",
        "benchmarks/standard/backend.guide.Dockerfile",
    ],
)
def test_our_own_dockerfiles_have_no_problem(path: str) -> None:
    assert check((ROOT / path).read_text()) == ()


@pytest.mark.parametrize(("path", "line"), [("frontend", 8), ("backend", 8), ("backend.debug", 7)], ids=str)
def test_the_usual_dockerfiles_install_again_after_each_edit(path: str, line: int) -> None:
    text = (ROOT / f"benchmarks/standard/{path}.Dockerfile").read_text()
    assert problems(text) == [(caching.COPY_FIRST, line)]


# --- COPY . . before an install

INSTALLS = (
    "npm ci", "npm install", "npm i", "pnpm install --frozen-lockfile", "corepack pnpm i", "yarn", "yarn --immutable",
    "yarn install", "bun install", "pip install -r requirements.txt", "pip3 install --no-cache-dir -r requirements.txt",
    "python -m pip install -r r.txt", "poetry install --no-root", "uv sync --frozen", "go mod download",
    "bundle install", "cargo build --release", "cargo install --path .", "set -e; npm ci", "[ -s x ] || true; npm ci",
    "CI=1 npm ci", "cd web && npm ci", "if true; then npm ci; fi", "apk add curl",
)  # fmt: skip


@pytest.mark.parametrize("install", INSTALLS)
@pytest.mark.parametrize(
    "copy", ["COPY . .", "ADD . /app", "COPY ./ ./", "COPY --chown=1:1 . .", 'COPY [".", "/app"]']
)
def test_an_install_after_the_whole_context_is_found(install: str, copy: str) -> None:
    assert problems(f"FROM base:1\n{copy}\nRUN {install}\n") == [(caching.COPY_FIRST, 3)]


def test_each_install_is_told_with_its_line_and_its_cure() -> None:
    found = check("FROM node:24\nCOPY . .\nRUN npm ci\nRUN go mod download\n")
    assert [(one.line, one.evidence) for one in found] == [
        (3, "`npm ci` runs again after each edit: the whole context is taken in line 2, before it"),
        (4, "`go mod download` runs again after each edit: the whole context is taken in line 2, before it"),
    ]
    assert (
        found[0].cure
        == "copy package.json and package-lock.json first, install, and take the rest (line 2) after that"
    )
    assert found[0].place == "web/Dockerfile:3"


@pytest.mark.parametrize(
    "text",
    [
        "FROM base:1\nCOPY . .\nRUN <<EOF\nset -e\nnpm ci\nEOF\n",
        'FROM base:1\nCOPY . .\nRUN ["npm", "ci"]\n',
        "FROM base:1 AS sources\nCOPY . .\nFROM sources\nRUN npm ci\n",
        "FROM base:1\nRUN --mount=type=bind,target=/src cd /src && npm ci\n",
        "FROM base:1\nCOPY . .\nRUN --mount=type=cache,target=/root/.npm \\\n  npm ci\n",
    ],
)
def test_it_is_found_in_every_form_of_a_step(text: str) -> None:
    assert [check for check, _ in problems(text)] == [caching.COPY_FIRST]


@pytest.mark.parametrize(
    "text",
    [
        "COPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build",
        "COPY package*.json ./\nRUN npm ci",
        "COPY --from=other:1 . .\nRUN npm ci",
        "COPY . .\nRUN npm run build",
        "COPY . .\nRUN npm install -g serve",
        "COPY . .\nRUN echo npm cinema",
        "COPY . .\nRUN pip install --upgrade pip",
        "COPY . .\nRUN --mount=type=cache,target=/app/target cargo build && cp target/debug/x /x",
        "COPY src src\nRUN cargo build",
        "COPY Cargo.toml .\nRUN cargo build\nCOPY . .\nRUN cargo build",
        "RUN cargo chef cook --recipe-path r\nCOPY . .\nRUN cargo build",
        "COPY <<EOF /x\nCOPY . .\nEOF\nRUN npm ci",
        "ADD https://example.com/. /x\nRUN npm ci",
        "RUN --mount=type=bind,source=package.json,target=package.json npm ci",
    ],
)
def test_installs_that_sources_do_not_touch_are_healthy(text: str) -> None:
    assert problems(f"FROM base:1\n{text}\n") == []


# --- a cache mount on cargo's target


def test_an_empty_target_mount_hides_what_was_cooked() -> None:
    run = "--mount=type=cache,target=/app/target cargo build --release && cp target/release/x /x"
    text = f"{COOK}COPY . .\nRUN {run}\n"
    [found] = check(text)
    assert (found.check, found.line) == (caching.TARGET, 4)
    assert "hides what line 2 cooked" in found.evidence
    assert "from=" in found.cure


def test_it_is_found_across_stages() -> None:
    run = "--mount=type=cache,target=target cargo build && mv target/debug/x /x"
    text = f"{COOK}FROM cook AS build\nCOPY . .\nRUN {run}\n"
    assert problems(text) == [(caching.TARGET, 5)]


def test_a_program_that_stays_in_its_mount_is_found() -> None:
    [found] = check(
        "FROM rust:1.85\nCOPY src src\nRUN --mount=type=cache,target=/app/target cargo build --release\n"
    )
    assert (found.check, found.line) == (caching.TARGET, 3)
    assert "no part of the image" in found.evidence


@pytest.mark.parametrize(
    "run",
    [
        "--mount=type=cache,target=/app/target,from=cook,source=/app/target cargo build && cp target/debug/x /x",
        "--mount=type=cache,target=/app/target cp -a /cooked/. /app/target && cargo build && install target/debug/x /x",
        "cargo build",
        "--mount=type=cache,target=/app/target cargo test",
    ],
)
def test_seeded_mounts_and_none_are_healthy(run: str) -> None:
    assert problems(f"{COOK}FROM cook\nCOPY . .\nRUN {run}\n") == []


# --- production installs


@pytest.mark.parametrize(
    "install", ["npm ci --only=production", "npm ci --omit=dev", "npm install --production", "yarn --production",
                "NODE_ENV=production npm ci", "pnpm install --prod"],
)  # fmt: skip
@pytest.mark.parametrize("build", ["npm run build", "npx vite build", "yarn build", "npx tsc -p ."])
def test_a_production_install_before_a_build_is_found(install: str, build: str) -> None:
    text = f"FROM node:24\nCOPY package.json .\nRUN {install}\nCOPY . .\nRUN {build}\n"
    assert problems(text) == [(caching.PRODUCTION, 3)]


def test_an_environment_for_production_is_found_too() -> None:
    text = "FROM node:24\nENV NODE_ENV=production\nCOPY package.json .\nRUN npm ci\nCOPY . .\nRUN npm run build\n"
    assert problems(text) == [(caching.PRODUCTION, 4)]


@pytest.mark.parametrize(
    "text",
    [
        "RUN npm ci\nCOPY . .\nRUN npm run build",
        "RUN npm ci --omit=dev\nCOPY . .\nCMD npm start",
        "RUN npm ci --omit=dev\nRUN npm ci\nRUN npm run build",
        "ENV NODE_ENV=production\nRUN npm ci --include=dev\nRUN npm run build",
        "RUN npm ci && npm run build && npm ci --omit=dev",
    ],
)
def test_builds_with_what_they_need_are_healthy(text: str) -> None:
    assert problems(f"FROM node:24\nCOPY package.json .\n{text}\n") == []


# --- apt


def test_apt_without_a_cache_mount_is_found() -> None:
    [found] = check(
        "FROM debian:13\nRUN apt-get update && \\\n    apt-get install -y --no-install-recommends curl\n"
    )
    assert (found.check, found.verdict, found.line) == (caching.APT, Verdict.PROBLEM, 2)
    assert "docker-clean" in found.cure


def test_a_mount_that_the_image_cleans_is_noted() -> None:
    [found] = check(f"FROM debian:13\nRUN {MOUNTS} apt-get update && apt-get install -y curl\n")
    assert (found.check, found.verdict) == (caching.APT, Verdict.NOTE)


@pytest.mark.parametrize(
    "text",
    [
        f"RUN {MOUNTS} rm -f /etc/apt/apt.conf.d/docker-clean && apt-get install -y curl",
        f"RUN rm -f /etc/apt/apt.conf.d/docker-clean\nRUN {MOUNTS} apt-get install -y curl",
        "RUN echo apt-get install",
        "RUN apk add curl",
        "RUN apt-get clean",
    ],
)
def test_apt_with_its_mounts_is_healthy(text: str) -> None:
    assert check(f"FROM debian:13\n{text}\n") == ()


# --- arguments that change at each build


@pytest.mark.parametrize(
    "name",
    ["BUILD_DATE", "GIT_SHA", "COMMIT", "VERSION", "BUILD_NUMBER", "TIMESTAMP", "CACHEBUST", "CACHE_BUST", "GIT_COMMIT",
     "VCS_REF", "CI_COMMIT_SHA", "APP_VERSION", "REVISION", "COMMIT_HASH"],
)  # fmt: skip
@pytest.mark.parametrize("run", ["npm ci", "cargo build", "make -j2", "go build ./..."])
def test_a_changing_argument_before_an_expensive_step_is_found(name: str, run: str) -> None:
    [found] = check(f"FROM base:1\nARG {name}\nRUN true\nRUN {run}\n")
    assert (found.check, found.line) == (caching.ARGUMENT, 2)
    assert f"{name} makes line 4 run again" in found.evidence


@pytest.mark.parametrize(
    "text",
    [
        "RUN npm ci\nARG BUILD_DATE\nLABEL date=$BUILD_DATE",
        "ARG NODE_VERSION=24\nRUN npm ci",
        "ARG VERSION=1.2.3\nRUN make install",
        'ARG GIT_SHA\nRUN go build -ldflags "-X main.sha=$GIT_SHA"',
        "ARG BUILD_DATE\nRUN echo $BUILD_DATE",
        "ARG UPDATE\nRUN npm ci",
        "ARG BUILD_DATE\nFROM base:1\nRUN npm ci",
    ],
)
def test_other_arguments_are_healthy(text: str) -> None:
    assert problems(f"FROM base:1\n{text}\n") == []


# --- bases

FLOATING = ("node", "node:latest", "node:lts", "node:slim", "rust:slim-bookworm", "nginx:alpine", "alpine:edge",
            "debian:stable-slim", "ghcr.io/acme/base:main", "localhost:5000/base", "node:lts-alpine3.20")  # fmt: skip
FIXED = ("node:24", "node:24-trixie-slim", "rust:1.95-slim", "debian:bookworm-slim", "ubuntu:noble", "debian:13-slim",
         "nginx:1.28", "localhost:5000/base:7", "node@sha256:" + "a" * 64, "scratch", "app:v3")  # fmt: skip


@pytest.mark.parametrize("ref", FLOATING)
def test_a_floating_base_is_found(ref: str) -> None:
    assert problems(f"FROM {ref}\n") == [(bases.FLOATING, 1)]


@pytest.mark.parametrize("ref", FIXED)
def test_a_base_with_a_version_is_healthy(ref: str) -> None:
    assert check(f"FROM {ref}\n") == ()


def test_floating_bases_are_found_wherever_they_are_named() -> None:
    text = "ARG BASE=node\nFROM ${BASE} AS one\nFROM debian:13\nCOPY --from=alpine /x /x\nCOPY --from=one /x /y\n"
    assert problems(text) == [(bases.FLOATING, 2), (bases.FLOATING, 4)]
    assert check("ARG BASE=node\nFROM ${BASE}\n", BASE="node:24") == ()


def test_a_syntax_line_is_found() -> None:
    [found] = check("# escape=\\\n# syntax=docker/dockerfile:1\nFROM base:1\n")
    assert (found.check, found.verdict, found.line) == (bases.SYNTAX, Verdict.PROBLEM, 2)
    assert check(f"# syntax=docker/dockerfile@sha256:{'a' * 64}\nFROM base:1\n") == ()


def test_cargo_chef_without_a_version_is_found() -> None:
    assert problems("FROM rust:1.85\nRUN cargo install --locked cargo-chef\n") == [(bases.CHEF, 2)]
    assert check("FROM rust:1.85\nRUN cargo install --locked cargo-chef --version 0.1.75\n") == ()
    assert check("FROM rust:1.85\nRUN cargo install --locked cargo-chef@0.1.75\n") == ()
    assert check("FROM rust:1.85\nRUN cargo install --version =0.1.75 cargo-chef\n") == ()


@pytest.mark.parametrize(
    ("rust", "chef", "fits"),
    [
        ("1.85", "0.1.75", True),
        ("1.85", "0.1.76", False),
        ("1.88", "0.1.78", True),
        ("1.87-slim", "0.1.77", False),
    ],
)
def test_cargo_chef_must_fit_the_toolchain(rust: str, chef: str, fits: bool) -> None:
    one = file(f"FROM rust:{rust}\nRUN cargo install cargo-chef --locked --version {chef}\n")
    assert (list(bases.chef_fits(one, {})) == []) is fits


def test_what_a_base_really_holds_counts() -> None:
    one = file("FROM rust:1.95\nRUN cargo install cargo-chef --locked --version 0.1.78\n")
    assert list(bases.chef_fits(one, {})) == []
    [found] = bases.chef_fits(one, {"rust:1.95": "Rust 1.85.1"})
    assert (found.check, found.line, found.verdict) == (bases.CHEF, 2, Verdict.PROBLEM)
    assert "Rust 1.85" in found.evidence


@pytest.mark.parametrize(
    ("channel", "verdict"),
    [("1.85", None), ("1.85.1", None), ("1.82", Verdict.PROBLEM), ("stable", Verdict.NOTE)],
)
def test_the_toolchain_file_must_name_the_base_s_toolchain(channel: str, verdict: Verdict | None) -> None:
    found = list(bases.toolchain_fits(file("FROM rust:1.85-slim\n"), channel, "rust-toolchain.toml"))
    assert [one.verdict for one in found] == ([verdict] if verdict else [])


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (">=20.19", True), ("24", True), ("v24.1.0", True), ("24.x", True), ("^24", True), ("^20 || ^24", True),
        (">=20 <25", True), ("20", False), ("^22", False), ("<24", False), ("v20.11.1", False), ("20 || 22", False),
        ("*", True), ("lts/*", True), ("22 - 24", True), ("~24.1", True), (">24", True), ("20 - 22", False),
    ],
)  # fmt: skip
def test_the_node_that_is_asked_for_must_be_the_base_s(wanted: str, fits: bool) -> None:
    found = list(bases.node_fits(file("FROM node:24-slim\n"), wanted, ".nvmrc"))
    assert (found == []) is fits


# --- what is taken of a context


def test_what_steps_take_of_the_context() -> None:
    text = "FROM a:1\nCOPY a b* src/ /x/\nADD https://x/y .\nCOPY --from=b:1 . .\n"
    text += "RUN --mount=type=bind,source=c,target=d x\n"
    steps = parse(text).stages[0].instructions
    assert [taken(step) for step in steps] == [("a", "b*", "src"), (), (), ("c",)]
    assert is_in("src/main.rs", "src")
    assert is_in("bee", "b*")
    assert is_in("anything/at/all", "")
    assert not is_in("sources/main.rs", "src")
    assert not is_in("a/b", "a/b/c")


# --- BuildKit's own check


def test_buildkit_s_own_warnings_are_notes() -> None:
    warning = {
        "ruleName": "FromAsCasing",
        "description": "The 'as' keyword should match the case of the 'from' keyword",
        "url": "https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
        "detail": "'as' and 'FROM' keywords' casing do not match",
        "location": {"ranges": [{"start": {"line": 3}, "end": {"line": 3}}]},
    }
    [found] = check_own("web/Dockerfile", json.dumps({"warnings": [warning]}))
    assert (found.check, found.verdict, found.place) == (CHECK, Verdict.NOTE, "web/Dockerfile:3")
    assert found.evidence.startswith("FromAsCasing: 'as' and")


@pytest.mark.parametrize(
    "told", ["", "{}", "[]", "{", '{"warnings": 3}', '{"warnings": [3]}', "Check complete"]
)
def test_what_is_no_such_answer_warns_of_nothing(told: str) -> None:
    assert list(check_own("web/Dockerfile", told)) == []


def test_only_newer_buildx_are_asked() -> None:
    assert [knows_check(version) for version in ("0.13.1", "0.15.0", "1.0", "unknown")] == [
        False,
        True,
        True,
        False,
    ]
