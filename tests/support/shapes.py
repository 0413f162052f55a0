"""Small repositories of many shapes, as a person has them before `kiro init`: path -> text."""

from __future__ import annotations

import json
from collections.abc import Mapping

#: A program that answers each request with WORD.
SERVER_RS = """\
use std::io::{Read, Write};
use std::net::TcpListener;

fn main() {
    let listener = TcpListener::bind("0.0.0.0:PORT").unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let word = WORD;
        let head = "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n";
        let _ = write!(stream, "{head}Content-Length: {}\\r\\n\\r\\n{word}", word.len());
    }
}
"""
SERVER_JS = """\
import { createServer } from "node:http";
import { word } from "WHERE";

createServer((_request, response) => response.end(word)).listen(process.env.PORT ?? 3000);
"""
#: The version of the library that it is linked with.
SEALED = "unsafe { openssl_sys::OpenSSL_version_num() }.to_string()"
PAGE = """\
<!doctype html>
<title>page</title>
<script type="module" src="/src/main.js"></script>
"""


def crate(name: str, port: int, *, word: str = '"one"', more: str = "", folder: str = "") -> dict[str, str]:
    """A package of Cargo with one program."""
    start = f"{folder}/" if folder else ""
    return {
        f"{start}Cargo.toml": f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n{more}',
        f"{start}src/main.rs": SERVER_RS.replace("PORT", str(port)).replace("WORD", word),
    }


def package(name: str, **more: object) -> str:
    return (
        json.dumps({"name": name, "version": "1.0.0", "private": True, "type": "module", **more}, indent=2)
        + "\n"
    )


def program(name: str, folder: str, *, where: str, **more: object) -> dict[str, str]:
    """A package of Node with a start script; `where` it gets its word from."""
    return {
        f"{folder}/package.json": package(name, scripts={"start": "node server.js"}, **more),
        f"{folder}/server.js": SERVER_JS.replace("WHERE", where),
    }


def page(folder: str) -> dict[str, str]:
    return {
        f"{folder}/package.json": package(
            "page", scripts={"build": "vite build"}, devDependencies={"vite": "^8.3.8"}
        ),
        f"{folder}/index.html": PAGE,
        f"{folder}/src/main.js": 'document.title = "one";\n',
        f"{folder}/vite.config.js": 'export default { server: { proxy: { "/api": "http://localhost:3000" } } };\n',
    }


def workspace_of_cargo() -> dict[str, str]:
    """A virtual workspace with two programs, which share a library."""
    shared = '[dependencies]\nwords = { path = "../words" }\n'
    return {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/*"]\n',
        **crate("first", 3001, word="words::word()", more=shared, folder="crates/first"),
        **crate("second", 3002, word="words::word()", more=shared, folder="crates/second"),
        "crates/words/Cargo.toml": '[package]\nname = "words"\nversion = "0.1.0"\nedition = "2021"\n',
        "crates/words/src/lib.rs": 'pub fn word() -> &\'static str {\n    "one"\n}\n',
    }


def workspace_of_pnpm() -> dict[str, str]:
    return {
        "package.json": package("root", packageManager="pnpm@10.12.1"),
        "pnpm-workspace.yaml": "packages:\n  - 'apps/*'\n  - \"packages/*\"\n",
        **program(
            "first", "apps/first", where="words", dependencies={"words": "workspace:*", "is-odd": "3.0.1"}
        ),
        "packages/words/package.json": package("words", exports="./words.js"),
        "packages/words/words.js": 'export const word = "one";\n',
    }


def project_of_yarn() -> dict[str, str]:
    return {
        **program(
            "first",
            "first",
            where="./words.js",
            packageManager="yarn@4.9.2",
            dependencies={"is-odd": "3.0.1"},
        ),
        "first/words.js": 'import "is-odd";\n\nexport const word = "one";\n',
    }


SHAPES: Mapping[str, dict[str, str]] = {
    "single": crate("single", 3000),
    "two binaries": workspace_of_cargo(),
    "npm": {
        **program("first", "first", where="./words.js", dependencies={"is-odd": "3.0.1"}),
        "first/words.js": 'import "is-odd";\n\nexport const word = "one";\n',
    },
    "pnpm": workspace_of_pnpm(),
    "yarn berry": project_of_yarn(),
    "mixed": {**crate("api", 3000, folder="services/api"), **page("apps/web")},
    "openssl": crate(
        "sealed",
        3000,
        word=SEALED,
        more='[dependencies]\nopenssl-sys = "0.9"\n',
        folder="sealed",
    ),
    "Läden und mehr": crate("api", 3000, folder="ein Dienst für ä"),
}
