"""Tiny Cargo workspaces that are built with the real text of the backend's Dockerfiles.

The binary crate is named as the backend's is, so that the text fits as it stands; its stages before the recipe are
the backend's own, and cached. What follows has mounts of its own: `BUILDKIT_CACHE_MOUNT_NS` names a namespace.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from types import MappingProxyType

from kiro_invoke.engine.certificates import host_bundle
from tests.support.engine import ROOT, command, docker

FAST, PROD = "Dockerfile.fast", "Dockerfile"

#: Crates of the public registry that depend on no other, and what a lockfile tells of them.
LOCKED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "fnv": ("1.0.7", "3f9eec918d3f24069decb9af1554cad7c880e2da24a9afd88aca000531ab82c1"),
        "hex": ("0.4.3", "7f24254aa9a54b5c858eaee2f5bccdb46aaf0e486a595ed5fd8f86ba55232a70"),
        "itoa": ("1.0.19", "3bd1574e617a9a6c1f8f8181bd7e841e1f20e4277607ef28945765188d6284d4"),
        "scopeguard": ("1.2.0", "94143f37725109f92c262ed2cf5e59bce7498c01bcc1502d7b9afe439a4e9f49"),
        "semver": ("1.0.28", "8a7852d02fc848982e0c167ef163aaff9cd91dc640ba85e263cb1ce46fae51cd"),
    }
)

#: What runs the built programs, in the stage that becomes the image, and hands out what they printed.
_SEEN = {
    FAST: """
FROM dev AS seen
RUN mkdir /seen && /app/target/debug/kiro-backend >/seen/kiro-backend{more}
FROM scratch AS shown
COPY --from=seen /seen/ /
""",
    PROD: """
FROM runtime AS seen
USER root
RUN mkdir /seen && kiro-backend >/seen/kiro-backend
FROM scratch AS shown
COPY --from=seen /seen/ /
""",
}
_BUILD_STEP = {FAST: "[dev 2/2]", PROD: "[builder 2/2]"}

#: Every file is an hour older than the one that was written before it.
_ages = count(1)
_words = count(1)
_LONG_AGO = 1_500_000_000


def new_word() -> str:
    """A word of always the same length that no program has printed before."""
    return f"word-{next(_words):05}-{os.getpid():08}"


@dataclass(frozen=True)
class Built:
    """A build: its exit status, its log, the application's build step, and what was printed in the image."""

    code: int
    log: str
    step: str
    printed: Mapping[str, str]

    @property
    def output(self) -> Mapping[str, str]:
        """The `key=value` lines that the program printed."""
        assert self.code == 0, self.log[-3000:]
        lines = self.printed["kiro-backend"].splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}

    @property
    def compiled(self) -> frozenset[str]:
        """The crates that the application's build step compiled."""
        return frozenset(re.findall(r"^\s*Compiling (\S+) v", self.said(self.step), re.MULTILINE))

    @property
    def cooked(self) -> frozenset[str]:
        """The crates that the dependency step compiled, dummies apart."""
        return frozenset(re.findall(r"^\s*Compiling (\S+) v(?!0\.0\.1 )", self.said("[cook "), re.MULTILINE))

    @property
    def ran(self) -> frozenset[str]:
        """The first words of the names of all steps that were not cached: `[dev 2/2]`."""
        done = set(re.findall(r"^#(\d+) CACHED$", self.log, re.MULTILINE))
        return frozenset(name for number, name in self._steps() if number not in done)

    def said(self, step: str) -> str:
        """What the steps whose name begins so printed."""
        numbers = {number for number, name in self._steps() if name.startswith(step)}
        lines = re.findall(r"^#(\d+) [\d.]+ (.*)$", self.log, re.MULTILINE)
        return "\n".join(line for number, line in lines if number in numbers)

    def _steps(self) -> list[tuple[str, str]]:
        found = re.findall(r"^#(\d+) (\[[^\]]+\])", self.log, re.MULTILINE)
        return [(number, name) for number, name in found if not name.startswith("[internal]")]


