"""What a damaged cache mount looks like in what a step printed: texts of real steps, each planted once."""

from __future__ import annotations

import pytest

from kiro_invoke.builds.corruption import Corruption, Damage, diagnose

INVALID_METADATA = """\
   Compiling kiro-backend v0.0.1 (/app/crates/kiro-backend)
error[E0786]: found invalid metadata files for crate `low`
 --> crates/kiro-backend/src/main.rs:2:24
  |
2 |     println!("low={}", low::LOW);
  |                        ^^^
  |
  = note: failed to parse rlib '/mounted/debug/deps/liblow-2b92844eb681c40f.rlib': Unsupported archive identifier

For more information about this error, try `rustc --explain E0786`.
error: could not compile `kiro-backend` (bin "kiro-backend") due to 3 previous errors"""

EMPTY_LIBRARY = """\
error[E0786]: found invalid metadata files for crate `itoa`
 --> crates/kiro-backend/src/main.rs:7:25
  |
7 |     println!("itoa={}", itoa::Buffer::new().format(7));
  |                         ^^^^
  |
  = note: failed to mmap file '/mounted/deps/libitoa-ce5df57485c15571.rlib': memory map must have a non-zero length
"""

LINKER_CRASHED = """\
error: linking with `cc` failed: exit status: 1
  |
  = note: LC_ALL="C" PATH="/usr/bin" "cc" "-m64" "/mounted/debug/deps/{libitoa-ce5df57485c15571.rlib}"
  = note: some arguments are omitted. use `--verbose` to show all linker arguments
  = note: collect2: fatal error: ld terminated with signal 11 [Segmentation fault]
          compilation terminated.
"""

LINKER_REFUSED = """\
error: linking with `cc` failed: exit status: 1
  |
  = note: LC_ALL="C" PATH="/usr/bin" "cc" "-m64" "/mounted/debug/deps/{libitoa-ce5df57485c15571.rlib}"
  = note: some arguments are omitted. use `--verbose` to show all linker arguments
  = note: mold: fatal: /mounted/debug/deps/libitoa-ce5df57485c15571.rlib(itoa.rcgu.o): invalid symbol index
          collect2: error: ld returned 1 exit status
"""

GNU_LINKER_REFUSED = """\
error: linking with `cc` failed: exit status: 1
  = note: /usr/bin/ld: /app/target/debug/deps/libitoa-ce5df5.rlib: file format not recognized; treating as it
"""

UNPACKING = """\
error: failed to download `itoa v1.0.19`

Caused by:
  unable to get packages from source

Caused by:
  failed to unpack package `itoa v1.0.19`

Caused by:
  failed to unpack entry at `itoa-1.0.19/LICENSE-APACHE`

Caused by:
  failed to unpack `itoa-1.0.19/LICENSE-APACHE` into `/usr/local/cargo/registry/src/index.example-19/itoa-1.0.19`

Caused by:
  unexpected end of file"""

NO_GZIP = """\
error: failed to download `itoa v1.0.19`

Caused by:
  unable to get packages from source

Caused by:
  failed to unpack package `itoa v1.0.19`

Caused by:
  failed to iterate over archive

Caused by:
  invalid gzip header"""

NO_MANIFEST = """\
error: failed to download `itoa v1.0.19`

Caused by:
  unable to get packages from source

Caused by:
  failed to read `/usr/local/cargo/registry/src/index.example-1949cf8c6b5b557f/itoa-1.0.19/Cargo.toml`

Caused by:
  No such file or directory (os error 2)"""

GARBAGE_MANIFEST = """\
error: failed to download `itoa v1.0.19`

Caused by:
  unable to get packages from source

Caused by:
  path at `/usr/local/cargo/registry/src/index.example-1949cf8c6b5b557f/itoa-1.0.19/Cargo.toml` was not valid utf-8"""

SOURCES_A_FILE = """\
error: failed to download `itoa v1.0.19`

Caused by:
  failed to unpack package `itoa v1.0.19`

Caused by:
  unable to read .cargo-ok file at "/usr/local/cargo/registry/src/i/itoa/.cargo-ok": Not a directory (os error 20)"""

CACHE_A_FILE = """\
 Downloading crates ...
  Downloaded itoa v1.0.19
error: failed to create directory `/usr/local/cargo/registry/cache/index.example-1949cf8c6b5b557f`

Caused by:
  Not a directory (os error 20)"""

