"""kiro-fresh at work in the development image: what it touches, keeps and drops; what the image holds."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kiro_invoke.engine.certificates import host_bundle
from tests.support.crates import FAST, Built, Checkout, small_workspace, sweep
from tests.support.engine import command, docker
from tests.support.odd_tree import odd_tree, revision_of

pytestmark = pytest.mark.docker

SPACE = f"kiro-test-fresh-{os.getpid()}"
TAG = f"{SPACE}:dev"
MARKER = f"marker-{os.getpid()}-of-a-secret"
LOW = "crates/low/src/lib.rs"
COMMAND = "kiro-fresh build cargo build --workspace --bins --locked --offline"


class Lab:
    """The development image of a small workspace, built with a secret, and a container to try things in."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.checkout = Checkout(folder, SPACE)
        small_workspace(self.checkout, recipe=SPACE)
        self.secret = folder.parent / "bundle"
        bundle = host_bundle(os.environ) or Path(ssl.get_default_verify_paths().openssl_cafile)
        self.secret.write_text(f"{bundle.read_text()}\n# {MARKER}\n")
        self.built: Built = self.checkout.image(TAG, FAST, f"--secret=id=ca_bundle,src={self.secret}")
        assert self.built.code == 0, self.built.log[-3000:]
        self.container = self.start()

    def start(self) -> str:
        sleep = ("--entrypoint=sleep", TAG, "600")
        return docker("run", "--detach", "--rm", "--init", "--network=none", *sleep).strip()

    def shell(self, script: str, container: str = "") -> str:
        """Run a script in a container, in a folder of its own; what it printed. Each command must succeed."""
        place = f"cd $(mktemp -d)\n{HELPERS}" if not container else "cd /app"
        compiler = () if container else ("--env=RUSTC=true",)  # which needs no time to tell its version
        argv = ("docker", "exec", "--interactive", *compiler, container or self.container, "sh", "-eu")
        ran = command(*argv, stdin=f"{place}\n{script}\n")
        assert ran.code == 0, f"{ran.out}\n{ran.err}"
        return ran.out


#: `old` dates all sources back; `mark` draws a line; `since` tells of paths whether they are dated after it.
HELPERS = """\
line=$(mktemp)
old() { find . -name target -prune -o -exec touch -h -d 2001-01-01 {} +; }
mark() { sleep 0.01; touch "$line"; sleep 0.01; }
newer() { find "$1" -maxdepth 0 -newer "$line" | grep -q .; }
since() { for it in "$@"; do newer "$it" && echo new || echo old; done; }
"""


@pytest.fixture(scope="module")
def lab(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("lab") / SPACE)
    yield found
    docker("rm", "--force", found.container)
    docker("rmi", TAG)
    sweep(SPACE, cooked=True)


@pytest.fixture
def fresh_container(lab: Lab) -> Iterator[Callable[[str], str]]:
    """Runs scripts in a container of its own, in the folder of the sources."""
    container = lab.start()
    yield lambda script: lab.shell(script, container)
    docker("rm", "--force", container)


def words(text: str) -> str:
    return " ".join(text.split())


# --- the image


def test_the_first_build_in_a_container_finds_nothing_to_do(fresh_container: Callable[[str], str]) -> None:
    """Without a network. The second one, after an edit that looks old, compiles it."""
    first = fresh_container(f"{COMMAND} 2>&1")
    assert "Compiling" not in first
    assert "Finished" in first
    word = "an edit in the container"
    second = fresh_container(
        f"sed -i 's/word-[-0-9]*/{word}/' {LOW}; touch -d 2001-01-01 {LOW}; {COMMAND} 2>&1"
    )
    assert set(re.findall(r"Compiling (\S+)", second)) == {"low", "kiro-backend"}
    assert f"low={word}" in fresh_container("target/debug/kiro-backend")
    targets = fresh_container("cargo test --package tools --all-targets --locked --offline 2>&1")
    assert set(re.findall(r"Running (?:unittests )?(\S+)", targets)) == {
        "src/bin/tool.rs",
        "benches/fast.rs",
        "examples/show.rs",
        "tests/works.rs",
    }


def test_cargo_had_the_same_paths_in_the_build_as_in_the_container(lab: Lab) -> None:
    """Else rustc forgets its increments, and the first edit in a container compiles whole crates."""
    said = lab.shell("cd /app; readlink target; grep -rlF -e /mounted /target . || :")
    assert said.split() == ["/target"]


