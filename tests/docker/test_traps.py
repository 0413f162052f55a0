"""Ways in which a build with cache mounts ships something old, each with the Dockerfiles' cure at work.

All files of a workspace are older than all that the engine compiled: nothing is noticed for its modification time.
The crates that were compiled are looked at too: compiling more than needed would hide what is not noticed.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.crates import (
    FAST,
    PROD,
    Built,
    Checkout,
    forget,
    mounts_of,
    new_word,
    own_layers,
    records,
    small_workspace,
    sweep,
)

pytestmark = pytest.mark.docker

SPACE = f"kiro-test-traps-{os.getpid()}"
COMMAND = "cargo build --workspace --bins --locked --offline"
Make = Callable[..., Checkout]


@pytest.fixture(scope="module")
def make(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Makes checkouts, each with a namespace of its own unless it is told one."""
    numbers = itertools.count()

    def checkout(namespace: str = "", **options: Any) -> Checkout:
        number = next(numbers)
        folder = tmp_path_factory.mktemp("checkout") / f"{SPACE}-{number}"
        folder.mkdir()
        one = Checkout(folder, namespace or f"{SPACE}-{number}", {"tool": "/app/target/debug/tool"})
        small_workspace(one, **options)
        return one

    yield checkout
    sweep(f"{SPACE}-recipe", cooked=True)
    sweep(SPACE)


@pytest.fixture(scope="module")
def shared(make: Make) -> Checkout:
    """One checkout, built, for all tests that only edit it."""
    one = make()
    assert one.build().code == 0
    return one


LOW, MAIN = "crates/low/src/lib.rs", "crates/kiro-backend/src/main.rs"


# --- modification times (traps 1 and 3), targets (trap 6)


def test_an_edit_of_a_library_that_looks_old_is_compiled_with_what_needs_it(shared: Checkout) -> None:
    word = shared.reword(LOW)
    built = shared.build()
    assert built.output["low"] == word
    assert built.compiled == {"low", "kiro-backend"}


def test_an_edit_of_the_program_that_looks_old_is_compiled_and_nothing_else(shared: Checkout) -> None:
    word = shared.reword(MAIN)
    built = shared.build()
    assert built.output["main"] == word
    assert built.compiled == {"kiro-backend"}


def test_programs_are_no_dummies_of_the_recipe(make: Make) -> None:
    """Neither one at the dummies' version, nor one that cargo finds in src/bin alone."""
    one = make()
    assert 'version = "0.0.1"' in (one.folder / "crates/kiro-backend/Cargo.toml").read_text()
    built = one.build()
    assert f'"main={built.output["main"]}"' in (one.folder / MAIN).read_text()
    printed = built.printed["tool"].strip()
    assert printed.startswith("tool=word-")
    assert f'"{printed}"' in (one.folder / "crates/tools/src/bin/tool.rs").read_text()


def test_production_follows_content_too(make: Make) -> None:
    one = make()
    assert one.build(PROD).code == 0
    word = one.reword(LOW)
    built = one.build(PROD)
    assert built.output["low"] == word
    assert built.compiled == {"low", "kiro-backend"}


@pytest.mark.long
def test_an_edit_reaches_every_variant_that_the_target_holds(make: Make) -> None:
    """A feature comes with an edit that looks old, and goes again: the crate without it was compiled before.

    In production: of a development image's target, what is not used goes.
    """
    one = make()
    manifest, program = "crates/low/Cargo.toml", "crates/kiro-backend/Cargo.toml"
    one.write(manifest, (one.folder / manifest).read_text() + "[features]\nloud = []\n")
    quiet, loud = 'low = { path = "../low" }', 'low = { path = "../low", features = ["loud"] }'
    assert one.build(PROD).code == 0
    word = one.reword(LOW)
    one.replace(program, quiet, loud)
    assert one.build(PROD).output["low"] == word
    one.replace(program, loud, quiet)
    back = one.build(PROD)
    assert back.output["low"] == word
    assert back.compiled == {"low", "kiro-backend"}
    one.replace(program, quiet, loud)
    one.reword(MAIN)
    assert one.build(PROD).compiled == {"kiro-backend"}, "this variant has the edit"


