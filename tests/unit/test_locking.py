"""Lockfiles made in an image: what is sent there, what is asked of it, and when."""

from __future__ import annotations

import json

import pytest

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.engine.protocol import Completed
from kiro_invoke.model.service import Secret
from kiro_invoke.scaffold.found import Found
from kiro_invoke.scaffold.images import NodeImages, RustImages
from kiro_invoke.scaffold.locking import definition, is_absent, is_sent, making

RUST = Found("api", "api", "api", "cargo", RustImages("shop-api", "api", "api", rust_image="rust:1.80"), ())
NODE = Found(
    "web", "", "web", "pnpm",
    NodeImages("shop-web", (), "pnpm install", "/pnpm/store", "pnpm", "pnpm install", node_image="node:22"), (),
)  # fmt: skip


@pytest.mark.parametrize(
    ("status", "words", "absent"),
    [
        (127, "env: 'cargo': No such file or directory", True),
        (1, "error: rustup could not choose a version of cargo to run, because one wasn't specified", True),
        (1, "error: toolchain '1.80-x86_64-unknown-linux-gnu' is not installed", True),
        (101, "error: failed to parse manifest at `Cargo.toml`", False),
        (0, "", False),
    ],
)
def test_a_manager_is_absent_or_fails(status: int, words: str, absent: bool) -> None:
    assert is_absent(Completed(("cargo",), status, "", words)) is absent


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("api/Cargo.toml", True),
        ("api/.cargo/config.toml", True),
        ("api/.cargo/config", True),
        ("package.json", True),
        ("web/.npmrc", True),
        ("pnpm-workspace.yaml", True),
        (".yarn/releases/yarn-4.0.0.cjs", True),
        ("vendor/words-1.0.0.tgz", True),
        ("patches/left-pad.patch", True),
        ("api/src/main.rs", None),
        ("api/rust-toolchain.toml", False),
        ("api/.cargo/credentials.toml", False),
        ("api/.cargo/credentials", False),
        ("secret/.npmrc", False),
        ("web/src/main.js", False),
        (".env", False),
    ],
)
def test_what_a_manager_reads_is_sent_and_no_secret(path: str, sent: bool | None) -> None:
    assert is_sent(path, frozenset({"secret/.npmrc"})) is sent


def test_it_is_made_in_the_folder_and_leaves_by_one_name() -> None:
    made = making(RUST, "it's a/b c/Cargo.lock", ["cargo", "generate-lockfile"], ())
    first, last = parse(made.dockerfile).stages
    assert (made.image, first.base, last.base) == ("rust:1.80", "rust:1.80", "scratch")
    assert (
        """cd '/app/it'"'"'s a/b c' && cargo generate-lockfile && cp Cargo.lock /kiro-lockfile"""
        in made.dockerfile
    )


def test_secrets_reach_the_step_alone() -> None:
    secrets = (Secret("npmrc", "file:/home/me/.npmrc"), Secret("NPM_TOKEN", "env:NPM_TOKEN"))
    made = making(NODE, "pnpm-lock.yaml", ["npx", "pnpm"], secrets)
    run = next(one for one in parse(made.dockerfile).stages[0].instructions if one.keyword == "RUN")
    assert [mount.get("id") for mount in run.mounts] == ["ca_bundle", "npmrc", "NPM_TOKEN"]
    assert run.mounts[1]["target"] == "/root/.npmrc"
    assert 'export NPM_TOKEN="$(cat /run/secrets/NPM_TOKEN)"' in run.rest
    assert "cd /app && npx pnpm && cp pnpm-lock.yaml /kiro-lockfile" in run.rest

    text = definition(made, "/tmp/${x}", "/tmp/into", {"node:22": "docker-image://standin"}, "/ca.pem")
    target = json.loads(text)["target"]["lockfile"]
    assert target["context"] == "/tmp/$${x}"
    assert target["secret"] == [
        "id=ca_bundle,src=/ca.pem",
        "id=npmrc,src=/home/me/.npmrc",
        "id=NPM_TOKEN,env=NPM_TOKEN",
    ]
    assert target["output"] == ["type=local,dest=/tmp/into"]
    assert target["contexts"] == {"node:22": "docker-image://standin"}
    assert (
        "secret"
        not in json.loads(definition(making(RUST, "Cargo.lock", ["cargo"], ()), "/a", "/b", {}, ""))["target"]
    )


def test_a_lockfile_at_the_root_is_made_there() -> None:
    assert "cd /app && cargo" in making(RUST, "Cargo.lock", ["cargo"], ()).dockerfile