def test_a_secret_is_in_no_layer_no_history_and_no_log(lab: Lab) -> None:
    assert "[crates 2/2]" in lab.built.ran, "the step that uses the secret did not run"
    assert MARKER not in lab.built.log
    assert MARKER not in docker("history", "--no-trunc", "--format", "{{json .}}", TAG)
    assert MARKER not in docker("image", "inspect", TAG)
    source = re.search(r"word-[-0-9]+", (lab.checkout.folder / LOW).read_text())
    assert source
    places = [
        f"{root}/{name}"
        for root in ("", "/stage")
        for name in ["app", "etc", "home", "opt", "root", "run", "tmp", "usr/local", "var"]
    ]
    search = f"grep -rlF --exclude-dir=secrets -e %s {' '.join(places)} /stage/kiro || :"
    step = "RUN --mount=type=secret,id=marker --mount=type=bind,from=crates,target=/stage"
    step += f' echo "found [$({search % "$(cat /run/secrets/marker)"})]" && {search % source[0]}'
    text = f"{lab.checkout.dockerfile(FAST)}\nFROM dev AS looked\n{step}\n"
    marker = lab.secret.with_name("marker")
    marker.write_text(MARKER)
    argv = lab.checkout.argv(f"--secret=id=marker,src={marker}", "--output=type=cacheonly", target="looked")
    ran = command(*argv, stdin=text)
    assert ran.code == 0, ran.err
    assert re.search(r" found \[\]$", ran.err, re.MULTILINE), ran.err[-2000:]
    assert re.search(r"^#\S+ [\d.]+ /app/\S+/low/src/lib.rs$", ran.err, re.MULTILINE), (
        "what is there is not found"
    )


# --- the revision

#: Sizes at which SHA-256 pads in another way, or reading takes another turn.
SIZES = (1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 8191, 8192, 8193, 16385)


def test_the_revision_is_what_its_definition_says(lab: Lab, tmp_path: Path) -> None:
    root = odd_tree(tmp_path)
    for size in SIZES:
        (root / f"size {size}").write_bytes(b"s" * size)
    for folder in ("target", "a/target"):
        (root / folder).mkdir()
        (root / folder / "made").write_text("by cargo, or a source in a folder that is called so")
    (root / "to itself").symlink_to("to itself")
    said = docker(
        "run", "--rm", "--network=none", f"--volume={root}:/tree:ro", "--workdir=/tree",
        "--entrypoint=kiro-fresh", TAG, "revision",
    )  # fmt: skip
    assert said.strip() == revision_of(root, b"target")


# --- what counts as changed


@pytest.mark.parametrize(
    ("edit", "new", "left"),
    [
        ("echo 2 >p/src/lib.rs", "p/src/lib.rs", "p/src/other.rs p/data p/Cargo.toml q/src/lib.rs"),
        ("echo 2 >p/data", "p/data p/src/lib.rs p/src", "q/src/lib.rs Cargo.toml"),
        ("rm p/data", "p/src/lib.rs p/src p/build.rs", "q/src/lib.rs"),
        ("echo 2 >p/src/new.rs", "p/src/lib.rs p/src p/build.rs", "q/src/lib.rs"),
        ("mkdir p/empty", "p/src/lib.rs p/build.rs", "q/src/lib.rs"),
        ("chmod +x p/src/lib.rs", "p/src/lib.rs p/build.rs", "q/src/lib.rs"),
        ("ln -sf ../q/src/lib.rs p/link", "p/src/lib.rs q/src/lib.rs", "q/data"),
        ("ln -sfn ../q p/folder", "p/src/lib.rs q/src/lib.rs q/data q/src", "Cargo.toml"),
        ("ln -sf ../data p/src/lib.rs", "p/data p/build.rs", "q/src/lib.rs"),
        ("echo 2 >Cargo.lock", "p/src/lib.rs q/src/lib.rs Cargo.toml q", ""),
        ("echo 2 >shared", "p/src/lib.rs q/src/lib.rs Cargo.toml q", ""),
        ("export FLAVOUR=x", "p/src/lib.rs q/src/lib.rs Cargo.toml q", ""),
        ("export HTTPS_PROXY=x https_proxy=y TERM=z HOSTNAME=h", "", "p/src/lib.rs q/src/lib.rs Cargo.toml"),
        ("rm -r target", "", "p/src/lib.rs q/src/lib.rs Cargo.toml"),
        ("truncate -s -1 target/.kiro/list", "p/src/lib.rs q/src/lib.rs Cargo.toml", ""),
        (
            "mkdir p/src/n; echo 1 >p/src/n/Cargo.toml",
            "p/src/n/Cargo.toml p/src/lib.rs p/build.rs",
            "q/src/lib.rs",
        ),
        (":", "", "p/src/lib.rs p/data p/src p q Cargo.toml Cargo.lock"),
    ],
)
def test_what_differs_is_dated_as_new_and_nothing_else(lab: Lab, edit: str, new: str, left: str) -> None:
    said = lab.shell(
        f"{TWO_PACKAGES}\nmark; {edit}; old; kiro-fresh build true; since {new}; echo /; since {left}"
    )
    changed, _, kept = words(said).partition("/")
    assert changed.split() == ["new"] * len(new.split())
    assert kept.split() == ["old"] * len(left.split())