# --- failed builds (trap 16)


def test_what_a_failed_build_compiled_is_not_taken_for_what_was_there_before(shared: Checkout) -> None:
    one = shared
    library, program = ((one.folder / path).read_text() for path in (LOW, MAIN))
    before = shared.build().output
    shared.reword(LOW)
    one.write("crates/side/data/added", "seen by the failed build\n")
    one.write(MAIN, "fn main() { broken }\n")
    failed = shared.build()
    assert failed.code != 0
    assert failed.compiled >= {"low", "side"}
    one.write(LOW, library)
    one.remove("crates/side/data/added")
    one.write(MAIN, program)
    word = one.reword(MAIN)
    mended = shared.build()
    assert mended.output == {**before, "main": word}
    assert mended.compiled == {"low", "side", "kiro-backend"}


def test_what_a_failed_build_noticed_and_did_not_compile_is_compiled_by_the_next(shared: Checkout) -> None:
    one = shared
    one.write("crates/side/data/going", "x\n")
    assert "going" in shared.build().output["side"]
    one.remove("crates/side/data/going")
    one.reword(MAIN)
    one.edit = lambda text: text.replace(COMMAND, "false")
    assert shared.build().code != 0
    one.edit = lambda text: text
    built = shared.build()
    assert "going" not in built.output["side"]
    assert built.compiled == {"side", "kiro-backend"}


# --- what cargo does not see (trap 17)


def relinked(one: Checkout) -> None:
    one.link("crates/low/src/linked.txt", "../texts/two.txt")


def relinked_folder(one: Checkout) -> None:
    one.link("crates/low/src/folder", "../folders/two")


def added(one: Checkout) -> None:
    one.write("crates/side/data/second", "2\n")


def made_executable(one: Checkout) -> None:
    (one.folder / "crates/side/data/second").chmod(0o755)
    one.date_back("crates/side/data/second")


def removed(one: Checkout) -> None:
    one.remove("crates/side/data/first")


def renamed(one: Checkout) -> None:
    place = one.folder / "crates/side/data"
    (place / "second").rename(place / "other")


UNSEEN: list[tuple[Callable[[Checkout], None], str, str, set[str]]] = [
    (relinked, "linked", "two", {"low", "kiro-backend"}),
    (relinked_folder, "inner", "inner two", {"low", "kiro-backend"}),
    (added, "side", ",first:1,second:2", {"side", "kiro-backend"}),
    (made_executable, "side", ",first:1,second*2", {"side", "kiro-backend"}),
    (removed, "side", ",second*2", {"side", "kiro-backend"}),
    (renamed, "side", ",other*2", {"side", "kiro-backend"}),
]


def test_what_cargo_does_not_see_is_noticed(make: Make) -> None:
    one = make()
    before = dict(one.build().output)
    for edit, key, value, crates in UNSEEN:
        edit(one)
        built = one.build()
        before[key] = value
        assert built.output == before, edit.__name__
        assert built.compiled == crates, edit.__name__


def test_a_build_argument_that_only_a_build_script_reads_is_noticed(make: Make) -> None:
    one = make()
    one.edit = lambda text: text.replace("FROM cook AS app\n", "FROM cook AS app\nARG FLAVOUR\n")
    sweet = one.build(given={"FLAVOUR": "sweet"})
    sour = one.build(given={"FLAVOUR": "sour"})
    assert sweet.output["side"] == "sweet,first:1"
    assert sour.output["side"] == "sour,first:1"
    assert "kiro-fresh deps" not in sour.log or not sour.cooked


# --- the toolchain (trap 18), names of mounts (trap 19), lost layers (trap 13)

READS_SYSTEM = """\
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let text = std::fs::read_to_string("/usr/include/kiro-test.h").unwrap();
    std::fs::write(std::env::var("OUT_DIR").unwrap() + "/seen", text.trim()).unwrap();
}
"""


