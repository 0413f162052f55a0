"""Cargo workspaces at random, edits of them, and what the program of each must print."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.support.crates import LOCKED, WORKSPACE, Checkout, lockfile, manifest, new_word

#: Of each crate that may be needed: what the program prints of it, as Rust and as what comes out.
USES: Mapping[str, tuple[str, str]] = {
    "fnv": (
        "{ use std::hash::Hasher; let mut h = fnv::FnvHasher::default(); h.write(b\"a\"); h.finish() }",
        str(0xAF63DC4C8601EC8C),
    ),
    "hex": ('hex::encode("kiro")', "6b69726f"),
    "scopeguard": ('*scopeguard::guard("held", |_| {})', "held"),
    "semver": ("semver::Version::new(1, 2, 3)", "1.2.3"),
}  # fmt: skip

#: Reads a folder, and tells cargo of nothing in it.
BUILD_RS = """\
use std::{env, fs, os::unix::fs::PermissionsExt, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let mut seen = Vec::new();
    for item in fs::read_dir("data").into_iter().flatten().flatten() {
        let mark = if item.metadata().unwrap().permissions().mode() & 0o111 != 0 { "*" } else { ":" };
        seen.push(format!("{}{mark}{}", item.file_name().to_string_lossy(), fs::read_to_string(item.path()).unwrap()));
    }
    seen.sort();
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("seen"), seen.join(",")).unwrap();
}
"""


@dataclass(frozen=True)
class Library:
    """A library: its modules' words, its data files' texts (and whether they can be run), where its link leads."""

    version: str = "0.0.1"
    modules: Mapping[str, str] = field(default_factory=lambda: {"one": new_word()})
    data: Mapping[str, tuple[str, bool]] = field(default_factory=lambda: {"first": (new_word(), False)})
    link: str = "left"

    def output(self, *, loud: bool) -> str:
        words = "-".join(word for _, word in sorted(self.modules.items()))
        seen = ",".join(
            sorted(f"{name}{'*' if runs else ':'}{text}" for name, (text, runs) in self.data.items())
        )
        return f"{self.version} {words} {seen} {self.link} {str(loud).lower()}"

    def files(self, name: str) -> dict[str, tuple[str, int]]:
        modules = sorted(self.modules)
        lib = "".join(f"mod {module};\n" for module in modules)
        lib += 'pub const SEEN: &str = include_str!(concat!(env!("OUT_DIR"), "/seen"));\n'
        lib += 'pub const LINKED: &str = include_str!("linked");\n'
        parts = 'env!("CARGO_PKG_VERSION"), words, SEEN, LINKED, cfg!(feature = "loud")'
        words = ", ".join(f"{module}::WORD" for module in modules)
        lib += f'pub fn output() -> String {{\n    let words = [{words}].join("-");\n'
        lib += f'    format!("{{}} {{}} {{}} {{}} {{}}", {parts})\n}}\n'
        found = {
            "Cargo.toml": manifest(name, self.version, "[features]\nloud = []\n"),
            "build.rs": BUILD_RS,
            "src/lib.rs": lib,
            "texts/left": "left",
            "texts/right": "right",
            **{f"src/{key}.rs": f'pub const WORD: &str = "{word}";\n' for key, word in self.modules.items()},
        }
        files = {path: (text, 0o644) for path, text in found.items()}
        files |= {f"data/{key}": (text, 0o755 if runs else 0o644) for key, (text, runs) in self.data.items()}
        return files | {"src/linked": (f"../texts/{self.link}", 0)}


@dataclass(frozen=True)
class Workspace:
    """A whole tree. `number` is in a program of its own, so that no two trees of a test are the same."""

    recipe: str
    libraries: Mapping[str, Library]
    needed: frozenset[str] = frozenset()
    loud: frozenset[str] = frozenset()
    slim: bool = False
    word: str = field(default_factory=new_word)
    broken: bool = False
    number: int = 0

    @property
    def output(self) -> dict[str, str]:
        """What its main program prints."""
        libraries = {name: one.output(loud=name in self.loud) for name, one in self.libraries.items()}
        return {"main": self.word, **libraries, **{name: USES[name][1] for name in self.needed}}

    @property
    def files(self) -> dict[str, tuple[str, int]]:
        """Each file's text and mode; for a link where it leads, and 0."""
        members = {name: (one.version, ()) for name, one in self.libraries.items()}
        own = (*self.libraries, *self.needed)
        members_with_programs = {**members, "kiro-backend": ("0.1.0", own), "proof": ("0.1.0", ())}
        texts = {
            "Cargo.toml": WORKSPACE,
            "Cargo.lock": lockfile(members_with_programs),
            "crates/kiro-backend/Cargo.toml": manifest("kiro-backend", more=self._dependencies()),
            "crates/kiro-backend/src/main.rs": self._main(),
            "crates/proof/Cargo.toml": manifest("proof"),
            "crates/proof/src/main.rs": PROOF_RS.replace("@number@", str(self.number)),
        }
        files = {path: (text, 0o644) for path, text in texts.items()}
        for name, one in self.libraries.items():
            files |= {f"crates/{name}/{path}": file for path, file in one.files(name).items()}
        return files

    def _dependencies(self) -> str:
        lines = [f'description = "{self.recipe}"', "[dependencies]"]
        for name in sorted(self.libraries):
            features = ', features = ["loud"]' if name in self.loud else ""
            lines.append(f'{name} = {{ path = "../{name}"{features} }}')
        for name in sorted(self.needed):
            slim = ', default-features = false, features = ["alloc"]' if name == "hex" and self.slim else ""
            lines.append(f'{name} = {{ version = "{LOCKED[name][0]}"{slim} }}')
        return "\n".join(lines) + "\n"

    def _main(self) -> str:
        lines = [f'    println!("main={self.word}");', *(["    broken"] if self.broken else [])]
        lines += [f'    println!("{name}={{}}", {name}::output());' for name in sorted(self.libraries)]
        lines += [f'    println!("{name}={{}}", {USES[name][0]});' for name in sorted(self.needed)]
        return "\n".join(["fn main() {", *lines, "}", ""])