TWO_PACKAGES = """\
mkdir -p p/src q/src
for it in p/build.rs p/src/lib.rs p/src/other.rs p/data q/src/lib.rs q/data shared; do echo 1 >$it; done
for it in p q; do printf '[package]\\nname = "%s"\\nversion = "0.1.0"\\n' $it >$it/Cargo.toml; done
printf '[workspace]\\nresolver = "2"\\nmembers = ["p", "q"]\\n' >Cargo.toml
echo 'version = 4' >Cargo.lock
ln -s data p/link
ln -s src p/folder
unit() { mkdir -p target/debug/.fingerprint/p-$1; touch target/debug/.fingerprint/p-$1/dep-lib-p; }
old
unit 0
kiro-fresh build true
"""


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("rm p/data", ":"),
        ("echo 2 >p/new", "rm p/new"),
        ("echo 2 >p/src/new.rs", "rm p/src/new.rs"),
        ("echo 2 >p/data", "rm p/data"),
        ("echo 2 >p/data", "echo 1 >p/data"),
        ("echo 2 >p/src/lib.rs", "echo 1 >p/src/lib.rs"),
        ("chmod +x p/data", "chmod -x p/data"),
        ("ln -sf build.rs p/link", "ln -sf data p/link"),
        ("export FLAVOUR=x", "unset FLAVOUR"),
    ],
)
@pytest.mark.parametrize("end", ["false || :", "sh -c 'kill -KILL $PPID' || :"], ids=["failed", "killed"])
def test_what_differed_in_a_build_without_success_differs_still(
    lab: Lab, first: str, then: str, end: str
) -> None:
    """For the next one; after that one's success, no more."""
    failed = f"{first}; old; kiro-fresh build {end}; {then}"
    next_one = "mark; old; kiro-fresh build true; since p/src/lib.rs"
    said = lab.shell(f"{TWO_PACKAGES}\n{failed}; {next_one}; {next_one}")
    assert words(said) == "new old"


def test_what_a_link_leads_to_is_new_once(lab: Lab) -> None:
    edit = "ln -sf ../q/src/lib.rs p/link; old; kiro-fresh build true"
    again = "mark; old; kiro-fresh build true; since p/src/lib.rs q/src/lib.rs q/data"
    assert words(lab.shell(f"{TWO_PACKAGES}\n{edit}; {again}")) == "old old old"


def test_a_file_that_is_saved_while_the_command_runs_is_not_listed_as_compiled(lab: Lab) -> None:
    """Neither as what it was before: it may have been compiled as either."""
    saving = "echo 3 >p/src/lib.rs; old; kiro-fresh build sh -c 'sleep 0.01; echo 2 >p/src/lib.rs'"
    again = "mark; echo 3 >p/src/lib.rs; old; kiro-fresh build true; since p/src/lib.rs"
    assert words(lab.shell(f"{TWO_PACKAGES}\n{saving}; {again}; {again}")) == "new old"


def test_a_file_that_is_saved_while_a_command_fails_may_have_been_compiled(lab: Lab) -> None:
    """And is as it was when the next one begins."""
    saving = "kiro-fresh build sh -c 'sleep 0.01; echo 2 >p/src/lib.rs; false' || :; echo 3 >p/src/lib.rs"
    again = "mark; old; kiro-fresh build true; since p/src/lib.rs"
    begun = "echo 3 >p/src/lib.rs; kiro-fresh build true"
    assert words(lab.shell(f"{TWO_PACKAGES}\n{begun}; {saving}; {again}; {again}")) == "new old"


def test_what_is_new_is_newer_than_what_cargo_wrote_before_the_clock_went_back(lab: Lab) -> None:
    soon = "$(date +%s.%N | awk '{printf \"%.3f\", $1 + 0.6}')"
    soon = f"unit 1; touch -d @{soon} target/debug/.fingerprint/p-1/dep-lib-p"
    edit = "echo 2 >p/src/lib.rs; kiro-fresh build find p/src/lib.rs -newer target/debug/.fingerprint/p-1/dep-lib-p"
    assert words(lab.shell(f"{TWO_PACKAGES}\n{soon}; {edit}")) == "p/src/lib.rs"


def test_a_target_from_the_future_starts_afresh(lab: Lab) -> None:
    """Nothing could be dated after it without looking new in each build until then."""
    far = "touch -d 2090-01-01 target/debug/.fingerprint/p-0/dep-lib-p"
    said = lab.shell(f"{TWO_PACKAGES}\n{far}; kiro-fresh build ls target; kiro-fresh build ls target")
    assert words(said) == "kiro-fresh: starting the target afresh: the clock has gone back since it was built"


