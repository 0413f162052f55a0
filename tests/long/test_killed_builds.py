"""Builds that are killed in the middle of a step, with SIGKILL: what they leave in the mounts harms no later one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.crates import Built, Checkout, killed, small_workspace, sweep

pytestmark = [pytest.mark.docker, pytest.mark.long]

SPACE = f"kiro-test-killed-{os.getpid()}"
LOW, MAIN = "crates/low/src/lib.rs", "crates/kiro-backend/src/main.rs"
#: Holds the build up in the middle, when all that does not wait for it is compiled.
WAITING = "fn main() {\n    std::thread::sleep(std::time::Duration::from_secs(60));\n}\n"


@pytest.fixture
def one(engine: None, tmp_path: Path) -> Iterator[Checkout]:
    """A checkout that was built."""
    folder = tmp_path / SPACE
    folder.mkdir()
    checkout = Checkout(folder, SPACE)
    small_workspace(checkout, recipe=SPACE)
    assert checkout.build().code == 0
    yield checkout
    sweep(SPACE, cooked=True)


def kill_build(one: Checkout, command: str, delay: float) -> Built:
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(one.build)
        assert killed(one.namespace, built.done, delay, command=command), "the build was over before"
    assert built.result().code != 0
    return built.result()


def test_what_a_killed_build_compiled_is_not_taken_for_what_was_there_before(one: Checkout) -> None:
    before = one.build().output
    script = "crates/side/build.rs"
    kept = {path: (one.folder / path).read_text() for path in (LOW, script)}
    one.reword(LOW)
    one.write(script, WAITING)
    assert kill_build(one, "build", 3).compiled == {"low", "side"}
    for path, text in kept.items():
        one.write(path, text)
    one.write("unrelated", "a tree that was not built before\n")
    mended = one.build()
    assert mended.output == before
    assert mended.compiled >= {"low", "side", "kiro-backend"}


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_dependencies_whose_compilation_was_killed_are_compiled(one: Checkout, delay: float) -> None:
    small_workspace(one, recipe=SPACE, needed=("hex", "itoa", "semver"))
    one.replace(MAIN, "fn main() {\n", 'fn main() {\n    println!("hex={}", hex::encode("kiro"));\n')
    kill_build(one, "deps", delay)
    whole = one.build()
    assert whole.output["hex"] == "6b69726f"
    assert whole.output["itoa"] == "7"
    small_workspace(one, recipe=SPACE)
    assert "hex" not in one.build().output