CUT_SOURCE = """\
error: this file contains an unclosed delimiter
   --> /usr/local/cargo/registry/src/index.example-1949cf8c6b5b557f/itoa-1.0.19/src/lib.rs:98:5
    |"""

INCREMENTAL_A_FILE = """\
error: couldn't prepare build directories

Caused by:
  failed to create directory `/app/target/debug/incremental`

Caused by:
  File exists (os error 17)"""

GENERATED_GONE = """\
error: couldn't read `/app/target/debug/build/side-5e8ee2aa6b4e7fb9/out/seen`: No such file or directory (os error 2)
 --> crates/side/src/lib.rs:1:24"""

NPM_INTEGRITY = """\
npm WARN tarball tarball data for react@19.3.1 (sha512-QNhWdt7nrgVW) seems to be corrupted. Trying again.
npm ERR! code EINTEGRITY
npm ERR! errno EINTEGRITY
npm ERR! Invalid response body while trying to fetch https://registry.example/react: integrity checksum failed"""

NPM_GONE = """\
npm ERR! code ENOENT
npm ERR! syscall stat
npm ERR! path /root/.npm/_cacache/content-v2/sha512/8c/93/ed4d40c86516
npm ERR! errno ENOENT
npm ERR! enoent Invalid response body while trying to fetch https://r: ENOENT: no such file, stat '/x/_cacache/1'"""

NPM_A_FILE = """\
npm ERR! code ENOTDIR
npm ERR! syscall mkdir
npm ERR! path /root/.npm/_cacache/tmp
npm ERR! errno -20
npm ERR! ENOTDIR: not a directory, mkdir '/root/.npm/_cacache/tmp'"""

PNPM = """\
 ERR_PNPM_TARBALL_INTEGRITY  Got unexpected checksum for "https://r/a-1.0.0.tgz". Wanted "x". Got "y"."""

YARN = """\
error Incorrect integrity when fetching from the cache for "has". Cache has "sha512-f2d" and remote has "sha512-f2e"."""

YARN_BERRY = """\
➤ YN0018: │ path-key@npm:2.0.1: The remote archive doesn't match the expected checksum"""

APT_ARCHIVE = """\
dpkg-deb: error: '/var/cache/apt/archives/procps_2%3a4.0.4-9_amd64.deb' is not a Debian format archive
dpkg: error processing archive /var/cache/apt/archives/procps_2%3a4.0.4-9_amd64.deb (--unpack):
 dpkg-deb --control subprocess returned error exit status 2"""

APT_LISTS = """\
Reading package lists...
E: Encountered a section with no Package: header
E: Problem with MergeList /var/lib/apt/lists/mirror.example_debian_dists_trixie_main_binary-amd64_Packages
E: The package lists or status file could not be parsed or opened."""

TORN_MODULE = """\
/app/node_modules/react/cjs/react.development.js:54
    function PureComponent(pr


SyntaxError: Unexpected end of input
    at wrapSafe (node:internal/modules/cjs/loader:1472:18)"""

EMPTY_MANIFEST = """\
node:internal/modules/package_json_reader:93
        throw error;
        ^

SyntaxError: Error parsing /app/node_modules/vite/package.json: Unexpected end of JSON input"""

BUNDLED = """\
Build failed with 1 error:

\x1b[31m[PARSE_ERROR] \x1b[0mExpected `}` but found `EOF`
     \x1b[38;5;246m╭\x1b[0m\x1b[38;5;246m─\x1b[0m[ node_modules/react-dom/cjs/react-dom-client.production.js:632:43 ]"""

GARBAGE_MODULE = """\
\x1b[31m[UNLOADABLE_DEPENDENCY] \x1b[0mCould not load node_modules/react-dom/cjs/react-dom-client.production.js"""

READ_ONLY_TARGET = """\
error: failed to open: /app/target/debug/.cargo-lock

Caused by:
  Read-only file system (os error 30)"""

READ_ONLY_NPM = """\
npm error code EROFS
npm error syscall open
npm error path /root/.npm/_cacache/tmp/1f
npm error errno -30
npm error rofs EROFS: read-only file system, open '/root/.npm/_cacache/tmp/1f'"""

READ_ONLY_REGISTRY = """\
error: failed to download `itoa v1.0.19`

Caused by:
  failed to unpack package `itoa v1.0.19`

Caused by:
  failed to create directory `/usr/local/cargo/registry/src/index.example-1949cf8c6b5b557f/itoa-1.0.19`

Caused by:
  Read-only file system (os error 30)"""