@pytest.mark.parametrize(
    "foreign",
    [
        "echo 2 >p/src/lib.rs; unit 1; echo 1 >p/src/lib.rs",
        "echo 2 >p/src/lib.rs; unit 1; echo 1 >p/src/lib.rs; old",
        "kiro-fresh build sh -c 'echo 2 >p/src/lib.rs; sleep 0.01; false' || :; unit 1; echo 1 >p/src/lib.rs; old",
        "ln -sf build.rs p/link; unit 1; ln -sf data p/link; old",
        "echo 2 >p/src/new.rs; unit 1; rm p/src/new.rs; old",
    ],
    ids=["undone", "restored", "saved-in-a-failing-build", "relinked", "added-and-removed"],
)
def test_what_somebody_else_compiled_meanwhile_is_not_trusted(lab: Lab, foreign: str) -> None:
    """A plain `cargo build` between two of kiro-fresh's, or one that was killed: from what, nobody knows."""
    unit = "target/debug/.fingerprint/p-1/dep-lib-p"
    then = f"sleep 0.01; {foreign}; sleep 0.01; kiro-fresh build find p/src/lib.rs -newer {unit}"
    assert words(lab.shell(f"{TWO_PACKAGES}\n{then}; {QUIET}; since p/src/lib.rs")) == "p/src/lib.rs old"


#: One more build, by which nothing is news any more.
QUIET = "unit 2; sleep 0.01; kiro-fresh build true; mark; old; kiro-fresh build true"


def test_what_a_build_generates_among_the_sources_concerns_its_package(lab: Lab) -> None:
    """In the next build it is as in the context, or not there at all: only its package can make it again."""
    generated = "kiro-fresh build sh -c 'echo made >p/src/gen.rs; echo made >p/data'"
    next_one = "rm p/src/gen.rs; echo 1 >p/data; mark; old; kiro-fresh build true"
    assert (
        words(lab.shell(f"{TWO_PACKAGES}\n{generated}; {next_one}; since p/build.rs q/src/lib.rs"))
        == "new old"
    )


def test_a_build_that_does_not_begin_leaves_the_dates_alone(lab: Lab) -> None:
    edit = "echo 2 >p/src/lib.rs; mark; touch p/src/lib.rs; RUSTC=/nowhere kiro-fresh build true 2>&1 || :"
    assert words(lab.shell(f"{TWO_PACKAGES}\n{edit}; since p/src/lib.rs")).endswith(" new")


def test_what_comes_and_goes_while_it_is_looked_at_does_no_harm(lab: Lab) -> None:
    vim = "for it in $(seq 400); do echo >p/4913; rm p/4913; done"
    builds = "for it in 1 2 3 4 5 6; do kiro-fresh build true; done"
    assert lab.shell(f"{TWO_PACKAGES}\n({vim}) & {builds}; wait") == ""


def test_an_edit_is_new_to_every_variant_that_was_compiled_before(lab: Lab) -> None:
    """A target holds variants of one crate (features, profiles), and the next build may want another than the last."""
    variant = "mkdir -p target/debug/.fingerprint/p-%s; touch target/debug/.fingerprint/p-%s/dep-lib-p"
    edits = f"{variant % (1, 1)}; echo 2 >p/src/lib.rs; old; kiro-fresh build sh -c 'sleep 0.02; {variant % (2, 2)}'"
    later = "old; kiro-fresh build find p/src/lib.rs -newer target/debug/.fingerprint/p-%s/dep-lib-p"
    said = lab.shell(f"{TWO_PACKAGES}\n{edits}; {later % 1}; {later % 2}")
    assert words(said) == "p/src/lib.rs"


def test_a_source_that_only_looks_new_is_no_news(lab: Lab) -> None:
    """A fresh checkout, or `touch`: what was compiled since the last edit stays compiled."""
    unit = "mkdir -p target/debug/.fingerprint/p-1; touch target/debug/.fingerprint/p-1/dep-lib-p"
    compiled = f"echo 2 >p/src/lib.rs; kiro-fresh build sh -c 'sleep 0.02; {unit}'; sleep 0.02"
    touched = (
        "find p -exec touch {} +; kiro-fresh build find p -newer target/debug/.fingerprint/p-1/dep-lib-p"
    )
    assert words(lab.shell(f"{TWO_PACKAGES}\n{compiled}; {touched}")) == ""


def test_what_cannot_be_dated_is_not_taken_for_compiled(lab: Lab) -> None:
    """Cargo would take a source that looks old for what it compiled before: the build stops instead."""
    edit = "echo 2 >p/src/lib.rs; touch -d 2001-01-01 p/src/lib.rs"
    said = lab.shell(
        f"{TWO_PACKAGES}\n{edit}; chown -R 1 .; chmod -R a+rwX .\n"
        "setpriv --reuid 2 --regid 2 --clear-groups kiro-fresh build true 2>&1 || echo stopped"
    )
    assert (
        words(said)
        == "kiro-fresh: ./p/src/lib.rs cannot be dated: Operation not permitted (os error 1) stopped"
    )


