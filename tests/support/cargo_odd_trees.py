"""Cargo projects at the edges of what cargo and cargo-chef take: no two of them need be alike."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.cargo_edits import Files, encoded

_PACKAGE = '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n'
#: What may stand below a package's own table.
_MORE = (
    '[dependencies]\nu = {path = "../u"}\n', '[dependencies]\nu = {path = "../u", version = "1"}\n',
    '[dependencies]\nu = {path = "../u", version = "2"}\n', '[dependencies]\nu = {path = "u"}\n',
    '[dependencies]\napp = {path = "x", version = "3"}\n',
    '[dependencies]\napp = {path = "x", version = "4"}\n',
    '[dependencies]\nz = {path = "x", package = "app", version = "3"}\n',
    '[dependencies]\nz = {path = "x", package = "app", version = "4"}\n',
    '[dependencies]\napp = {path = "x", package = "z", version = "4"}\n',
    '[dependencies]\napp = {path = "x", package = "z", version = "5"}\n',
    "[dependencies]\n", "[target]\n", "[features]\n", "[badges]\n", "[workspace]\n",
    "[workspace]\nmembers = []\n",
    "[workspace.package]\n", "[workspace.dependencies]\n", "[workspace.metadata]\n", "[lib]\n", "[[test]]\n",
    '[[test]]\nname = "q"\n', '[[bin]]\nname = "q"\n', '[dependencies]\n"x y" = "1"\n',
    "[profile]\n", "[profile.dev]\n", "[profile.dev.package]\n", "[profile.dev.package.a]\nopt-level = 1\n",
    "[profile.dev.package.a]\nb = 1\nopt-level = 1\n",
    "[profile.dev.build-override]\nopt-level = 1\ndebug = 1\n",
    "[profile.dev.build-override]\ndebug = 1\nopt-level = 1\n", "[package.metadata]\n",
    '[package.metadata]\nz = """a\r\nb"""\n', '[package.metadata]\nz = "a\\nb"\n',
    '[package.metadata]\nz = "a\\r\\nb"\n',
    "[package.metadata]\nz = '''a\r\nb'''\n", "[package.metadata]\na.b = 1\nc = 2\na.d = 1\n",
    "[package.metadata]\nc = 2\na.b = 1\na.d = 1\n", "[package.metadata]\na = {b = 1}\nc = {d = 1}\n",
    "[package.metadata]\nc = {d = 1}\na = {b = 1}\n",
    "[package.metadata]\nx = [{b = 1, a = {c = 1}, d = [{}]}]\n",
    "[package.metadata]\nx = [{b = 1, d = [{}], a = {c = 1}}]\n", "[package.metadata]\nx = [1, {}]\n",
    "[package.metadata]\nx = [{d = [{}], b = 1, a = {c = 1}}]\n",
    "[package.metadata.a.b]\nx = 1\n[package.metadata.c]\nx = 1\n[package.metadata.a]\ny = 1\n",
    "[package.metadata.a]\ny = 1\n[package.metadata.a.b]\nx = 1\n[package.metadata.c]\nx = 1\n",
    f"[package.metadata]\nx = {'[' * 60}{']' * 60}\n", f"[package.metadata]\nx = {'[' * 200}{']' * 200}\n",
    f"[package.metadata{'.a' * 300}]\n",
)  # fmt: skip
#: Values that TOML writes in several ways, or tells apart where others do not.
_VALUES = (
    "-0.0", "0.0", "nan", "-nan", "+nan", "inf", "1e400", "9223372036854775807", "9223372036854775808",
    "10:00:00",
    '"10:00:00"', "2020-01-01", "2020-01-01T00:00:00", "2020-01-01T00:00:00.0", "2020-01-01T00:00:00.1Z",
    "2020-01-01T00:00:00.10Z", "2020-01-01 00:00:00.1z", "2020-01-01T00:00:00.1+00:00",
    "2020-01-01T00:00:00.1234567Z", "2020-01-01T00:00:00.1234568Z", "2020-01-01T00:00:00+01:00",
)  # fmt: skip
_NAMES = (
    "src/main.rs/x", "tests/x.rs/y", "tests/x.rs/main.rs", "build.rs/x", "src/lib.rs/x", "tests/a b.rs",
    "tests/é.rs",
    "tests/n\nl.rs", "tests/.rs", "tests/a.b/main.rs", "tests/a.b.rs", "tests", "src/bin", "src/bin/app.rs",
    "examples/x.RS", "tests/x/main.rs/z", "Cargo.lock/x", ".cargo/config/x", "rust-toolchain/x",
    "src/bin/main.rs",
)  # fmt: skip
_LOCKS = (
    "", "version = 4\n", "version = 4\npackage = []\n", "package = 3\n", "package = [1]\n", "a = 1\nb = 2\n",
    "b = 2\na = 1\n", "package = [{name = 'app', version = '1'}, 2]\n",
    "package = [{name = 'app', version = '2'}, 2]\n",
    "version = 3\n[metadata]\na = 'b'\n[a]\n", "version = 3\n[a]\n[metadata]\na = 'b'\n",
    "root = 1\n[root]\n",
    "[[package]]\nname = 'app'\nversion = '1'\n", "[[package]]\nname = 'app'\nversion = '2'\n",
    "[[package]]\nname = 'app'\n", "[[package]]\nname = 'app'\nversion = '1'\nsource = 'x'\n",
    "[[package]]\nname = 'app'\nversion = '2'\nsource = 'x'\n", "[[package]]\nname = 'app'\nversion = 1\n",
    "[[package]]\nversion = '1'\n", "[package]\nname = 'app'\nversion = '1'\n",
    "[[package]]\nname = 'b'\nversion = '0.0.1'\n[[package]]\nname = 'app'\nversion = '1'\n",
    "[[package]]\nname = 'app'\nversion = '1'\n[[package]]\nname = 'b'\nversion = '0.0.1'\n",
    "[[package]]\nname = 'b'\nversion = '1.10.0'\n[[package]]\nname = 'b'\nversion = '1.9.0'\n",
    "[[package]]\nname = 'b'\nversion = '1.9.0'\n[[package]]\nname = 'b'\nversion = '1.10.0'\n",
)  # fmt: skip
_HIDDEN = {"crates/.hidden/Cargo.toml": '[package]\nname = "h"\n', "crates/.hidden/src/lib.rs": ""}
_NO_EDITION = '[package]\nname = "xtask"\nedition.workspace = true\n[[bin]]\nname = "xtask"\n'
#: Members, what else the root says, other files.
_WORKSPACES: tuple[tuple[str, str, dict[str, str]], ...] = (
    *((f'["{pattern}"]', "", {}) for pattern in (
        "crates/*", "./crates/*", "crates/*/", "crates/[ab]", "crates/[!b]", "crates/[b-a]",
    "crates/[a-b]", "crates/?",
        "crates/a/", "crates/a", "crates/b", "crates/../xtask", "*", "x*", "**", "**/xtask", "crates/**",
    "**/[ab]",
        "crates/[", "crates/[]", "crates/[]a]", "crates/a*", "crates/*a", "../crates/a", "/crates/a",
    )),
    ('["x*"]', "", {"xnotes.txt": ""}), ('["n*"]', "", {"notes.txt": ""}),
    ('["crates/*"]', "", {"crates/notes": ""}),
    ('["crates/*"]', "", {"crates/notes/x": ""}), ('["crates/*"]', "", _HIDDEN),
    ('["crates/*"]', 'exclude = ["crates/a"]\n', {}),
    ('["crates/*", "crates/a"]', 'exclude = ["crates/a"]\n', {}),
    ('["crates/b"]', 'exclude = ["crates/a"]\n', {}), ('["crates/b"]', 'exclude = ["crates"]\n', {}),
    ('["crates/b"]', 'exclude = ["./crates/a"]\n', {}), ('["crates/b"]', 'exclude = ["crates/a/"]\n', {}),
    ('["crates/b"]', 'exclude = ["crates/*"]\n', {}),
    ('["crates/*"]', 'default-members = ["crates/a"]\n', {}),
    ('["crates/*"]', 'default-members = ["xtask"]\n', {}), ('["crates/a", "crates/a"]', "", {}),
    ('["crates/a", "xtask"]', '[workspace.package]\nedition = "2015"\n',
     {"xtask/Cargo.toml": _NO_EDITION, "xtask/src/bin/y.rs": ""}),
    ('["crates/a", "xtask"]', '[workspace.package]\nedition = "2021"\n',
     {"xtask/Cargo.toml": _NO_EDITION, "xtask/src/bin/y.rs": ""}),
    *(('["xtask"]', more, {"xtask/Cargo.toml": f'[package]\nname = "xtask"\n{said}'}) for more, said in (
        ("", 'workspace = ".."\n'), ("", "[workspace]\n"), ("", '[dependencies]\na = {path = "../nope"}\n'),
        ("", '[target.x.dev_dependencies]\na = {path = "../crates/a"}\n'),
        ("", '[dependencies]\na = {path = "../../crates/a"}\n'),
        ('exclude = ["nope"]\n', '[dependencies]\na = {path = "../nope"}\n'),
        ('[workspace.dependencies]\na = {path = "crates/a"}\n', "[build-dependencies]\na.workspace = true\n"),
        ('[workspace.dependencies]\na = {path = "crates/a"}\n', ""),
        ('[patch.crates-io]\na = {path = "crates/a"}\n', ""),
    ('[replace]\n"a:1.0.0" = {path = "crates/a"}\n', ""),
    )),
    ('["crates/a"]', '[[bin]]\nname = "x"\n', {}), ('["crates/a"]', '[project]\nname = "x"\n', {}),
    *((members, f'{more}[package]\nname = "r"\n{last}', {"src/lib.rs": ""}) for members, more, last in (
        ('[".", "xtask"]', "", ""), ('["xtask"]', "", ""), ('["xtask"]', "", 'workspace = "."\n'),
        ('["xtask"]', 'exclude = ["."]\n', ""), ('["xtask"]', 'exclude = [""]\n', ""),
    )),
)  # fmt: skip


def odd_trees() -> Iterator[tuple[str, Files]]:
    """Projects by what is odd in them."""
    for more in (*_MORE, *(f"[package.metadata]\nz = {value}\n" for value in _VALUES)):
        yield f"a package with {more!r}", _project(more)
    for name in _NAMES:
        whole = _project()
        kept = {path: whole[path] for path in whole if not name.startswith(f"{path}/")}
        yield f"a package with {name!r}", {**kept, name: b""}
    for lock in _LOCKS:
        yield f"locked by {lock!r}", {**_project(), "Cargo.lock": lock.encode()}
    for members, more, files in _WORKSPACES:
        yield f"a workspace of {members} with {more!r} and {files}", _workspace(members, more, files)
    for text in ('[project]\nname = "app"\n', '[package]\nname = "app"\n', 'name = "app"\n', ""):
        yield f"a manifest {text!r}", {**_project(), "Cargo.toml": text.encode()}
    yield "settings that are no text", {**_project(), ".cargo/config": b"\xff", ".cargo/config.toml": b"# a"}
    yield "settings", {**_project(), ".cargo/config.toml": b"# a"}
    yield (
        "a package whose workspace is within",
        {**_project('workspace = "ws"\n'), "ws/Cargo.toml": b'[workspace]\nmembers = [".."]\n'},
    )


def _project(more: str = "") -> Files:
    return encoded({"Cargo.toml": _PACKAGE + more, "src/main.rs": ""})


def _workspace(members: str, more: str, files: dict[str, str]) -> Files:
    own = {
        "Cargo.toml": f'[workspace]\nmembers = {members}\nresolver = "2"\n{more}',
        "crates/a/Cargo.toml": '[package]\nname = "a"\n',
        "crates/a/src/lib.rs": "",
        "crates/b/Cargo.toml": '[package]\nname = "b"\n[dependencies]\na = {path = "../a", version = "1"}\n',
        "crates/b/src/lib.rs": "",
        "xtask/Cargo.toml": '[package]\nname = "xtask"\n',
        "xtask/src/main.rs": "",
    }
    return encoded({**own, **files})
