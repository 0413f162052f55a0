"""Random edits of the workspace in cargo_edits."""

from __future__ import annotations

import random

from tests.support.cargo_edits import BASE, Files, encoded

#: Lines that may come into a manifest, wherever they then stand.
_LINES = (
    'itoa = "1"', 'itoa = { version = "1", features = [] }', 'core = { path = "../core" }', "[dependencies]",
    "[dev_dependencies]", "[build-dependencies]", "[target.x86_64-unknown-linux-gnu.dependencies]",
    "[lib]", "[[bin]]",
    "[[test]]", "[[example]]", "[profile.dev]", "[profile.ci]", "[workspace]", "[workspace.package]",
    "[lints.rust]",
    "[package.metadata.y]", "[features]", "[badges.gitlab]", 'name = "second"', 'name = "api"',
    'path = "src/main.rs"',
    'path = "tests/api.rs"', 'edition = "2015"', 'edition = "2018"', "edition.workspace = true",
    "autobins = false",
    "autotests = true", "autolib = false", "build = false", 'inherits = "dev"', "opt-level = 1",
    "codegen-units = 7",
    "test = false", "harness = false", 'required-features = ["std"]', 'crate-type = ["cdylib"]',
    'repository = "r"',
    'members = ["crates/core"]', 'exclude = ["crates"]', 'version = "0.9.0"', "version.workspace = true",
    "x = []",
    'crate-type = ["proc-macro"]', "proc-macro = true", "publish = false", "# a comment", "",
    'readme = false',
)  # fmt: skip
#: Lines that come into a table of a manifest, which is made where it is not there.
_ENTRIES = (
    ("package", 'homepage = "h"'), ("package", "homepage.workspace = true"), ("package", "publish = false"),
    ("package", 'publish = ["r"]'), ("package", "publish = []"), ("package", "readme = true"),
    ("package", 'readme = "R.md"'), ("package", 'resolver = "2"'), ("package", "authors.workspace = true"),
    ("package", 'license-file = "L"'), ("package", "include = []"), ("package", 'exclude = ["x"]'),
    ("package", 'categories = ["os"]'), ("package", "autoexamples = false"), ("package", "autobins = true"),
    ("package", "autotests = true"), ("package", "autolib = false"), ("package", 'build = "./build.rs"'),
    ("package", 'build = "src/main.rs"'), ("package", "build = true"), ("package", 'documentation = "d"'),
    ("package", "im-a-teapot = false"), ("package", 'edition = "2018"'), ("package", 'edition = "2015"'),
    ("package.metadata", "z = [{ b = 1, a = 2 }, {}]"), ("package.metadata", "z = [{ a = 2, b = 1 }, {}]"),
    ("package.metadata", "z = 1979-05-27T07:32:00Z"), ("package.metadata", "z = 1979-05-27 07:32:00Z"),
    ("package.metadata", 'z = "1979-05-27T07:32:00Z"'), ("package.metadata", "z = 1e3"),
    ("package.metadata", "z = inf"),
    ("package.metadata", "z = 1000.0"), ("package.metadata", "z = 1_000"), ("package.metadata", "y.z.x = []"),
    ("package.metadata", "z = [[1], [2, 3]]"), ("package.metadata", "y = { z = { x = 1, w = {} } }"),
    ("package.metadata", 'z = "\u00e9"'), ("package.metadata", 'z = "é"'), ("package.metadata.y", "a = 1"),
    ("workspace.metadata", "a = 1"), ("workspace", 'default-members = ["crates/core"]'),
    ("workspace.package", 'homepage = "h"'), ("workspace.package", 'keywords = ["k"]'),
    ("workspace.package", "publish = []"), ("workspace.package", "readme = false"),
    ("workspace.dependencies", 'itoa = { version = "1", default-features = false }'),
    ("workspace.dependencies", 'util = { path = "vendored/util" }'),
    ("workspace.dependencies", 'macros = { path = "crates/macros", version = "0" }'),
    ("dependencies", 'itoa = { version = "1", registry = "r" }'), ("dependencies", "hex.workspace = true"),
    ("dependencies", "hex = { workspace = true, optional = true }"),
    ("dependencies", 'x = { git = "https://g/x" }'),
    ("dependencies", 'x = { git = "https://g/x", rev = "1", version = "2" }'), ("dependencies", "x = {}"),
    ("dependencies", 'y = { package = "x", version = "1", public = true }'),
    ("dependencies", "core.workspace = true"),
    ("dependencies", 'macros = { path = "crates/macros", version = "3" }'), ("dependencies", 'z = "1"'),
    ("dependencies", 'm = { path = "crates/macros", package = "macros", version = "3" }'),
    ("dependencies", 'skipped = { path = "crates/skipped", version = "0.1" }'),
    ("dependencies.z", 'version = "1"'),
    ("dev-dependencies", 'old = { path = "crates/old", version = "0.1" }'),
    ("dev-dependencies", "hex.workspace = true"),
    ("target.'cfg(windows)'.dependencies", 'z = "1"'), ("target.'cfg(windows)'.dev_dependencies", 'z = "1"'),
    ("target.x86_64-unknown-none.build-dependencies", 'util = { path = "vendored/util", version = "2" }'),
    ("target.'cfg(windows)'", ""), ("features", 'more = ["std"]'), ("features", "std = []"), ("features", ""),
    ("patch.crates-io", 'itoa = { git = "https://g/x" }'), ("patch.crates-io", ""), ("patch", ""),
    ("profile", ""),
    ("profile.dev", 'strip = "none"'), ("profile.dev", "strip = false"), ("profile.dev", 'debug = "full"'),
    ("profile.dev", "opt-level = 2"), ("profile.dev", 'opt-level = "z"'), ("profile.dev", 'lto = "thin"'),
    ("profile.dev", "codegen-units = 4"), ("profile.dev", 'split-debuginfo = "off"'), ("profile.dev", ""),
    ("profile.dev.build-override", "opt-level = 1"), ("profile.dev.package.hex", "opt-level = 1"),
    ("profile.dev.package.hex", "debug = 1"), ("profile.bench", 'panic = "abort"'),
    ("profile.x", 'inherits = "dev"'),
    ("lib", 'name = "other"'), ("lib", "test = false"), ("lib", "test = true"),
    ("lib", 'crate-type = ["cdylib", "lib"]'),
    ("lib", 'crate-type = ["proc-macro"]'), ("lib", 'edition = "2018"'), ("lib", 'path = "src/lib.rs"'),
    ("lib", ""),
    ("lib", "doc-scrape-examples = true"), ("lib", "plugin = true"), ("lib", "doc = false"), ("badges", ""),
    ("badges.gitlab", 'repository = "r"'),
    ("badges.codecov", 'repository = "r"\nbranch = "b"\nservice = "s"'),
    ("lints.rust", 'unsafe_code = "warn"'), ("lints.clippy", 'all = "warn"'), ("cargo", "x = 1"),
    ("build-dependencies", ""),
    ("[bin]", 'name = "second"\nrequired-features = ["std"]'), ("[bin]", 'name = "app"\ntest = false'),
    ("[bin]", 'name = "third"\npath = "src/third.rs"'),
    ("[bin]", 'name = "third"\npath = "src/bin/second.rs"'),
    ("[test]", 'name = "z"\npath = "tests/z.rs"'), ("[test]", 'name = "api"\nedition = "2018"'),
    ("[test]", 'name = "b"\npath = "tests/b/mod.rs"\nharness = false'),
    ("[bench]", 'name = "speed"\nharness = false'),
    ("[bench]", 'name = "bench"'), ("[example]", 'name = "show"\ncrate-type = ["staticlib"]'),
    ("[example]", 'name = "a"\npath = "examples/z.rs"'),
    ("[example]", 'name = "show"\ndoc-scrape-examples = true'),
)  # fmt: skip
_PATHS = (
    "src/lib.rs", "src/main.rs", "src/app.rs", "src/bin/second.rs", "src/bin/second/main.rs",
    "src/bin/main.rs",
    "src/bin/x.y.rs", "tests/z.rs", "tests/api/main.rs", "tests/common/main.rs", "tests/.rs",
    "tests/a.rs/main.rs",
    "tests/a.rs/b", "benches/bench.rs", "src/bench.rs", "examples/show.rs", "examples/show/main.rs",
    "build.rs",
    "build.rs/x", "crates/old/src/older.rs", "crates/old/src/bin/other.rs", "crates/old/src/lib.rs",
    "crates/core/src/main.rs", "crates/core/src/app-core.rs", "crates/core/tests/a.rs", "crates/x",
    "notes.txt",
)  # fmt: skip
_MANIFESTS = tuple(path for path in BASE if path.endswith(("Cargo.toml", "Cargo.lock")))