def test_two_builds_of_one_target_wait_for_each_other(lab: Lab) -> None:
    slow = "kiro-fresh build sh -c 'echo begun >>log; sleep 0.4; echo done >>log'"
    said = lab.shell(f"{slow} & {slow} & wait; cat log")
    assert (
        words(said.replace("kiro-fresh: waiting for another build in this target", ""))
        == "begun done begun done"
    )


# --- dependencies in a mount of their own

BYTES = "head -c %d /dev/zero >d/%s"


def test_dependencies_of_another_environment_are_dropped(lab: Lab) -> None:
    said = lab.shell(
        "kiro-fresh deps d touch d/a; kiro-fresh deps d ls d; FLAVOUR=x kiro-fresh deps d ls d; ls d"
    )
    assert (
        words(said)
        == "a kiro-fresh: starting the dependencies afresh: they were compiled in another environment"
    )


def test_dependencies_that_grew_by_half_are_dropped(lab: Lab) -> None:
    steps = (BYTES % (1_000_000, "a"), BYTES % (300_000, "b"), BYTES % (300_000, "c"), "ls d")
    runs = [f"kiro-fresh deps d sh -c '{step}; ls d'" for step in steps]
    *kept, dropped = lab.shell("; echo /; ".join(runs)).split("/")
    assert [words(one) for one in kept] == ["a", "a b", "a b c"]
    assert "more than half again" in dropped
    assert dropped.splitlines()[-1].startswith("kiro-fresh: ")


@pytest.mark.parametrize("end", ["exit 3", "kill -KILL $PPID"], ids=["failed", "killed"])
def test_the_size_of_half_the_dependencies_is_no_bound(lab: Lab, end: str) -> None:
    first, second = BYTES % (10, "a"), BYTES % (1_000_000, "b")
    broken = f"kiro-fresh deps d sh -c '{first}; {end}' && exit 1 || :"
    said = lab.shell(f"{broken}; kiro-fresh deps d sh -c '{second}'; kiro-fresh deps d ls d")
    assert words(said) == "a b"


LOCKED = """\
mkdir d; hash=0123456789abcde
unit() {
    mkdir -p d/debug/.fingerprint/$1-$hash$2 d/debug/build/$1-$hash$2/out d/debug/deps d/debug/incremental/$1-x
    echo >d/debug/.fingerprint/$1-$hash$2/lib-$1; echo >d/debug/build/$1-$hash$2/out/examples
    echo >d/debug/deps/lib$3-$hash$2.rlib; echo >d/debug/deps/$3-$hash$2.d; echo >d/debug/incremental/$1-x/query
}
unit md-5 1 md5; unit gone 2 gone; unit own 3 own
echo >d/debug/own; echo >d/debug/own.d; echo >d/debug/.cargo-lock
cat >Cargo.lock <<LOCK
version = 4
[[package]]
name = "md-5"
version = "1.0.0"
source = "registry+https://example.org/index"
[[package]]
name = "own"
version = "0.0.1"
dependencies = [
 "md-5",
]
LOCK
"""


def test_what_no_lockfile_names_and_dummies_leave_the_dependencies(lab: Lab) -> None:
    kiro = "kiro-fresh deps d mv made/debug d"
    said = lab.shell(f"{LOCKED}\nmv d made; {kiro}; find d -type f | LC_ALL=C sort; find d -type d -empty")
    assert said.split() == [
        "d/.kiro/deps",
        "d/debug/.cargo-lock",
        "d/debug/.fingerprint/md-5-0123456789abcde1/lib-md-5",
        "d/debug/build/md-5-0123456789abcde1/out/examples",
        "d/debug/deps/libmd5-0123456789abcde1.rlib",
        "d/debug/deps/md5-0123456789abcde1.d",
    ]


# --- the target that is seeded with them

COOKED = """\
unit() {
    mkdir -p $1/debug/.fingerprint/$2-1 $1/debug/deps $1/debug/build/$2-1
    echo $2 >$1/debug/.fingerprint/$2-1/lib; echo $2 >$1/debug/deps/lib$2-1.rlib
    echo run >$1/debug/build/$2-1/script; chmod 755 $1/debug/build/$2-1/script
    ln $1/debug/build/$2-1/script $1/debug/build/$2-1/script-1
}
unit cooked a; unit cooked b
old; mkdir app; cd app
list() { (cd $1 && find . -name .kiro -prune -o -type f -printf '%P %s %T@ %m %n\\n' | LC_ALL=C sort); }
like() { list $1 >expected; list target >found; diff expected found && echo "$2"; }
build() { kiro-fresh build --cooked $1 true; }
"""


def test_the_target_holds_what_is_cooked_and_nothing_of_former_cooks(lab: Lab) -> None:
    said = lab.shell(
        f"{COOKED}\nbuild ../cooked; like ../cooked seeded\n"
        "cp -a ../cooked ../next; rm -r ../next/debug/*/*b-1*; unit ../next c\n"
        "build ../next; like ../next again"
    )
    assert words(said) == "seeded again"