@pytest.mark.long
def test_a_library_that_the_toolchain_lost_is_missed(make: Make) -> None:
    one = make()
    one.write("crates/side/build.rs", READS_SYSTEM)
    install = f"RUN echo {new_word()} >/usr/include/kiro-test.h"
    after = "FROM toolchain AS crates\n"
    assert after in one.dockerfile(FAST)
    one.edit = lambda text: text.replace(after, f"{install}\n{after}")
    with_library = one.build()
    assert with_library.output["side"].startswith("word-")
    assert with_library.cooked == {"itoa"}
    other = f"RUN echo {new_word()} >/usr/include/kiro-other.h"
    one.edit = lambda text: text.replace(after, f"{other}\n{after}")
    without = one.build()
    assert without.code != 0
    assert without.cooked == {"itoa"}, "the dependencies of another toolchain were used"
    assert "No such file or directory" in without.said(without.step)
    sweep(one.namespace, cooked=True)


def test_mounts_of_another_name_are_no_reason_to_build(shared: Checkout) -> None:
    """So they refresh nothing by themselves, and two checkouts share what neither changed."""
    before = shared.build().output
    shared.edit = lambda text: text.replace("-debug-linux-amd64-", "-debug-other-")
    assert "-debug-other-" in shared.dockerfile(FAST)
    renamed = shared.build()
    shared.edit = lambda text: text
    elsewhere = shared.build(given={"BUILDKIT_CACHE_MOUNT_NS": f"{SPACE}-elsewhere"})
    for built in (renamed, elsewhere):
        assert built.output == before
        assert {step for step in built.ran if not step.startswith("[base 1/")} == set()
    assert not mounts_of(f"{SPACE}-elsewhere")


@pytest.mark.parametrize("file", [FAST, PROD])
def test_a_step_that_finds_nothing_to_do_ships_the_program_all_the_same(make: Make, file: str) -> None:
    one = make()
    before = one.build(file).output
    layers = own_layers(one.namespace, records())
    assert any("kiro-fresh build" in record.description for record in layers)
    # and what stands on it
    forget(record for record in layers if re.search("kiro-fresh build|mkdir /seen", record.description))
    # asks for it again
    one.edit = {
        FAST: lambda text: f"{text}ENV AGAIN=1\n",
        PROD: lambda text: text.replace("COPY --from=builder", "RUN true\nCOPY --from=builder"),
    }[file]
    again = one.build(file)
    assert again.step in again.ran
    assert again.compiled == set()
    assert again.output == before


# --- side by side (trap 7)


def side_by_side(*checkouts: Checkout) -> list[Built]:
    with ThreadPoolExecutor(len(checkouts)) as pool:
        return list(pool.map(Checkout.build, checkouts))


@pytest.mark.parametrize("namespace", ["", f"{SPACE}-common"], ids=["mounts-of-their-own", "the-same-mounts"])
def test_two_checkouts_built_at_once_get_each_its_own_program(make: Make, namespace: str) -> None:
    both = make(namespace), make(namespace)
    for one, built in zip(both, side_by_side(*both), strict=True):
        assert f'"{built.output["low"]}"' in (one.folder / LOW).read_text()
        assert f'main={built.output["main"]}"' in (one.folder / MAIN).read_text()


# --- dependencies


@pytest.mark.long
def test_a_removed_dependency_is_gone(make: Make) -> None:
    """And adding one or removing one compiles no other."""
    recipe = f"{SPACE}-recipe"
    one = make(recipe, recipe=recipe, needed=("itoa", "fnv"))
    one.more = {"left": "find /app/target/ /usr/local/cargo/registry | grep -i fnv || :"}
    use = "fn main() {\n", "fn main() {\n    let _ = fnv::FnvHasher::default();\n"
    one.replace(MAIN, *use)
    with_it = one.build()
    assert with_it.output["itoa"] == "7"
    assert with_it.cooked == {"itoa", "fnv"}
    assert "libfnv" in with_it.printed["left"]
    small_workspace(one, recipe=recipe, needed=("itoa", "scopeguard"))
    without = one.build()
    assert without.output["itoa"] == "7"
    assert without.printed["left"] == ""
    assert without.cooked == {"scopeguard"}
    assert "afresh" not in without.log
    one.replace(MAIN, *use)
    broken = one.build()
    assert broken.code != 0
    assert "fnv" in broken.said(broken.step)