READ_ONLY_FRESH = "kiro-fresh: Read-only file system (os error 30)"

DAMAGED = {
    "invalid metadata": (INVALID_METADATA, Damage.TARGET, "liblow-2b92844eb681c40f.rlib"),
    "empty library": (EMPTY_LIBRARY, Damage.TARGET, "libitoa-ce5df57485c15571.rlib"),
    "linker crashed": (LINKER_CRASHED, Damage.TARGET, "signal 11"),
    "linker refused": (LINKER_REFUSED, Damage.TARGET, "invalid symbol index"),
    "other linker refused": (GNU_LINKER_REFUSED, Damage.TARGET, "file format not recognized"),
    "half a crate": (UNPACKING, Damage.REGISTRY, "unexpected end of file"),
    "garbage crate": (NO_GZIP, Damage.REGISTRY, "invalid gzip header"),
    "no manifest": (NO_MANIFEST, Damage.REGISTRY, "itoa-1.0.19/Cargo.toml"),
    "garbage manifest": (GARBAGE_MANIFEST, Damage.REGISTRY, "not valid utf-8"),
    "sources a file": (SOURCES_A_FILE, Damage.REGISTRY, ".cargo-ok"),
    "crates a file": (CACHE_A_FILE, Damage.REGISTRY, "registry/cache"),
    "cut source": (CUT_SOURCE, Damage.REGISTRY, "unclosed delimiter"),
    "increments a file": (INCREMENTAL_A_FILE, Damage.TARGET, "File exists"),
    "generated source gone": (GENERATED_GONE, Damage.TARGET, "out/seen"),
    "list a folder": ("kiro-fresh: Is a directory (os error 21)", Damage.TARGET, "Is a directory"),
    "npm integrity": (NPM_INTEGRITY, Damage.PACKAGES, "EINTEGRITY"),
    "npm content gone": (NPM_GONE, Damage.PACKAGES, "ENOENT"),
    "npm cache a file": (NPM_A_FILE, Damage.PACKAGES, "ENOTDIR"),
    "pnpm": (PNPM, Damage.PACKAGES, "TARBALL_INTEGRITY"),
    "yarn": (YARN, Damage.PACKAGES, "Incorrect integrity"),
    "an archive of apt's": (APT_ARCHIVE, Damage.PACKAGES, "is not a Debian format archive"),
    "lists of apt's": (APT_LISTS, Damage.PACKAGES, "MergeList"),
    "a module": (TORN_MODULE, Damage.MODULES, "react.development.js:54"),
    "a module's manifest": (EMPTY_MANIFEST, Damage.MODULES, "vite/package.json"),
    "a module that is bundled": (BUNDLED, Damage.MODULES, "react-dom-client.production.js:632:43"),
    "a module that is garbage": (GARBAGE_MODULE, Damage.MODULES, "react-dom-client.production.js"),
    "yarn berry": (YARN_BERRY, Damage.PACKAGES, "YN0018"),
}

READ_ONLY = {
    "target": (READ_ONLY_TARGET, Damage.TARGET),
    "registry": (READ_ONLY_REGISTRY, Damage.REGISTRY),
    "npm": (READ_ONLY_NPM, Damage.PACKAGES),
    "kiro-fresh": (READ_ONLY_FRESH, Damage.TARGET),
}


def found(text: str, *mounts: str) -> Corruption | None:
    return diagnose(text.splitlines(), mounts)