@pytest.mark.parametrize(
    "state",
    [
        "printf cut >target/debug/deps/liba-1.rlib",
        "rm target/debug/deps/liba-1.rlib",
        "rm -r target/debug/.fingerprint",
        "rm -r target/debug",
        "rm target/.kiro/cooked",
    ],
)
def test_a_seeding_that_was_cut_short_is_finished(lab: Lab, state: str) -> None:
    said = lab.shell(f"{COOKED}\nbuild ../cooked; {state}; build ../cooked; like ../cooked whole")
    assert (
        words(said).removeprefix(
            "kiro-fresh: starting the target afresh: its dependencies are not the cooked ones "
        )
        == "whole"
    )


def test_a_seeding_that_was_killed_is_finished(lab: Lab) -> None:
    many = "(cd ../cooked/debug/deps && seq 500 | split -a 4 -l 1 - lib && touch -d 2001-01-01 *)"
    delays = "004 008 012 018 026 040"
    killed = "timeout -s KILL 0.$it kiro-fresh build --cooked ../cooked true || :"
    rounds = f"for it in {delays}; do {killed}; build ../cooked; like ../cooked whole; rm -r target; done"
    said = lab.shell(f"{COOKED}\n{many}\n{rounds}")
    whole = [line for line in said.splitlines() if not line.startswith("kiro-fresh: ")]
    assert whole == ["whole"] * 6


def test_a_target_whose_dependencies_were_compiled_anew_starts_afresh(lab: Lab) -> None:
    anew = "echo 'a by the build' >target/debug/deps/liba-1.rlib; echo >target/debug/other"
    said = lab.shell(
        f"{COOKED}\nbuild ../cooked; {anew}; build ../cooked; like ../cooked afresh; ls target/debug"
    )
    assert "its dependencies are not the cooked ones" in said
    assert said.splitlines()[-3:] == ["afresh", "build", "deps"]


def test_a_dependency_that_each_build_compiles_anew_is_no_reason_to_start_afresh_again(lab: Lab) -> None:
    """It may read a variable that is set for the build and was not for the cook."""
    build = "kiro-fresh build --cooked ../cooked sh -c 'echo again >target/debug/deps/liba-1.rlib'"
    assert lab.shell(f"{COOKED}\n{build}; {build}; {build}") == ""


def test_a_target_that_holds_three_times_of_its_own_starts_afresh(lab: Lab) -> None:
    grown = (
        "kiro-fresh build --cooked ../cooked sh -c 'head -c %d /dev/zero >target/debug/%s'; ls target/debug"
    )
    first, second, third, fourth = lab.shell(
        f"{COOKED}\n"
        + "; echo /; ".join(grown % it for it in ((100_000, "x"), (110_000, "y"), (110_000, "z"), (1, "w")))
    ).split("/")
    assert words(first) == "build deps x"
    assert words(second) == "build deps x y"
    assert words(third) == "build deps x y z"
    assert "it holds three times what its first build left" in fourth
    assert fourth.split()[-3:] == ["build", "deps", "w"]


#: `own NAME HASH KIND NEEDS` leaves what cargo leaves of a unit that it compiles; HASH and NEEDS are of two hex digits.
OWN_UNITS = """\
mkdir bin c m real w; ln -s ../real w/target
cat >bin/own <<'OWN'
set -eu
h=${2}00000000000000; d=target/debug; u=$d/.fingerprint/$1-$h; needs=
mkdir -p $u $d/deps $d/build/$1-$h/out/incremental $d/incremental/$1-i$2/s-1
for it in ${4:-}; do needs=$needs${needs:+,}[1,\\"x\\",false,$(printf %d 0x$it)]; done
echo "{\\"features\\":\\"[]\\",\\"deps\\":[$needs],\\"local\\":[{}],\\"rustflags\\":[]}" >$u/$3.json
echo $h >$u/$3; echo >$d/deps/$1-$h.d; echo >$d/build/$1-$h/out/made
echo $h >$d/deps/$1-$h; echo >$d/build/$1-$h/out/incremental/part-1; echo >$d/incremental/$1-i$2/s-1/part
case $3 in bin-*) ln -f $d/deps/$1-$h $d/$1 ;; esac
sleep 0.01; touch $d/incremental/$1-i$2
OWN
chmod +x bin/own; PATH=$PWD/bin:$PATH
in_w() { rm -rf real; mkdir real; (cd w && kiro-fresh build --context ../c --mounted ../m sh -euc "$1"); }
units() { (cd $1/debug && find .fingerprint deps build | grep -oE -e '-..0000000' | cut -c2-3 | sort -u | xargs); }
held() { echo "$(units $1) / $(ls $1/debug/incremental | xargs)"; }
"""


