"""Sequences of edits by chance, with builds that fail, are killed or lose mounts and layers in between.

After each build that succeeds the image's program prints what one of a clean build would print. What that is, is told
by the tree itself (tests/support/random_crates.py); a really clean build confirms it from time to time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.crates import (
    FAST,
    PROD,
    Built,
    Checkout,
    forget,
    killed,
    mounts_of,
    own_layers,
    records,
    sweep,
)
from tests.support.odd_tree import revision_of
from tests.support.random_crates import EDITS, Workspace, edited, first_workspace, lay

pytestmark = [pytest.mark.docker, pytest.mark.long]

SEED = 20_251_122
SPACE = f"kiro-test-random-{os.getpid()}"

#: Besides the edits. Each comes as often as it stands here, in an order by chance.
DISTURBANCES = {
    "revert": 6,
    "revert after failure": 4,
    "mend after failure": 2,
    "killed": 3,
    "killed, then reverted": 4,
    "target mount lost": 2,
    "dependencies' mount lost": 1,
    "registry mount lost": 1,
    "layers lost": 2,
    "production": 4,
    "touched only": 1,
}
CLEAN_EVERY = 11

CLEAN = """
FROM app AS clean
RUN --mount=type=bind,target=/clean,rw \\
    cd /clean && CARGO_TARGET_DIR=/made cargo build --workspace --bins --locked --offline \\
 && mkdir /seen && /made/debug/kiro-backend >/seen/kiro-backend
FROM scratch AS cleaned
COPY --from=clean /seen/ /
"""


class Sequence:
    """A checkout that is edited and built again and again; what it was, and what was done."""

    def __init__(self, folder: Path, namespace: str, chance: random.Random) -> None:
        folder.mkdir()
        self.checkout = Checkout(folder, namespace, {"proof": "/app/target/debug/proof"})
        self.chance = chance
        self.now = first_workspace(namespace)
        self.past: list[Workspace] = []
        self.done: list[str] = []
        self.kinds: list[str] = []

    def lay(self, workspace: Workspace) -> None:
        """Make the checkout hold this workspace, under a number that no tree had before."""
        self.now = replace(workspace, number=len(self.past) + 1)
        self.past.append(self.now)
        lay(self.checkout, self.now, as_old=self.chance.random() < 0.7)

    def edit(self) -> None:
        after = self.now
        for _ in range(self.chance.choice((1, 1, 2))):
            kind = self.next_kind()
            after = edited(self.chance, after, kind)
            self.done.append(kind)
        self.lay(after)

    def next_kind(self) -> str:
        """Each kind once, in an order by chance, before any comes again."""
        if not self.kinds:
            self.kinds = self.chance.sample(EDITS, len(EDITS))
        return self.kinds.pop()

    def revert(self) -> None:
        """Back to a tree of before, a late one rather."""
        self.lay(replace(self.chance.choice(self.past[-6:]), broken=False))

    def build(self, file: str = FAST) -> None:
        self.judge(self.checkout.build(file), file)

    def judge(self, built: Built, file: str = FAST) -> None:
        where = f"seed {SEED}, step {len(self.past)}, done: {self.done}"
        assert built.code == 0, f"{where}\n{built.log[-3000:]}"
        assert built.output == self.now.output, where
        assert built.step in built.ran, where
        if file == FAST:
            proof = built.printed["proof"].splitlines()
            assert proof == [f"number={self.now.number}", f"revision={revision_of(self.checkout.folder)}"], (
                where
            )

    def confirm(self) -> None:
        """A clean build of the same tree prints what it should."""
        self.done.append("clean build")
        self.checkout.edit = lambda text: text + CLEAN
        built = self.checkout.build(target="cleaned")
        self.checkout.edit = lambda text: text
        assert built.output == self.now.output, f"seed {SEED}, step {len(self.past)}: the oracle is wrong"

    def fail(self) -> None:
        """An edit, and a build that compiles it and then fails."""
        self.edit()
        self.lay(replace(self.now, broken=True))
        built = self.checkout.build()
        assert built.code != 0
        assert built.compiled, built.log[-2000:]

    def kill(self) -> None:
        """An edit, and a build that is killed in its dependency step or its build step, if it does not end before."""
        self.edit()
        delay = self.chance.choice((0.0, 0.1, 0.3, 0.6, 1.0))
        with ThreadPoolExecutor(1) as pool:
            built = pool.submit(self.checkout.build)
            hit = killed(
                self.checkout.namespace, built.done, delay, command=self.chance.choice(("deps", "build"))
            )
        self.done.append(f"killed {hit}")
        if built.result().code == 0:
            self.judge(built.result())

    def disturb(self, kind: str) -> None:
        self.done.append(kind)
        mounts = {
            "target mount lost": "-target",
            "dependencies' mount lost": "-deps",
            "registry mount lost": "-registry",
        }
        if kind.startswith("killed"):
            self.kill()
        if "failure" in kind:
            self.fail()
        if kind in mounts:
            forget(mounts_of(self.checkout.namespace, mounts[kind]))
        if kind == "layers lost":
            forget(own_layers(self.checkout.namespace, records()))
        if "revert" in kind:
            self.revert()
        elif kind == "touched only":
            for path in self.checkout.folder.rglob("*.rs"):
                path.touch()
            self.lay(self.now)
        elif kind == "mend after failure":
            self.lay(replace(self.now, broken=False))
        else:
            self.edit()
        self.build(PROD if kind == "production" else FAST)


@pytest.fixture
def swept(engine: None) -> Iterator[None]:
    yield
    sweep(SPACE, cooked=True)


def test_whatever_happened_before_the_program_is_that_of_a_clean_build(swept: None, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    one = Sequence(tmp_path / SPACE, SPACE, chance)
    one.lay(one.now)
    one.build()
    steps = [kind for kind, times in DISTURBANCES.items() for _ in range(times)]
    steps += ["edit"] * 10
    assert len(steps) >= 40
    chance.shuffle(steps)
    for number, kind in enumerate(steps, 1):
        one.disturb(kind)
        if number % CLEAN_EVERY == 0:
            one.confirm()
    assert len({kind for kind in one.done if kind in EDITS}) == len(EDITS), "some edits never came"
    assert any(kind == "killed True" for kind in one.done), "no build was killed"


@pytest.mark.parametrize("common", [False, True], ids=["mounts-of-their-own", "the-same-mounts"])
def test_two_checkouts_that_are_edited_and_built_at_once_stay_apart(
    swept: None, tmp_path: Path, common: bool
) -> None:
    both = [
        Sequence(
            tmp_path / f"{SPACE}-{name}",
            f"{SPACE}-{'both' if common else name}",
            random.Random(SEED + number),
        )
        for number, name in enumerate(("one", "other"))
    ]
    for one in both:
        one.lay(one.now)
    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            for one, built in zip(both, pool.map(lambda one: one.checkout.build(), both), strict=True):
                one.judge(built)
        for one in both:
            one.edit()