def random_tree(seed: int) -> Files:
    """The workspace after one to four edits, of which most leave it a workspace."""
    dice = random.Random(seed)
    files = encoded(BASE)
    for _ in range(dice.randint(1, 4)):
        kind = dice.random()
        if kind < 0.3:
            _toggle(files, dice.choice(_PATHS))
            continue
        path = dice.choice(_MANIFESTS)
        text = files[path].decode()
        files[path] = (_with_entry if kind < 0.8 else _disturbed)(text, dice).encode()
    return files


def _toggle(files: Files, path: str) -> None:
    if path in files:
        del files[path]
    elif not any(known.startswith(f"{path}/") or path.startswith(f"{known}/") for known in files):
        files[path] = b""


def _with_entry(text: str, dice: random.Random) -> str:
    table, entry = dice.choice(_ENTRIES)
    header = f"[{table}]\n"
    if header in text and not table.startswith("["):
        return text.replace(header, f"{header}{entry}\n", 1)
    return f"{text}\n{header}{entry}\n"


def _disturbed(text: str, dice: random.Random) -> str:
    lines = text.split("\n")
    at = dice.randrange(len(lines))
    match dice.randrange(4):
        case 0:
            lines[at : at + 1] = []
        case 1:
            lines[at : at + 2] = lines[at : at + 2][::-1]
        case _:
            lines.insert(at, dice.choice(_LINES))
    return "\n".join(lines)