def test_of_units_that_were_replaced_only_some_increments_stay_and_none_are_in_the_image(lab: Lab) -> None:
    said = lab.shell(
        f"{OWN_UNITS}\n"
        "in_w 'own low a1 lib-low; own app b1 lib-app a1; own app c1 bin-app \"b1 a1\"'; held real; held m\n"
        "in_w 'own app b2 lib-app a1; own app c2 bin-app \"b2 a1\"'; held real; held m\n"
        "in_w 'own app b3 lib-app a1; own app c3 bin-app \"b3 a1\"'; held real; held m\n"
        "in_w 'own low a1 lib-low'; held real; held m\n"
        "in_w true; held real; held m"
    )
    first, second, third = "app-ib1 app-ic1", "app-ib2 app-ic2", "app-ib3 app-ic3"
    assert [words(line) for line in said.splitlines()] == [
        *[f"a1 b1 c1 / {first} low-ia1"] * 2,
        f"a1 b2 c2 / {second} low-ia1",
        "a1 b2 c2 / app-ib1 app-ib2 app-ic1 app-ic2 low-ia1",
        *[f"a1 b3 c3 / {third} low-ia1", "a1 b3 c3 / app-ib2 app-ib3 app-ic2 app-ic3 low-ia1"] * 3,
    ]


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ("rm target/debug/app; cp target/debug/deps/app-c2*0 target/debug/app", "a program that is no link"),
        ("rm target/debug/app", "no program"),
        ("sed -i s/deps/other/ target/debug/.fingerprint/app-b1*/*.json", "a note that cannot be read"),
        ("rm target/debug/.fingerprint/app-b1*/lib-app", "a unit without a fingerprint"),
        ("touch target/debug/deps/libapp.so", "a library that has no hash in its name"),
    ],
)
def test_where_it_cannot_be_told_what_is_used_all_stays(lab: Lab, odd: str, why: str) -> None:
    said = lab.shell(
        f"{OWN_UNITS}\n"
        "in_w 'rm -f target/debug/app; own app b1 lib-app; own app c1 bin-app b1'\n"
        f"in_w 'own app b2 lib-app; own app c2 bin-app b2; {odd}'; held real; held m"
    )
    all_of_it = "b1 b2 c1 c2 / app-ib1 app-ib2 app-ic1 app-ic2"
    assert [words(line) for line in said.splitlines()] == [all_of_it] * 2, why


def test_tests_examples_and_what_build_scripts_write_are_of_use(lab: Lab) -> None:
    said = lab.shell(
        f"{OWN_UNITS}\n"
        "in_w 'own app b1 lib-app; own app c1 bin-app b1; own app d1 test-lib-app; own show e1 example-show\n"
        "cd target/debug; mkdir examples; mv deps/show-e1*0 examples; ln examples/show-e1*0 examples/show\n"
        "touch build/app-b100000000000000/out/incremental/part-2; mkdir -p ../other/incremental\n"
        "touch ../other/incremental/kiro-a ../other/incremental/kiro-b'\n"
        "held real; ls real/debug/build/app-b1*/out/incremental; ls real/other/incremental; ls real/debug/examples"
    )
    assert said.split("\n")[0] == "b1 c1 d1 e1 / app-ib1 app-ic1 app-id1 show-ie1"
    assert said.split()[-6:] == ["part-1", "part-2", "kiro-a", "kiro-b", "show", "show-e100000000000000"]


# --- sources that are copied, and a target in a mount

#: A context, and a folder to build it in whose target is a link: what cargo makes goes to the mount first.
APART = """\
mkdir -p c/p/src c/p/target c/target m/debug real/debug w; ln -s ../real w/target; ln -s src c/p/link
echo 1 >c/p/src/lib.rs; echo x >c/p/run; chmod 750 c/p/run; chmod 700 c/p/src; echo no >c/target/no
touch -d 2001-01-01 c/p/src/lib.rs; touch -d 2002-02-02 c/p/src; touch -hd 2003-03-03 c/p/link
echo old >real/debug/made; ln real/debug/made keep
in_w() { (cd w && kiro-fresh build --context ../c --mounted ../m "$@"); }
"""


def test_sources_are_copied_as_they_are_and_a_target_among_them_is_not(lab: Lab) -> None:
    listing = "find . -path ./target -prune -o -printf '%P %y %m %l %TY\\n' | grep -v '^ ' | sort"
    said = lab.shell(f"{APART}in_w true; cd w; {listing}; echo /; readlink target; ls ../real ../m")
    copied, _, rest = said.partition("/\n")
    this_year = re.compile(r" (?!200[123])\d{4}$", re.MULTILINE)
    assert this_year.sub("", copied).splitlines() == [
        "p d 755 ",
        "p/link l 777 src 2003",
        "p/run f 750 ",
        "p/src d 700  2002",
        "p/src/lib.rs f 644  2001",
        "p/target d 755 ",
    ]
    assert rest.split() == ["../real", "../m:", "debug", "../real:", "debug"]