PROOF_RS = """\
fn main() {
    println!("number={}", @number@);
    println!("revision={}", option_env!("KIRO_REVISION").unwrap_or("none"));
}
"""


def first_workspace(recipe: str) -> Workspace:
    return Workspace(recipe, {"low": Library(), "side": Library("0.1.0")}, frozenset({"hex"}))


def lay(checkout: Checkout, workspace: Workspace, *, as_old: bool) -> None:
    """Make a checkout hold a workspace: only what differs is written, dated back if `as_old`."""
    wanted, there = workspace.files, checkout.tree()
    for path in there.keys() - wanted.keys():
        checkout.remove(path)
    for path, (text, mode) in wanted.items():
        if mode == 0:
            if there.get(path) != ("link", text):
                checkout.link(path, text)
        elif there.get(path) != (f"{mode:o}", text):
            checkout.write(path, text, mode=mode, as_old=as_old)


# --- edits


def edited(chance: random.Random, one: Workspace, kind: str) -> Workspace:
    """A workspace after an edit of that kind, at a place by chance."""
    name = chance.choice(sorted(one.libraries))
    library = one.libraries[name]
    if kind in _WHOLE:
        return _WHOLE[kind](chance, one, name)
    return replace(one, libraries={**one.libraries, name: _IN_LIBRARY[kind](chance, library)})


def _reword(chance: random.Random, one: Library) -> Library:
    return replace(one, modules={**one.modules, chance.choice(sorted(one.modules)): new_word()})


def _add_module(chance: random.Random, one: Library) -> Library:
    return replace(one, modules={**one.modules, f"module{chance.randrange(1000)}": new_word()})


def _remove_module(chance: random.Random, one: Library) -> Library:
    gone = chance.choice(sorted(one.modules))
    return replace(one, modules={key: one.modules[key] for key in one.modules if key != gone} or one.modules)


def _rename_module(chance: random.Random, one: Library) -> Library:
    old = chance.choice(sorted(one.modules))
    rest = {key: word for key, word in one.modules.items() if key != old}
    return replace(one, modules={**rest, f"named{chance.randrange(1000)}": one.modules[old]})


def _add_data(chance: random.Random, one: Library) -> Library:
    return replace(one, data={**one.data, f"file{chance.randrange(1000)}": (new_word(), False)})


def _remove_data(chance: random.Random, one: Library) -> Library:
    gone = chance.choice(sorted(one.data) or [""])
    return replace(one, data={key: file for key, file in one.data.items() if key != gone})


def _rename_data(chance: random.Random, one: Library) -> Library:
    old = chance.choice(sorted(one.data) or [""])
    renamed = {f"{key}x" if key == old else key: file for key, file in one.data.items()}
    return replace(one, data=renamed)


def _reword_data(chance: random.Random, one: Library) -> Library:
    key = chance.choice(sorted(one.data) or ["first"])
    return replace(one, data={**one.data, key: (new_word(), False)})


def _make_executable(chance: random.Random, one: Library) -> Library:
    key = chance.choice(sorted(one.data) or ["first"])
    text, runs = one.data.get(key, ("new", False))
    return replace(one, data={**one.data, key: (text, not runs)})


def _relink(chance: random.Random, one: Library) -> Library:
    return replace(one, link="right" if one.link == "left" else "left")


def _bump(chance: random.Random, one: Library) -> Library:
    return replace(one, version=f"0.{chance.randrange(9)}.{chance.randrange(1, 99)}")


def _reword_main(chance: random.Random, one: Workspace, name: str) -> Workspace:
    return replace(one, word=new_word())


def _toggle_dependency(chance: random.Random, one: Workspace, name: str) -> Workspace:
    return replace(one, needed=one.needed ^ {chance.choice(sorted(USES))})


def _switch_feature(chance: random.Random, one: Workspace, name: str) -> Workspace:
    return replace(one, loud=one.loud ^ {name})


def _switch_features_of_a_dependency(chance: random.Random, one: Workspace, name: str) -> Workspace:
    return replace(one, needed=one.needed | {"hex"}, slim=not one.slim)


def _toggle_library(chance: random.Random, one: Workspace, name: str) -> Workspace:
    libraries = {key: library for key, library in one.libraries.items() if key != "late"}
    if "late" not in one.libraries:
        libraries["late"] = Library()
    return replace(one, libraries=libraries, loud=one.loud - {"late"})


_IN_LIBRARY = {
    "reword": _reword,
    "add a module": _add_module,
    "remove a module": _remove_module,
    "rename a module": _rename_module,
    "add data": _add_data,
    "remove data": _remove_data,
    "rename data": _rename_data,
    "reword data": _reword_data,
    "make executable": _make_executable,
    "relink": _relink,
    "bump the version": _bump,
}
_WHOLE = {
    "reword main": _reword_main,
    "toggle a dependency": _toggle_dependency,
    "switch a feature": _switch_feature,
    "switch features of a dependency": _switch_features_of_a_dependency,
    "toggle a library": _toggle_library,
}
EDITS = (*_IN_LIBRARY, *_WHOLE)