@dataclass
class Checkout:
    """A working copy of a workspace, and the namespace of its mounts.

    `more` are commands to run in the development image, by name; `edit` changes the Dockerfile's text.
    """

    folder: Path
    namespace: str
    more: Mapping[str, str] = field(default_factory=dict)
    edit: Callable[[str], str] = field(default=lambda text: text)
    runs: Iterator[int] = field(default_factory=lambda: count(1))

    def write(self, path: str, text: str, *, mode: int = 0o644, as_old: bool = True) -> None:
        """Write a file: older than all that were written before it, or just now."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        if as_old:
            self.date_back(path)

    def replace(self, path: str, old: str, new: str) -> None:
        """Edit a file: one place in it."""
        text = (self.folder / path).read_text()
        assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
        self.write(path, text.replace(old, new), mode=(self.folder / path).stat().st_mode & 0o777)

    def reword(self, path: str) -> str:
        """Put a new word into a source: another content of the same size."""
        (old,) = re.findall(r"word-\d{5}-\d{8}", (self.folder / path).read_text())
        new = new_word()
        self.replace(path, old, new)
        return new

    def link(self, path: str, text: str) -> None:
        """Make a symbolic link, or lead it elsewhere."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(text)
        self.date_back(path)

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that were there for it alone."""
        place = self.folder / path
        place.unlink()
        for folder in takewhile(lambda one: one != self.folder and not any(one.iterdir()), place.parents):
            folder.rmdir()

    def date_back(self, path: str) -> None:
        when = _LONG_AGO - 3600 * next(_ages)
        os.utime(self.folder / path, (when, when), follow_symlinks=False)

    def tree(self) -> dict[str, tuple[str, str]]:
        """Each file's permission bits (octal) and text; of a link `link` and where it leads."""
        found = {}
        for path in self.folder.rglob("*"):
            name = str(path.relative_to(self.folder))
            if path.is_symlink():
                found[name] = ("link", str(path.readlink()))
            elif path.is_file():
                found[name] = (f"{path.stat().st_mode & 0o777:o}", path.read_text())
        return found

    def dockerfile(self, file: str) -> str:
        text = self.edit((ROOT / "backend" / file).read_text())
        more = (f" \\\n && {{ {command}; }} >/seen/{name}" for name, command in self.more.items())
        return text + _SEEN[file].format(more="".join(more))

    def argv(
        self, *arguments: str, target: str = "shown", given: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command that builds; it takes the Dockerfile on its standard input."""
        words = ["docker", "buildx", "build", "--progress=plain", "--provenance=false", f"--target={target}"]
        for name, value in {"BUILDKIT_CACHE_MOUNT_NS": self.namespace, **(given or {})}.items():
            words += ["--build-arg", f"{name}={value}"]
        bundle = host_bundle(os.environ)
        if bundle is not None and not any(word.startswith("--secret") for word in arguments):
            words.append(f"--secret=id=ca_bundle,src={bundle}")
        return [*words, *arguments, "--file=-", str(self.folder)]

    def build(
        self,
        file: str = FAST,
        *arguments: str,
        target: str = "shown",
        given: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Built:
        """Build the image's stages, run its programs there."""
        out = self.folder.parent / f"{self.folder.name}-out-{next(self.runs)}"
        argv = self.argv(f"--output=type=local,dest={out}", *arguments, target=target, given=given)
        ran = command(*argv, stdin=self.dockerfile(file), env=env, timeout=300)
        printed = {path.name: path.read_text() for path in out.iterdir()} if ran.code == 0 else {}
        return Built(ran.code, ran.err, _BUILD_STEP[file], printed)

    def image(self, tag: str, file: str = FAST, *arguments: str) -> Built:
        """Build the image itself, under a tag."""
        target = "dev" if file == FAST else "runtime"
        argv = self.argv(f"--tag={tag}", "--load", *arguments, target=target)
        ran = command(*argv, stdin=self.dockerfile(file), timeout=300)
        return Built(ran.code, ran.err, _BUILD_STEP[file], {})


# --- workspaces


def lockfile(members: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    """Cargo.lock of a workspace, as cargo writes it: its members' versions and dependencies by name."""
    used = {name for _, needed in members.values() for name in needed} & LOCKED.keys()
    blocks = []
    for name in sorted({*used, *members}):
        version = LOCKED[name][0] if name in used else members[name][0]
        lines = ["[[package]]", f'name = "{name}"', f'version = "{version}"']
        if name in used:
            lines += ['source = "registry+https://github.com/rust-lang/crates.io-index"']
            lines += [f'checksum = "{LOCKED[name][1]}"']
        elif needed := sorted(members[name][1]):
            lines += ["dependencies = [", *(f' "{one}",' for one in needed), "]"]
        blocks.append("\n".join(lines) + "\n")
    note = "This file is automatically @generated by Cargo.\n# It is not intended for manual editing."
    return f"# {note}\nversion = 4\n\n" + "\n".join(blocks)


def manifest(name: str, version: str = "0.1.0", more: str = "") -> str:
    return f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\n{more}'


MAIN_RS = """\
fn main() {
    println!("low={}", low::LOW);
    println!("linked={}", low::LINKED.trim());
    println!("inner={}", low::INNER.trim());
    println!("side={}", side::SEEN);
    println!("main=@word@");
    println!("itoa={}", itoa::Buffer::new().format(7));
}
"""
LOW_RS = """\
pub const LOW: &str = "@word@";
pub const LINKED: &str = include_str!("linked.txt");
pub const INNER: &str = include_str!("folder/inner.txt");
"""
#: Reads a variable and a folder, and tells cargo of neither.
SIDE_BUILD_RS = """\
use std::{env, fs, os::unix::fs::PermissionsExt, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let mut seen = vec![env::var("FLAVOUR").unwrap_or_default()];
    for item in fs::read_dir("data").unwrap().flatten() {
        let executable = item.metadata().unwrap().permissions().mode() & 0o111 != 0;
        let text = fs::read_to_string(item.path()).unwrap();
        let mark = if executable { "*" } else { ":" };
        seen.push(format!("{}{mark}{}", item.file_name().to_string_lossy(), text.trim()));
    }
    seen[1..].sort();
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("seen"), seen.join(",")).unwrap();
}
"""
SIDE_RS = 'pub const SEEN: &str = include_str!(concat!(env!("OUT_DIR"), "/seen"));\n'
WORKSPACE = """\
[workspace]
resolver = "2"
members = ["crates/*"]
"""


def small_workspace(checkout: Checkout, *, recipe: str = "", needed: Sequence[str] = ("itoa",)) -> None:
    """kiro-backend, which needs low, side and itoa; tools, which has no main.rs. All but side are at version 0.0.1.

    The programs print new words. `recipe` makes the dependency layers this workspace's own.
    """
    app = 'low = { path = "../low" }\nside = { path = "../side" }\n'
    app += "".join(f'{name} = "{LOCKED[name][0]}"\n' for name in needed)
    files = {
        "Cargo.toml": WORKSPACE,
        "Cargo.lock": lockfile(
            {
                "kiro-backend": ("0.0.1", (*needed, "low", "side")),
                "low": ("0.0.1", ()),
                "side": ("0.1.0", ()),
                "tools": ("0.0.1", ()),
            }
        ),
        "crates/kiro-backend/Cargo.toml": manifest(
            "kiro-backend", "0.0.1", f'description = "{recipe}"\n[dependencies]\n{app}'
        ),
        "crates/kiro-backend/src/main.rs": MAIN_RS.replace("@word@", new_word()),
        "crates/low/Cargo.toml": manifest("low", "0.0.1"),
        "crates/low/src/lib.rs": LOW_RS.replace("@word@", new_word()),
        "crates/low/texts/one.txt": "one\n",
        "crates/low/texts/two.txt": "two\n",
        "crates/low/folders/one/inner.txt": "inner one\n",
        "crates/low/folders/two/inner.txt": "inner two\n",
        "crates/side/Cargo.toml": manifest("side"),
        "crates/side/build.rs": SIDE_BUILD_RS,
        "crates/side/src/lib.rs": SIDE_RS,
        "crates/side/data/first": "1\n",
        # as cargo-chef writes it: to cargo its dummy is then no other target than this
        "crates/tools/Cargo.toml": manifest(
            "tools", "0.0.1", '[[bin]]\nname = "tool"\npath = "src/bin/tool.rs"\nrequired-features = []\n'
        ),
        "crates/tools/src/bin/tool.rs": f'fn main() {{\n    println!("tool={new_word()}");\n}}\n',
        "crates/tools/tests/works.rs": "#[test]\nfn works() {}\n",
        "crates/tools/examples/show.rs": "fn main() {}\n",
        "crates/tools/benches/fast.rs": "fn main() {}\n",
    }
    for path, text in files.items():
        checkout.write(path, text)
    checkout.link("crates/low/src/linked.txt", "../texts/one.txt")
    checkout.link("crates/low/src/folder", "../folders/one")


# --- the processes of a build's steps


#: What a step sees that tells whose it is.
_TELLING = {"deps": "kiro/recipe.json", "build": "context/crates/kiro-backend/Cargo.toml"}


def running(recipe: str, command: str) -> list[int]:
    """The first processes of the steps in which `kiro-fresh COMMAND` runs, in builds of workspaces of that recipe."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            ours = words[:2] == [b"kiro-fresh", command.encode()]
            if ours and recipe in (folder / "root" / _TELLING[command]).read_text():
                found.append(_first_beside(folder))
    return found


def _first_beside(folder: Path) -> int:
    """The process that ends all others of its step with it."""
    step = (folder / "ns/pid").readlink()
    for other in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            numbers = re.search(r"^NSpid:(.*)$", (other / "status").read_text(), re.MULTILINE)
            if numbers and numbers[1].split()[-1] == "1" and (other / "ns/pid").readlink() == step:
                return int(other.name)
    raise ProcessLookupError


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def killed(recipe: str, done: Callable[[], bool], delay: float, *, command: str) -> bool:
    """Kill (SIGKILL) such a step some seconds after it began, unless the build is done before; whether it was."""
    while not done():
        if running(recipe, command):
            time.sleep(delay)
            found = running(recipe, command)
            kill(found)
            return bool(found)
        time.sleep(0.005)
    return False


# --- the engine's records of steps and mounts


@dataclass(frozen=True)
class Record:
    id: str
    parents: frozenset[str]
    description: str


def records() -> list[Record]:
    """All records of the engine's build cache."""
    found = []
    for block in docker("buildx", "du", "--verbose").split("\n\n"):
        values: dict[str, str] = dict(re.findall(r"^([A-Z][\w ]*):[ \t]*(.*)$", block, re.MULTILINE))
        if {"ID", "Description"} <= values.keys():
            parents = values.get("Parent") or values.get("Parents") or ""
            found.append(Record(values["ID"], frozenset(re.findall(r"\w+", parents)), values["Description"]))
    return found


def mounts_of(namespace: str, ids: str = "", *, among: Iterable[Record] | None = None) -> list[Record]:
    """The cache mounts of a namespace whose ids end so."""
    wanted = re.compile(rf'with id "{re.escape(namespace)}[^/"]*/[^"]*{ids}"$')
    return [record for record in (records() if among is None else among) if wanted.search(record.description)]


def prune(found: Iterable[Record]) -> None:
    """Have the engine forget these records; what others stand on stays."""
    if names := "|".join(sorted({record.id for record in found})):
        docker("buildx", "prune", "--force", "--filter", f"id=^({names})$")


def above(found: Iterable[Record], among: Sequence[Record]) -> list[Record]:
    """All records that stand on these, the outermost first."""
    ids = {record.id for record in found}
    steps: list[list[Record]] = []
    while more := [r for r in among if r.parents & ids and r.id not in ids]:
        steps.append(more)
        ids |= {record.id for record in more}
    return [record for step in reversed(steps) for record in step]


def own_layers(namespace: str, among: Sequence[Record]) -> list[Record]:
    """The layers made on top of the dependency layers that a namespace's builds used, the outermost first."""
    cooks = {parent for mount in mounts_of(namespace, "-cooked", among=among) for parent in mount.parents}
    mounts = {mount.id for mount in among if mount.description.startswith("cached mount ")}
    return [r for r in above([r for r in among if r.id in cooks], among) if r.id not in mounts]


def forget(found: Iterable[Record]) -> None:
    """Remove records that may stand on each other; those that others stand on stay."""
    going = {record.id for record in found}
    known = records()
    while left := [record for record in known if record.id in going]:
        prune(left)
        before, known = len(known), records()
        if len(known) >= before:
            break


def sweep(namespace: str, *, cooked: bool = False) -> None:
    """Remove the mounts of all namespaces that begin so, and what stands on their dependency layers.

    `cooked`: these layers too, which other checkouts of the same dependencies use.
    """
    known = records()
    mounts = mounts_of(namespace, among=known)
    cooks = {parent for mount in mounts for parent in mount.parents} if cooked else set()
    cooks &= {record.id for record in known if "kiro-fresh deps" in record.description}
    forget([*own_layers(namespace, known), *mounts, *(record for record in known if record.id in cooks)])