@pytest.mark.parametrize(("text", "damage", "evidence"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_is_known_by_what_the_step_printed(text: str, damage: Damage, evidence: str) -> None:
    corruption = found(text)
    assert corruption is not None
    assert (corruption.damage, corruption.read_only) == (damage, False)
    assert evidence in corruption.evidence
    assert len(corruption.evidence) <= 160
    assert "\n" not in corruption.evidence


@pytest.mark.parametrize(("text", "damage", "evidence"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_full_disk_is_no_damage(text: str, damage: Damage, evidence: str) -> None:
    """Whatever is torn then was torn for want of room, and would be once more."""
    assert found(f"{text}\nerror: failed to write: No space left on device (os error 28)") is None


@pytest.mark.parametrize(("text", "damage"), READ_ONLY.values(), ids=READ_ONLY.keys())
def test_what_cannot_be_written_is_told_apart(text: str, damage: Damage) -> None:
    corruption = found(text)
    assert corruption is not None
    assert (corruption.damage, corruption.read_only) == (damage, True)


def test_a_mount_of_any_kind_is_known_by_its_folder() -> None:
    text = "touch: cannot touch '/var/cache/pip/x': Read-only file system"
    assert found(text) is None
    corruption = found(text, "/var/cache/pip")
    assert corruption is not None
    assert corruption.read_only
    assert found(text, "/var/cache/pi") is None


def test_colours_hide_nothing() -> None:
    line = "\x1b[1m\x1b[91merror[E0786]\x1b[0m\x1b[1m: found invalid metadata files for crate `low`\x1b[0m"
    assert found(line) is not None


ORDINARY = {
    "a type": """\
error[E0308]: mismatched types
 --> crates/low/src/lib.rs:2:5
  |
2 |     "unexpected end of file"
  |     ^^^^ expected `u8`, found `&str`
  |
  = note: expected type `u8`
error: could not compile `low` (lib) due to 1 previous error""",
    "a brace in the project's own source": """\
error: this file contains an unclosed delimiter
 --> crates/low/src/lib.rs:98:5""",
    "a dependency that is too new": """\
error[E0658]: use of unstable library feature `x`
   --> /usr/local/cargo/registry/src/index.example-1949cf8c6b5b557f/itoa-1.0.19/src/lib.rs:98:5""",
    "an old compiler": "error[E0514]: found crate `itoa` compiled by an incompatible version of rustc",
    "a test that prints of archives": """\
---- tests::refuses_garbage stdout ----
thread 'tests::refuses_garbage' panicked at src/lib.rs:4:5:
assertion failed: invalid gzip header
unexpected end of file
test result: FAILED. 1 passed; 1 failed""",
    "a test that prints errors of the compiler": '    left: "error[E0786]: found invalid metadata files for crate"',
    "a missing symbol": """\
error: linking with `cc` failed: exit status: 1
  = note: mold: error: undefined symbol: sqlite3_open
          collect2: error: ld returned 1 exit status""",
    "a missing library": "  = note: /usr/bin/ld: cannot find -lssl: No such file or directory",
    "a file that include_str misses": """\
error: couldn't read `crates/low/src/missing.txt`: No such file or directory (os error 2)
 --> crates/low/src/lib.rs:1:24""",
    "a registry that does not answer": """\
error: failed to download from `https://index.example/it/oa/itoa`

Caused by:
  [7] Could not connect to server""",
    "a lockfile that does not fit": "error: cannot update the lock file /app/Cargo.lock because --locked was passed",
    "a build script that panics": """\
error: failed to run custom build command for `side v0.1.0 (/app/crates/side)`

Caused by:
  process didn't exit successfully: `/app/target/debug/build/side-952e/build-script-build` (exit status: 101)
  --- stderr
  thread 'main' panicked at build.rs:4:5: unexpected end of file""",
    "npm, a package that is not there": """\
npm ERR! code E404
npm ERR! 404 Not Found - GET https://registry.example/nope - Not found""",
    "npm, a manifest that is not there": """\
npm ERR! code ENOENT
npm ERR! syscall open
npm ERR! path /app/package.json
npm ERR! enoent ENOENT: no such file or directory, open '/app/package.json'""",
    "npm, offline": "npm ERR! code ENOTCACHED",
    "a script that does not parse": """\
/app/src/main.js:54
    function wrong(

SyntaxError: Unexpected end of input""",
    "a page that is bundled": """\
[PARSE_ERROR] Expected `}` but found `EOF`
     ╭─[ src/App.tsx:632:43 ]""",
    "a module that is not there": "[UNRESOLVED_IMPORT] Could not resolve 'left-pad' in src/App.tsx",
    "a package of their own": "dpkg-deb: error: './own.deb' is not a Debian format archive",
    "a page that does not build": "src/App.tsx:3:1: error: Unexpected end of file",
    "a bind mount that is written to": "touch: cannot touch '/context/x': Read-only file system",
    "out of memory": """\
error[E0786]: found invalid metadata files for crate `low`
  = note: failed to mmap file '/app/target/debug/deps/liblow.rlib': Cannot allocate memory (os error 12)""",
    "nothing": "",
}


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY.keys())
def test_an_ordinary_failure_is_none(text: str) -> None:
    assert found(text, "/app/target", "/usr/local/cargo/registry") is None