def test_the_target_leads_to_the_mount_while_the_command_runs_and_back_then(lab: Lab) -> None:
    make = "sh -c 'readlink -f target; cd target/debug; echo new >made; ln made twin; ln -s made link'"
    said = lab.shell(
        f"{APART}in_w {make}; readlink w/target; cat real/debug/made keep; readlink real/debug/link"
        "; find real -samefile real/debug/made | sort; ls real/.kiro"
    )
    during, *after = said.split()
    assert during.endswith("/m")
    assert after == [
        "../real", "new", "old", "made", "real/debug/made", "real/debug/twin", "list", "own",
    ]  # fmt: skip


def test_the_target_leads_back_after_a_failure_and_the_next_build_harms_no_mount(lab: Lab) -> None:
    fails = "in_w sh -c 'echo half >target/debug/made; false' || readlink w/target; cat real/debug/made"
    said = lab.shell(
        f"{APART}{fails}; in_w sh -c 'echo whole >target/debug/made'; cat real/debug/made m/debug/made"
    )
    assert said.split() == ["../real", "old", "whole", "whole"]


def test_a_target_that_leads_to_the_mount_already_is_refused(lab: Lab) -> None:
    """What is in the mount would be removed to make room for itself."""
    said = lab.shell(
        f"{APART}echo kept >m/debug/kept; ln -sfn ../m w/target; in_w true 2>&1 || cat m/debug/kept"
    )
    assert said == "kiro-fresh: target leads to the mount already\nkept\n"


def test_a_mount_needs_a_target_that_is_a_link(lab: Lab) -> None:
    said = lab.shell(f"{APART}rm w/target; mkdir w/target; in_w true 2>&1 || echo ended with $?")
    assert re.fullmatch(r"kiro-fresh: target is no link: .*\nended with 2\n", said)


def test_a_context_that_is_not_there_is_an_error(lab: Lab) -> None:
    said = lab.shell(f"{APART}rm -r c; in_w true 2>&1 || echo ended with $?")
    assert said.splitlines()[-1] == "ended with 2"


def test_news_are_told_among_copied_sources_too(lab: Lab) -> None:
    """Each build copies all of them anew: what did not change has the date that the target was built from."""
    unit = "mkdir -p m/debug/.fingerprint/p-1; echo >m/debug/.fingerprint/p-1/dep-lib-p; sleep 0.01"
    first = f"{APART}{unit}; export line; echo 2 >c/p/Cargo.toml; echo 3 >c/p/src/b.rs; in_w true; mark"
    seen = 'for it in p/src/lib.rs p/src/b.rs; do [ $it -nt "$line" ] && echo new || echo old; done'
    edit = "echo 2 >c/p/src/lib.rs; touch -d 2000-01-01 c/p/src/lib.rs"
    said = lab.shell(
        f"{first}; rm -r w; mkdir w; ln -s ../real w/target; {edit}; in_w sh -c 'cat p/src/lib.rs; {seen}'"
    )
    assert said.split() == ["2", "new", "old"]


def test_of_copied_sources_only_what_was_written_since_is_suspect(lab: Lab) -> None:
    """Somebody else compiled there, or a build was killed: copies are always new, what they are of is not."""
    unit = "mkdir -p m/debug/.fingerprint/p-1; echo >m/debug/.fingerprint/p-1/dep-lib-p; sleep 0.01"
    first = (
        f"{APART}export line; echo 2 >c/p/Cargo.toml; echo 3 >c/p/src/b.rs; {unit}; in_w true; mark; {unit}"
    )
    seen = 'for it in p/src/lib.rs p/src/b.rs; do [ $it -nt "$line" ] && echo new || echo old; done'
    saved = "touch c/p/src/lib.rs; touch -d 2001-01-01 c/p/src/lib.rs"
    said = lab.shell(f"{first}; rm -r w; mkdir w; ln -s ../real w/target; {saved}; in_w sh -c '{seen}'")
    assert said.split() == ["new", "old"]


# --- the skeleton


def test_a_link_that_is_called_like_a_manifest_leads_to_what_it_says(lab: Lab) -> None:
    tree = "mkdir -p c/p c/q; echo text >c/q/manifest.in; echo 1 >c/p/lib.rs; echo toml >c/p/a.toml"
    show = "kiro-fresh skeleton c s; cat s/q/manifest.in s/p/lib.rs s/p/a.toml; rm -r s"
    all_of_it = ["text", "1", "toml"]
    for link, content in {
        "ln -s ../q/manifest.in c/p/Cargo.toml": all_of_it,
        "ln -s q c/.cargo": all_of_it,
        "ln -s q c/cargo": ["toml"],
        "ln -s p/a.toml c/other": ["toml"],
    }.items():
        assert lab.shell(f"{tree}; {link}; {show}").split() == content, link
