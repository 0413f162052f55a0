"""What is found in a repository, and the files that are made of it."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from invoke.parser import Parser

from kiro_invoke import ns
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.changes.context import Rules
from kiro_invoke.changes.patterns import read_patterns
from kiro_invoke.doctor.bases import satisfies
from kiro_invoke.scaffold.files import Form, files
from kiro_invoke.scaffold.found import Found, Passed, apart
from kiro_invoke.scaffold.images import NodeImages, PageImages, RustImages
from kiro_invoke.scaffold.node import node_services
from kiro_invoke.scaffold.repository import Repository
from kiro_invoke.scaffold.rust import rust_services
from tests.support.repository import write_texts
from tests.support.shapes import SHAPES, crate, package, page, program

LOCK = '[[package]]\nname = "{}"\nversion = "1.0.0"\n'


def repository(texts: Mapping[str, str], name: str = "shop") -> Repository:
    return Repository(name, frozenset(texts), lambda path: texts.get(path, ""))


def rust(texts: Mapping[str, str]) -> list[Found]:
    return [one for one in rust_services(repository(texts), {}) if isinstance(one, Found)]


def node(texts: Mapping[str, str], npmrc: str = "") -> list[Found]:
    return [one for one in node_services(repository(texts), satisfies, npmrc) if isinstance(one, Found)]


def passed(texts: Mapping[str, str]) -> list[str]:
    found = [*rust_services(repository(texts), {}), *node_services(repository(texts), satisfies, "")]
    return [f"{one.manifest}: {one.why}" for one in found if isinstance(one, Passed)]


def the(found: list[Found]) -> Found:
    (one,) = found
    return one


def rust_images(texts: Mapping[str, str]) -> RustImages:
    images = the(rust(texts)).images
    assert isinstance(images, RustImages)
    return images


def node_images(texts: Mapping[str, str]) -> NodeImages:
    images = the(node(texts)).images
    assert isinstance(images, NodeImages)
    return images


def written(texts: Mapping[str, str], asked: tuple[str, ...] = ()) -> dict[str, str]:
    services = [*rust(texts), *node(texts)]
    return {file.path: file.text for file in files(repository(texts), services, "shop", asked)}


# --- Rust


def test_a_crate_goes_by_its_folder_and_its_program_by_its_package() -> None:
    found = the(rust(crate("notes-api", 3000, folder="api")))
    assert (found.name, found.context, found.folder, found.port) == ("api", "api", "api", 3000)
    assert rust_images(crate("notes-api", 3000)).binary == "notes-api"


def test_each_program_of_a_workspace_is_a_service_that_builds_from_its_root() -> None:
    first, second = rust(SHAPES["two binaries"])
    assert [(one.name, one.context, one.folder) for one in (first, second)] == [
        ("first", "", "crates/first"),
        ("second", "", "crates/second"),
    ]
    # what both build alike is built once: the ids of their mounts are no part of a layer's key, but of a mount's
    assert isinstance(first.images, RustImages)
    assert isinstance(second.images, RustImages)
    assert first.images.mounts != ""
    assert passed(SHAPES["two binaries"]) == [
        "crates/words/Cargo.toml: a library: it has no program (no src/main.rs, no [[bin]])"
    ]


def test_the_only_program_of_a_workspace_goes_by_the_workspaces_folder() -> None:
    texts = {f"backend/{path}": text for path, text in SHAPES["two binaries"].items() if "second" not in path}
    found = the(rust(texts))
    assert (found.name, found.context, found.folder) == ("backend", "backend", "backend")
    assert rust_images(texts).package == "first"
    alone = the(rust({path.removeprefix("backend/"): text for path, text in texts.items()}))
    assert (alone.name, alone.context, alone.folder) == ("first", "", "")


def test_the_program_that_is_served_is_the_one_that_the_manifest_says() -> None:
    base = crate("app", 80, folder="a")
    more = {"a/src/bin/tool.rs": "fn main() {}\n", "a/src/bin/other/main.rs": "fn main() {}\n"}
    assert rust_images({**base, **more}).binary == "app"
    manifest = base["a/Cargo.toml"] + 'default-run = "tool"\n'
    assert rust_images({**base, **more, "a/Cargo.toml": manifest}).binary == "tool"
    named = base["a/Cargo.toml"] + '[[bin]]\nname = "server"\npath = "src/main.rs"\n'
    assert rust_images({**base, "a/Cargo.toml": named}).binary == "server"


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ('TcpListener::bind("127.0.0.1:4000")', 4000),
        ('bind(("0.0.0.0", 4001))', 4001),
        ("SocketAddr::from(([0, 0, 0, 0], 4002))", 4002),
        ('bind(format!("[::]:4003"))', 4003),
        ('bind(std::env::var("ADDR").unwrap_or("[::1]:4004".into()))', 4004),
        ("bind(port.unwrap_or(4005))", 4005),
        ("println!(\"see http://localhost:4006\")", 0),
    ],
)  # fmt: skip
def test_the_port_is_read_from_what_listens(line: str, port: int) -> None:
    texts = {**crate("app", 1, folder="a"), "a/src/main.rs": f"fn main() {{\n    {line};\n}}\n"}
    found = the(rust(texts))
    assert found.port == port
    if port:
        assert f"port {port} (a/src/main.rs:2)" in [str(fact) for fact in found.facts]


def test_a_program_that_only_its_own_container_reaches_is_told_of() -> None:
    texts = {**crate("app", 1, folder="a"), "a/src/main.rs": 'fn main() {\n    bind("127.0.0.1:4000");\n}\n'}
    assert the(rust(texts)).warnings == (
        "a/src/main.rs:2: it listens on 127.0.0.1:4000, which nobody reaches in a container: listen on 0.0.0.0",
    )
    texts["a/src/main.rs"] = 'fn main() { bind((var("HOST"), "127.0.0.1:4000")); }'
    assert the(rust(texts)).warnings == ()
    assert rust_images(texts).env == ("HOST=0.0.0.0",)


@pytest.mark.parametrize(
    ("channel", "image", "toolchain"),
    [
        ("1.90.0", "rust:1.90.0-slim-trixie", "${RUST_VERSION:-}"),
        ("1.75", "rust:1.75-slim-bookworm", "${RUST_VERSION:-}"),
        ("stable", "rust:1.95-slim-trixie", "${RUST_VERSION:-}"),
        ("nightly-2026-01-02", "rust:1.95-slim-trixie", "nightly-2026-01-02"),
    ],
)
def test_the_toolchain_file_names_the_image(channel: str, image: str, toolchain: str) -> None:
    texts = crate("app", 3000, folder="a")
    for name, text in (
        ("rust-toolchain.toml", f'[toolchain]\nchannel = "{channel}"\n'),
        ("rust-toolchain", channel),
    ):
        images = rust_images({**texts, f"a/{name}": text})
        assert (images.rust_image, images.toolchain) == (image, toolchain)
    assert rust_images({**texts, "rust-toolchain": channel}).rust_image == image  # of the repository


def test_what_a_toolchain_file_wants_besides_is_added() -> None:
    text = '[toolchain]\nchannel = "1.90"\ncomponents = ["rustfmt", "x; rm"]\ntargets = ["wasm32-wasip1"]\n'
    images = rust_images({**crate("app", 3000, folder="a"), "a/rust-toolchain.toml": text})
    assert images.toolchain_adds == ("rustup component add rustfmt", "rustup target add wasm32-wasip1")


@pytest.mark.parametrize(
    ("crate_name", "build", "run"),
    [
        ("openssl-sys", ("libssl-dev",), ("libssl3t64",)),
        ("prost-build", ("protobuf-compiler",), ()),
        ("rustls-native-certs", (), ("ca-certificates",)),
        ("serde", (), ()),
    ],
)
def test_what_crates_need_of_the_system_is_put_in(
    crate_name: str, build: tuple[str, ...], run: tuple[str, ...]
) -> None:
    texts = {**crate("app", 3000, folder="a"), "a/Cargo.lock": LOCK.format(crate_name)}
    images = rust_images(texts)
    assert (images.system_packages, images.runtime_packages) == (build, run)
    made = written(texts)
    for text, wanted in ((made["a/Dockerfile.fast"], build), (made["a/Dockerfile"], build + run)):
        assert all(f" {name}" in text for name in wanted)
    old = rust_images({**texts, "a/rust-toolchain": "1.75"})
    assert all(not name.endswith("t64") for name in old.runtime_packages)


# --- Node


def test_a_page_of_vites_is_installed_and_built_as_the_samples_is() -> None:
    found = the(node(page("web")))
    assert isinstance(found.images, PageImages)
    assert (found.name, found.images.out, found.proxied, found.port) == ("web", "dist", ("/api/",), 8080)


@pytest.mark.parametrize(
    ("config", "build", "out"),
    [
        ('build: { outDir: "public/app" }', "vite build", "public/app"),
        ("", "tsc && vite build --outDir ./out", "out"),
        ('build: { outDir: "../outside" }', "vite build", "dist"),
        ("build: { outDir: where() }", "vite build", "dist"),
    ],
)
def test_the_folder_that_a_page_is_built_into_is_read(config: str, build: str, out: str) -> None:
    texts = {
        "web/package.json": package("web", scripts={"build": build}, devDependencies={"vite": "8"}),
        "web/vite.config.ts": f"export default {{ {config} }};\n",
    }
    images = the(node(texts)).images
    assert isinstance(images, PageImages)
    assert images.out == out


def test_what_does_not_go_with_a_page_behind_nginx_is_told() -> None:
    texts = {
        **page("web"),
        "web/vite.config.js": 'export default {\n  root: "src",\n  server: { https: {} },\n};\n',
    }
    root, secure = the(node(texts)).warnings
    assert root.startswith("web/vite.config.js:2: root is set")
    assert secure.startswith("web/vite.config.js:3: its server speaks TLS")
    texts["web/vite.config.js"] = 'proxy: { "/api": {\n  rewrite: (path) => path.slice(4) } }'
    (rewriting,) = the(node(texts)).warnings
    assert rewriting.startswith("web/vite.config.js:2: nginx hands on the paths as they are")
    texts["web/vite.config.js"] = "// https://vite.dev/config/\nexport default {};\n"
    assert the(node(texts)).warnings == ()


@pytest.mark.parametrize(
    ("file", "text", "image"),
    [
        (".nvmrc", "v22.3.0\n", "node:22-trixie-slim"),
        (".node-version", "18", "node:18-bookworm-slim"),
        ("package.json", {"engines": {"node": ">=20.19"}}, "node:24-trixie-slim"),
        ("package.json", {"engines": {"node": "^20 || ^22"}}, "node:22-trixie-slim"),
        ("package.json", {"volta": {"node": "20.1.0"}}, "node:20-trixie-slim"),
        (".nvmrc", "lts/*", "node:24-trixie-slim"),
        (".nvmrc", "lts/Iron\n", "node:20-trixie-slim"),
        (".nvmrc", "21", "node:21-bookworm-slim"),
        ("package.json", {"engines": {"node": "^21"}}, "node:21-bookworm-slim"),
        ("package.json", {"engines": {"node": "14.x"}}, "node:24-trixie-slim"),
    ],
)
def test_the_version_of_node_is_read(file: str, text: Any, image: str) -> None:
    texts = page("web")
    own = json.loads(texts["web/package.json"])
    texts[f"web/{file}"] = text if isinstance(text, str) else json.dumps({**own, **text})
    images = the(node(texts)).images
    assert isinstance(images, PageImages)
    assert images.node_image == image


@pytest.mark.parametrize(
    ("lockfile", "text", "more", "install", "had_by"),
    [
        ("pnpm-lock.yaml", "lockfileVersion: '6.0'\n", {}, "pnpm install --frozen-lockfile", "pnpm@8"),
        ("pnpm-lock.yaml", "", {"packageManager": "pnpm@9.1.0+sha512.x"}, "pnpm install", "pnpm@9.1.0"),
        ("yarn.lock", "# yarn lockfile v1\n", {}, "yarn install --frozen-lockfile", "yarn@1.22.22"),
        ("yarn.lock", "__metadata:\n  version: 8\n", {}, "yarn install --immutable", "@yarnpkg/cli-dist@4"),
    ],
)
def test_the_package_manager_and_its_version_are_read(
    lockfile: str, text: str, more: Mapping[str, str], install: str, had_by: str
) -> None:
    texts = {**program("app", "app", where="./w.js", **more), f"app/{lockfile}": text}
    images = node_images(texts)
    assert images.install.startswith(install)
    assert images.manager_install.endswith(had_by)
    assert the(node(texts)).lockfile == ""


def test_the_package_of_a_workspace_builds_from_its_root() -> None:
    found = the(node(SHAPES["pnpm"]))
    assert (found.name, found.context, found.folder, found.lockfile) == (
        "first",
        "",
        "apps/first",
        "pnpm-lock.yaml",
    )
    images = node_images(SHAPES["pnpm"])
    assert images.start == ("pnpm", "-C", "apps/first", "run", "start")


def test_own_scripts_of_an_install_may_read_any_file() -> None:
    texts = {
        "package.json": package("root", workspaces=["apps/*"]),
        **program("app", "apps/app", where="./w.js"),
        "apps/more/package.json": package("more", scripts={"postinstall": "node make.js"}),
        "package-lock.json": "{}",
    }
    assert node_images(texts).inputs == ("-true",)
    del texts["apps/more/package.json"]
    assert "-name package.json" in node_images(texts).inputs


def test_what_nothing_is_known_of_is_told() -> None:
    assert passed({"a/package.json": package("a")}) == [
        "a/package.json: no page of Vite's, and no start script"
    ]
    kit = package("a", scripts={"build": "vite build"}, devDependencies={"vite": "8", "@sveltejs/kit": "2"})
    assert passed({"a/package.json": kit}) == ["a/package.json: @sveltejs/kit has no start script"]
    bun = {**program("a", "a", where="./w.js"), "a/bun.lock": ""}
    assert passed(bun) == ["a/package.json: Bun's packages: what is written here knows npm, pnpm and yarn"]


def test_two_services_of_one_name_are_told_apart_by_their_paths() -> None:
    texts = {**crate("a", 1, folder="one/api"), **crate("b", 2, folder="two/api"), **page("three/api")}
    texts |= {**program("x", "two/api", where="./x"), **crate("d", 3, folder="three/a/api")}
    texts |= crate("e", 4, folder="one-api") | crate("f", 4, folder="four/one/api")
    found = list(apart([*rust(texts), *node(texts)], "shop"))
    services = [one for one in found if isinstance(one, Found)]
    assert [(one.name, one.folder) for one in services] == [
        ("one-api", "one-api"),
        ("api", "one/api"),
        ("two-api", "two/api"),
        ("four-one-api", "four/one/api"),
        ("three-a-api", "three/a/api"),
        ("three-api", "three/api"),
    ]
    assert [one.images.mounts for one in services] == [f"shop-{one.name}" for one in services]
    assert [f"{one.manifest}: {one.why}" for one in found if isinstance(one, Passed)] == [
        "two/api/package.json: two-api has the Dockerfiles of this folder: have each in a folder of its own",
    ]
    twins = {**crate("a", 1, folder="x-api"), **crate("b", 2, folder="api"), **crate("c", 3, folder="x/api")}
    (left,) = (one for one in apart(rust(twins), "shop") if isinstance(one, Passed))
    assert left == Passed("x/api/Cargo.toml", "another service is named x-api, too")


def test_what_would_not_do_in_a_dockerfile_is_left() -> None:
    texts = {
        "package.json": package("root", workspaces=["apps/*"]),
        **program("a", "apps/a $(b)", where="./w.js"),
    }
    assert node(texts) == []
    assert "would not do in a Dockerfile" in passed(texts)[1]
    assert (
        the(node(program("a", "a $(b)", where="./w.js"))).context == "a $(b)"
    )  # a context of its own: no matter


def test_a_crate_beside_a_context_is_told_of() -> None:
    texts = {**crate("app", 3000, folder="app", more='[dependencies]\nwords = { path = "../words" }\n')}
    texts |= {"words/Cargo.toml": '[package]\nname = "words"\n', "words/src/lib.rs": ""}
    assert rust(texts) == []
    assert passed(texts)[0].startswith(
        "app/Cargo.toml: it depends on ../words, outside of what its build is sent"
    )
    assert the(rust({**texts, "Cargo.toml": '[workspace]\nmembers = ["app", "words"]\n'})).context == ""


def test_a_program_that_wants_features_is_none_that_is_served() -> None:
    more = '[features]\ndefault = ["a"]\na = ["b", "dep:x"]\n'
    bins = '[[bin]]\nname = "app"\npath = "src/main.rs"\nrequired-features = ["cli"]\n'
    bins += '[[bin]]\nname = "other"\nrequired-features = ["b"]\n'
    texts = {**crate("app", 3000, more=more + bins), "src/bin/other.rs": "fn main() {}"}
    assert rust_images(texts).binary == "other"
    alone = {path: text for path, text in texts.items() if "other" not in path}
    assert "a library" in passed({**alone, "Cargo.toml": alone["Cargo.toml"].replace('["b"]', '["c"]')})[0]


@pytest.mark.parametrize(
    "more",
    [
        "[dev-dependencies]\nwords = { path = '../words' }\n",
        "[target.'cfg(unix)'.dependencies]\nwords = { path = '../words' }\n",
        "[patch.crates-io]\nwords = { path = '../words' }\n",
        "[workspace.dependencies]\nwords = { path = '../words' }\n",
    ],
)
def test_wherever_a_manifest_names_it(more: str) -> None:
    texts = {**crate("app", 3000, folder="app", more=more), "words/Cargo.toml": '[package]\nname = "words"\n'}
    assert "it depends on ../words, outside of what its build is sent" in passed(texts)[0]
    inner = {path: text.replace("../words", "words") for path, text in texts.items()}
    assert len(rust(inner)) == 1


def test_a_member_of_the_workspace_that_leads_out_keeps_all_from_being_built() -> None:
    texts = crate("app", 3000, folder="a/app")
    texts["a/Cargo.toml"] = '[workspace]\nmembers = ["app", "lib"]\n'
    texts["a/lib/Cargo.toml"] = '[package]\nname = "lib"\n[dependencies]\nx = { path = "../../x" }\n'
    assert rust(texts) == []


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ('[source.crates-io]\nreplace-with = "v"\n[source.v]\ndirectory = "vendor"\n', "crates in a folder"),
        ('paths = ["own"]\n', "puts other crates in the place of some"),
        ('[source.crates-io]\nreplace-with = "m"\n[source.m]\nregistry = "sparse+https://m/"\n', ""),
    ],
)
def test_crates_that_are_not_fetched_are_told_of(config: str, why: str) -> None:
    texts = {**crate("app", 3000, folder="a"), "a/.cargo/config.toml": config}
    assert [why in one for one in passed(texts)] == ([True] if why else [])


def test_what_sources_include_from_beside_the_context_is_told_of() -> None:
    texts = crate("app", 3000, folder="app") | {
        "app/build.rs": 'fn main() { f(&["../proto/a.proto"], &["../nowhere"]) }\n',
        "app/src/a/b.rs": 'f(include_str!("../../../words.txt"));\nf(include_str!("../c"));\n',
        "app/src/c": "",
        "proto/a.proto": "",
        "words.txt": "",
        "app/Cargo.lock": '[[package]]\nname = "x"\nsource = "git+ssh://git@git.example.org/x.git#1"\n',
    }
    first, second, third = the(rust(texts)).warnings
    assert first.startswith("app/build.rs:1: ../proto/a.proto lies outside")
    assert second.startswith("app/src/a/b.rs:1: ../../../words.txt lies outside")
    assert third.startswith("app/Cargo.lock:3: a crate comes by ssh")


def test_of_two_toolchain_files_the_one_counts_that_rustup_takes() -> None:
    both = {"a/rust-toolchain": "1.90.0\n", "a/rust-toolchain.toml": '[toolchain]\nchannel = "1.91.0"\n'}
    assert rust_images({**crate("app", 3000, folder="a"), **both}).rust_image == "rust:1.90.0-slim-trixie"


@pytest.mark.parametrize(
    ("file", "text", "fits"),
    [
        ("rust-toolchain", "1.90.0\n", True),
        ("rust-toolchain", "1.90.0\r\n", True),
        ("rust-toolchain.toml", "[toolchain]\nchannel='1.90.0' # ours\n", True),
        ("rust-toolchain.toml", 'toolchain = { channel = "1.90.0" }\n', True),
        ("rust-toolchain.toml", '[toolchain]\nchannel = "1.90"\n', False),
        ("rust-toolchain.toml", '[toolchain]\nchannel = "1x90.0"\n', False),
        ("rust-toolchain", "1.91.0\n", False),
        ("other", "1.90.0", False),
    ],
)
def test_a_dockerfile_for_another_toolchain_than_is_wanted_now_does_not_build(
    tmp_path: Path, file: str, text: str, fits: bool
) -> None:
    """The image has the compiler that the file named once, and would go on with it."""
    texts = {**crate("app", 3000, folder="a"), "a/rust-toolchain": "1.90.0\n"}
    for name in ("Dockerfile", "Dockerfile.fast"):
        planner = parse(written(texts)[f"a/{name}"]).stage("planner")
        assert planner is not None
        (script,) = (one.rest for one in planner.instructions if one.keyword == "RUN")
        check = script.partition(",rw ")[2].partition(" && mkdir")[0].strip().removesuffix("\\")
        (tmp_path / file).write_text(text)
        done = subprocess.run(["sh", "-c", check], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode == 0) is fits, check
        assert (b"kiro init --upgrade" in done.stderr) is not fits
    above = {**crate("app", 3000, folder="a"), "rust-toolchain": "1.90.0\n"}
    assert "kiro init --upgrade" not in written(above)["a/Dockerfile.fast"].partition("\n")[2]


# --- credentials


def test_a_variable_of_a_token_becomes_a_secret() -> None:
    npmrc = "@own:registry=https://npm.example.org/\n//npm.example.org/:_authToken=${NPM_TOKEN}\n"
    texts = {**page("web"), "web/.npmrc": npmrc}
    made = written(texts)
    assert yaml.safe_load(made["kiro.yaml"])["secrets"] == [{"id": "NPM_TOKEN", "env": "NPM_TOKEN"}]
    for name in ("Dockerfile", "Dockerfile.fast"):
        text = made[f"web/{name}"]
        assert text.count("--mount=type=secret,id=NPM_TOKEN") == 1
        assert 'export NPM_TOKEN="$(cat /run/secrets/NPM_TOKEN)"' in text


def test_a_token_in_the_projects_npmrc_reaches_no_context() -> None:
    texts = {**page("web"), "web/.npmrc": "//npm.example.org/:_authToken=abc\n"}
    made = written(texts)
    assert yaml.safe_load(made["kiro.yaml"])["secrets"] == [{"id": "npmrc", "file": "web/.npmrc"}]
    assert "\n.npmrc\n" in made["web/.dockerignore"]
    assert "--mount=type=secret,id=npmrc,target=/root/.npmrc" in made["web/Dockerfile.fast"]
    assert not [text for text in made.values() if "abc" in text]


def test_a_token_in_the_npmrc_of_any_package_reaches_no_context() -> None:
    line = "//npm.example.org/:_authToken=abc\n"
    texts = workspace("package-lock.json", {"scripts": {"start": "x"}}, far={})
    texts |= {
        ".npmrc": line,
        "app/.npmrc": line,
        "packages/far/.npmrc": line,
        "packages/other/.npmrc": "a=b\n",
    }
    found = the(node(texts))
    assert {".npmrc", "app/.npmrc", "packages/far/.npmrc"} <= set(found.ignore)
    assert "packages/other/.npmrc" not in found.ignore
    assert [need.file for need in found.needs] == [".npmrc"]
    assert len(found.warnings) == 3


@pytest.mark.parametrize(
    ("file", "text", "literal"),
    [
        (".yarnrc.yml", "npmAuthIdent: me:abc\n", True),
        (".yarnrc.yml", 'npmAuthToken: "abc"\n', True),
        (".yarnrc.yml", 'npmAuthToken: "${npmToken:-}"\n', False),
        (".yarnrc.yml", "npmAlwaysAuth: true\n", False),
        (".yarnrc", '"//npm.example.org/:_authToken" "abc"\n', True),
        (".yarnrc", '"//npm.example.org/:_authToken" "${TOKEN}"\n', False),
    ],
)
def test_a_token_that_would_get_into_layers_is_told_of(file: str, text: str, literal: bool) -> None:
    found = the(node({**page("web"), f"web/{file}": text}))
    assert any("it holds a token, which would get into layers" in one for one in found.warnings) is literal
    assert bool(found.needs) is ("${" in text)


@pytest.mark.parametrize("name", ["npmToken", "NPM_TOKEN", "_x"])
def test_a_variable_of_a_token_may_be_written_as_one_likes(name: str) -> None:
    texts = {**page("web"), "web/.npmrc": f"//npm.example.org/:_authToken=${{{name}?}}\n"}
    assert [need.env for need in the(node(texts)).needs] == [name]


def test_what_a_production_image_carries_is_told_of() -> None:
    texts = {**program("api", "api", where="./w.js"), "api/.env": "KEY=abc\n", "other/.env": ""}
    (note,) = the(node(texts)).warnings
    assert note.startswith("api/.env: it gets into images, the production image too")
    assert the(node({**page("api"), "api/.env": "KEY=abc\n"})).warnings == ()


def test_tokens_of_cargo_in_the_project_are_kept_out_or_told_of() -> None:
    texts = {**crate("app", 3000), ".cargo/credentials.toml": '[registry]\ntoken = "abc"\n'}
    rules = Rules(read_patterns(written(texts)[".dockerignore"].encode()))
    assert not rules.lets_through(".cargo/credentials.toml")
    assert rules.lets_through(".cargo/config.toml")
    texts[".cargo/config.toml"] = '[registries.own]\nindex = "sparse+https://x/"\ntoken = "abc"\n'
    (note,) = the(rust(texts)).warnings
    assert note.startswith(".cargo/config.toml: it holds a token")


def test_credentials_of_cargo_are_a_secret_where_a_registry_is_named() -> None:
    texts = crate("app", 3000, folder="a")
    home = {"credentials.toml": "/home/me/.cargo/credentials.toml"}
    (without,) = rust_services(repository(texts), home)
    assert isinstance(without, Found)
    assert without.needs == ()
    texts["a/.cargo/config.toml"] = '[registries.own]\nindex = "sparse+https://crates.example.org/"\n'
    (found,) = rust_services(repository(texts), home)
    assert isinstance(found, Found)
    made = {file.path: file.text for file in files(repository(texts), [found], "shop")}
    assert "id=cargo_credentials,target=/usr/local/cargo/credentials.toml" in made["a/Dockerfile.fast"]
    assert yaml.safe_load(made["kiro.yaml"])["secrets"][0]["file"] == "/home/me/.cargo/credentials.toml"


# --- packages of a workspace

SETTLED = {
    "pnpm-lock.yaml": "lockfileVersion: '9.0'\n",
    "package-lock.json": "{}",
    "yarn.lock": "# yarn lockfile v1\n",
}


def workspace(lockfile: str, app: Mapping[str, Any], **libraries: Any) -> dict[str, str]:
    """An application in `app`, libraries in `packages`."""
    is_pnpm = lockfile.startswith("pnpm")
    texts = {
        "package.json": package("root", **({} if is_pnpm else {"workspaces": ["app", "packages/*"]})),
        lockfile: SETTLED[lockfile],
        "app/package.json": package("app", **app),
    }
    if is_pnpm:
        texts["pnpm-workspace.yaml"] = 'packages: ["app", "packages/**"]\n'
    return texts | {f"packages/{name}/package.json": package(name, **one) for name, one in libraries.items()}


BUILT = {"scripts": {"build": "tsc"}, "main": "./dist/index.js"}


@pytest.mark.parametrize(
    ("lockfile", "version", "command"),
    [
        (
            "package-lock.json",
            "*",
            "npm --prefix packages/deep run build && npm --prefix packages/near run build",
        ),
        ("yarn.lock", "*", "yarn --cwd packages/deep run build && yarn --cwd packages/near run build"),
        ("pnpm-lock.yaml", "workspace:^", "pnpm --filter 'app^...' run --if-present build"),
    ],
)
@pytest.mark.parametrize("is_page", [True, False])
def test_what_is_taken_of_a_workspaces_packages_is_built_live_too(
    lockfile: str, version: str, command: str, is_page: bool
) -> None:
    """Vite, or the program, would go on with what was built of them before."""
    own = {"scripts": {"build": "vite build"}, "devDependencies": {"vite": "8"}}
    app = own if is_page else {"scripts": {"build": "tsc", "start": "node dist/x.js"}}
    texts = workspace(
        lockfile,
        {**app, "dependencies": {"near": version}},
        near={**BUILT, "dependencies": {"deep": version, "app": version}},
        deep=BUILT,
        plain={"scripts": {"build": "tsc"}, "main": "./index.js"},
        far=BUILT,
    )
    made = written(texts)
    last = parse(made["app/Dockerfile.fast"]).stages[-1]
    (run,) = (
        one.rest for one in last.instructions if one.keyword == "LABEL" and "dev.kiro.live.run=" in one.rest
    )
    assert command in run
    for name in ("Dockerfile", "Dockerfile.fast"):
        assert f" && {command} \\\n" in made[f"app/{name}"]


def test_packages_that_are_taken_as_they_are_are_not_built() -> None:
    plain = {"scripts": {"build": "tsc"}, "exports": {".": {"import": "./index.js"}}}
    texts = workspace(
        "package-lock.json",
        {"scripts": {"start": "x"}, "dependencies": {"plain": "*"}},
        plain=plain,
    )
    assert node_images({**texts, "packages/plain/index.js": ""}).needed_build == ""
    assert node_images(texts).needed_build == "npm --prefix packages/plain run build"


@pytest.mark.parametrize(
    ("lockfile", "more"),
    [
        (
            "pnpm-lock.yaml",
            {
                "app/package.json": package(
                    "app", scripts={"start": "x"}, dependenciesMeta={"x": {"injected": True}}
                )
            },
        ),
        ("pnpm-lock.yaml", {"pnpm-workspace.yaml": "packages: [app]\ninjectWorkspacePackages: true\n"}),
        ("pnpm-lock.yaml", {"app/binding.gyp": "{}"}),
        ("package-lock.json", {"packages/addon/binding.gyp": "{}"}),
        ("pnpm-lock.yaml", {"package.json": package("root", scripts={"pnpm:devPreinstall": "node x.js"})}),
    ],
)
def test_an_install_that_copies_or_compiles_depends_on_any_file(
    lockfile: str, more: Mapping[str, str]
) -> None:
    texts = workspace(lockfile, {"scripts": {"start": "x"}})
    assert node_images(texts).inputs != ("-true",)
    assert node_images({**texts, **more}).inputs == ("-true",)


@pytest.mark.parametrize(
    ("lockfile", "copies"), [("yarn.lock", True), ("pnpm-lock.yaml", True), ("package-lock.json", False)]
)
def test_an_install_has_the_folders_that_it_copies(lockfile: str, copies: bool) -> None:
    own = {"x": "file:./a b", "y": "file:../y.tgz", "z": "link:./z"}
    inputs = node_images(workspace(lockfile, {"scripts": {"start": "x"}, "dependencies": own})).inputs
    assert [one for one in inputs if "app" in one] == (["-path './app/a b/*'"] if copies else [])


def test_an_install_has_patches_and_programs_of_its_manager_wherever_they_lie() -> None:
    texts = workspace("yarn.lock", {"scripts": {"start": "x"}})
    assert "-path './.yarn/*'" in node_images(texts).inputs
    texts["tools/yarn.cjs"] = ""
    texts[".yarnrc.yml"] = "yarnPath: ./tools/yarn.cjs\nplugins:\n  - path: tools/own.cjs\n    spec: x\n"
    inputs = node_images(texts).inputs
    assert {"-path './tools/yarn.cjs'", "-path './tools/own.cjs'", "-name '*.patch'"} <= set(inputs)
    assert node_images(texts).install == "node /app/tools/yarn.cjs install --immutable"


@pytest.mark.parametrize(
    ("lockfile", "script", "planned"),
    [
        (
            "pnpm-lock.yaml",
            {},
            {"package.json", "pnpm-workspace.yaml", "app/package.json", "patches/a b.txt", ".npmrc"},
        ),
        (
            "yarn.lock",
            {"postinstall": "x"},
            {"package.json", "server.js", "app/package.json", "patches/a b.txt", ".npmrc"},
        ),
    ],
)
def test_an_install_stage_gets_what_it_reads_links_too(
    tmp_path: Path, lockfile: str, script: Mapping[str, str], planned: set[str]
) -> None:
    texts = workspace(lockfile, {"scripts": {"start": "x", **script}})
    there = {
        **texts,
        "server.js": "",
        "patches/a b.txt": "",
        "settings": "a=b",
        "app/node_modules/x/package.json": "",
    }
    write_texts(tmp_path / "context", there)
    (tmp_path / "context/.npmrc").symlink_to("settings")
    (tmp_path / "context/nowhere").symlink_to("gone")
    planner = parse(written(texts)["app/Dockerfile.fast"]).stage("planner")
    assert planner is not None
    (script_,) = (one.rest for one in planner.instructions if one.keyword == "RUN")
    command = script_.partition("cd /context && ")[2].replace("/kiro/plan", str(tmp_path / "plan"))
    (tmp_path / "plan").mkdir()
    subprocess.run(["sh", "-ec", command], cwd=tmp_path / "context", check=True)
    found = {
        str(path.relative_to(tmp_path / "plan")) for path in (tmp_path / "plan").rglob("*") if path.is_file()
    }
    assert found - {lockfile, "pnpm-workspace.yaml", "settings"} == planned - {"pnpm-workspace.yaml"}
    assert (tmp_path / "plan/.npmrc").read_text() == "a=b"


@pytest.mark.parametrize(
    "more",
    [
        {"dependencies": {"x": "file:../../x"}},
        {"devDependencies": {"x": "link:../../x"}},
        {"optionalDependencies": {"x": "../../x"}},
        {"resolutions": {"x": "portal:../../x"}},
        {"pnpm": {"overrides": {"x": "link:../../x"}}},
    ],
)
def test_a_package_beside_a_context_is_told_of(more: Mapping[str, Any]) -> None:
    texts = {"a/app/package.json": package("app", scripts={"start": "x"}, **more)}
    (said,) = passed(texts)
    assert "it depends on ../../x, outside" in said
    inner = {"a/app/package.json": texts["a/app/package.json"].replace("../../x", "./x")}
    assert passed(inner) == []


def test_settings_of_typescript_beside_a_context_are_told_of() -> None:
    texts = {**page("web"), "web/tsconfig.json": '{\n  // own\n  "extends": "../tsconfig.base.json"\n}\n'}
    (note,) = the(node(texts)).warnings
    assert note.startswith("web/tsconfig.json:3: ../tsconfig.base.json lies outside")
    texts["web/tsconfig.json"] = '{"extends": "./base.json"}'
    assert the(node(texts)).warnings == ()


def test_of_many_packages_each_manifest_is_read_once() -> None:
    texts = workspace(
        "pnpm-lock.yaml", {"scripts": {"start": "x"}}, **{f"p{each}": BUILT for each in range(20)}
    )
    texts |= {f"packages/p{each}/src/x.ts": "" for each in range(20)}
    for each in range(5):
        texts[f"packages/p{each}/package.json"] = package(f"p{each}", scripts={"start": "x"})
    seen: Counter[str] = Counter()

    def read(path: str) -> str:
        seen[path] += 1
        return texts.get(path, "")

    found = list(node_services(Repository("shop", frozenset(texts), read), satisfies, ""))
    assert sum(isinstance(one, Found) for one in found) == 6
    counted = {
        path: count for path, count in seen.items() if path.endswith(("package.json", "workspace.yaml"))
    }
    # the list of the workspace's packages is also looked at as text
    assert {path for path, count in counted.items() if count > 1} <= {"pnpm-workspace.yaml"}


@pytest.mark.parametrize(
    ("patterns", "folder", "found"),
    [
        ('packages: ["a/*"]', "a/x", True),
        ("packages:\n- a/*\n- '!a/x'", "a/x", False),
        ("packages: ['**/x']", "a/b/x", True),
        ("packages: ['a/**/x']", "a/x", True),
        ("packages: ['a/**/x']", "b/x", False),
        ("onlyBuiltDependencies: [a]", "a/x", False),
        ("packages: [", "a/x", False),
    ],
)
def test_a_workspace_of_pnpm_is_read_as_yaml(patterns: str, folder: str, found: bool) -> None:
    texts = {
        "package.json": package("root"),
        "pnpm-workspace.yaml": patterns,
        f"{folder}/package.json": package("x", scripts={"start": "x"}),
    }
    assert (the(node(texts)).context == "") is found


# --- files


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_is_made_is_read_again(shape: str) -> None:
    made = written(SHAPES[shape])
    listed = yaml.safe_load(made["kiro.yaml"])["services"]
    composed = yaml.safe_load(made["compose.yaml"])["services"]
    assert [one["name"] for one in listed] == list(composed)
    for one in listed:
        context = "" if one["context"] == "." else f"{one['context']}/"
        for key, name, last in (
            ("dockerfile", "Dockerfile", "runtime"),
            ("fast_dockerfile", "Dockerfile.fast", "dev"),
        ):
            text = made[f"{context}{one.get(key, name)}"]
            assert parse(text).stages[-1].name == last
            assert f"{context}.dockerignore" in made
        assert composed[one["name"]]["image"] == f"shop/{one['name']}:dev"


def test_two_services_on_one_port_get_two_outside() -> None:
    texts = {**crate("a", 3000, folder="a"), **crate("b", 3000, folder="b")}
    composed = yaml.safe_load(written(texts)["compose.yaml"])["services"]
    assert composed["a"]["ports"] == ["127.0.0.1:${A_PORT:-3000}:3000"]
    assert composed["b"]["ports"] == ["127.0.0.1:${B_PORT:-3001}:3000"]


def test_folders_are_named_as_compose_takes_them() -> None:
    """It fills in variables, whose names begin with no digit."""
    made = yaml.safe_load(written(crate("app", 3000, folder="a$b/3d"))["compose.yaml"])
    assert made["services"]["3d"]["build"]["context"] == "./a$$b/3d"
    assert made["services"]["3d"]["ports"] == ["127.0.0.1:${_3D_PORT:-3000}:3000"]


def test_a_page_hands_on_to_the_service_that_is_there() -> None:
    made = written(SHAPES["mixed"])
    assert "set $backend http://api:3000;" in made["apps/web/nginx.dev.conf"]
    assert "location /api/ {" in made["apps/web/nginx.conf"]
    alone = written(page("web"))
    assert "proxy_pass $backend" not in alone["web/nginx.conf"] + alone["web/nginx.dev.conf"]


def test_only_missing_lines_are_added_to_an_ignore_file() -> None:
    texts = {**crate("app", 3000, folder="a"), "a/.dockerignore": "target\n**/.git\n"}
    lines = written(texts)["a/.dockerignore"].splitlines()
    assert not {"**/target", "**/.git"} & set(lines)
    assert "**/Dockerfile*" in lines


def test_an_ignore_file_lets_through_what_builds_need() -> None:
    for shape in SHAPES.values():
        made = written(shape)
        for path, text in made.items():
            if path.endswith(".dockerignore"):
                folder = path.removesuffix(".dockerignore")
                left_out = [
                    name for name in shape if name.startswith(folder) and _excludes(text, name, folder)
                ]
                assert left_out == []
                assert _excludes(text, f"{folder}sub/.git/config", folder)
    assert _excludes(written(SHAPES["single"])[".dockerignore"], ".kiro/logs/x", "")


def test_what_a_person_lets_through_stays_so() -> None:
    """Of two lines the last one counts, and theirs come first."""
    mine = "*\n!src/**\n!.env.production.local\n!docs/Dockerfile.md\n!a/target\n"
    block = written({**crate("app", 3000, folder="a"), "a/.dockerignore": mine})["a/.dockerignore"]
    rules = Rules(read_patterns((mine + block).encode()))
    for path in ("src/x.rs", ".env.production.local", "docs/Dockerfile.md", "a/target/x"):
        assert rules.lets_through(path), path
    assert "**/.env.local\n" in block


def test_a_source_may_have_the_name_of_build_output() -> None:
    texts = {**crate("app", 3000, folder="a/app"), "a/Cargo.toml": '[workspace]\nmembers = ["app"]\n'}
    sources = ("app/src/target/mod.rs", "app/src/x/target/y.rs", "app/src/Dockerfile.hbs")
    others = ("app/target/debug/app", "target/src.d", "Dockerfile.old", "app/src/.git/x")
    texts |= {f"a/{path}": "" for path in (*sources, *others)}
    rules = Rules(read_patterns(written(texts)["a/.dockerignore"].encode()))
    assert all(map(rules.lets_through, sources))
    assert not any(map(rules.lets_through, others))
    text = written({**page("web"), "web/src/dist/x.js": "", "web/dist/x.js": ""})["web/.dockerignore"]
    assert (_excludes(text, "web/dist/x.js", "web/"), _excludes(text, "web/src/dist/x.js", "web/")) == (
        True,
        False,
    )


@pytest.mark.parametrize(
    ("texts", "left"),
    [
        (SHAPES["yarn berry"], ["first/.pnp.cjs", "first/.pnp.loader.mjs", "first/.yarn/install-state.gz",
                                "first/.yarn/unplugged/x/y"]),
        (SHAPES["pnpm"], [".pnpm-store/v10/x"]),
    ],
)  # fmt: skip
def test_what_an_install_left_among_the_sources_is_not_sent_over_the_images_own(
    texts: Mapping[str, str], left: list[str]
) -> None:
    made = written(texts)
    (path,) = (path for path in made if path.endswith(".dockerignore"))
    folder = path.removesuffix(".dockerignore")
    assert [name for name in left if not _excludes(made[path], name, folder)] == []
    kept = [
        "first/.yarn/cache/x.zip",
        "first/.yarn/releases/yarn.cjs",
        "first/.yarnrc.yml",
        "first/.yarn/patches/x",
    ]
    assert [name for name in kept if _excludes(made[path], name, folder)] == []


def test_on_request_an_editor_and_continuous_integration_are_set_up() -> None:
    made = written(SHAPES["mixed"], ("ci", "editor"))
    (job,) = yaml.safe_load(made[".github/workflows/kiro.yaml"])["jobs"].values()
    runs = [step["run"].split() for step in job["steps"] if "run" in step]
    assert runs.pop(0) == ["pip", "install", "kiro-invoke"]
    for first, *words in [*runs, ["kiro", *json.loads(made[".vscode/tasks.json"])["tasks"][0]["args"]]]:
        (task,) = Parser(contexts=ns.to_contexts()).parse_argv(words)
        assert (first, task.name) == ("kiro", words[0])
    names = [one["name"] for one in json.loads(made[".vscode/launch.json"])["configurations"]]
    assert [name.split()[0] for name in names] == ["api", "web"]
    assert json.loads(made[".vscode/tasks.json"])["tasks"][0]["args"] == ["watch"]
    assert not [path for path in written(SHAPES["mixed"]) if path.startswith((".github", ".vscode"))]


def test_a_persons_compose_file_of_another_name_is_enough() -> None:
    texts = {**crate("app", 3000, folder="a"), "docker-compose.yml": "services: {}\n"}
    assert "compose.yaml" not in written(texts)


def test_lines_for_make_are_only_ever_added() -> None:
    services = rust(SHAPES["single"])
    found = {file.path: file.form for file in files(repository(SHAPES["single"]), services, "shop", ["make"])}
    assert found["Makefile"] is Form.ADDED


def test_a_tiltfile_of_a_persons_already_says_how_services_run() -> None:
    texts = SHAPES["single"]
    assert written(texts, ("tilt",))["Tiltfile"].startswith("docker_compose('compose.yaml')\nkiro = ")
    theirs = {**texts, "Tiltfile": "k8s_yaml('app.yaml')\n"}
    assert written(theirs, ("tilt",))["Tiltfile"].startswith("kiro = ")


def test_a_tiltfile_runs_the_compose_file_that_there_is() -> None:
    texts = {**SHAPES["single"], "docker-compose.yml": "services: {}\n"}
    assert written(texts, ("tilt",))["Tiltfile"].startswith("docker_compose('docker-compose.yml')\n")


def _excludes(text: str, name: str, folder: str) -> bool:
    return not Rules(read_patterns(text.encode())).lets_through(name.removeprefix(folder))
