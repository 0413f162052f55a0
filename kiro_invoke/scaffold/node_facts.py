"""What is read of a package of Node: its version, what its page is built into, its port, its registries' tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from posixpath import basename
from typing import Any

from kiro_invoke.scaffold.found import Fact, Need
from kiro_invoke.scaffold.images import NODE_IMAGE
from kiro_invoke.scaffold.managers import folder_below
from kiro_invoke.scaffold.repository import Repository, line_of, placed, table, up

MANIFEST = "package.json"
_VITE_CONFIGS = tuple(f"vite.config.{ending}" for ending in ("ts", "js", "mts", "mjs", "cts", "cjs"))
_MAJORS = (24, 22, 20, 18, 16, 23, 21, 19)
#: As `.nvmrc` names them: lts/jod.
_NAMED = {"gallium": 16, "hydrogen": 18, "iron": 20, "jod": 22, "krypton": 24}
_OUT = re.compile(r"\boutDir\s*:\s*[\"'`](?P<out>[\w./-]+)[\"'`]")
_PROXIED = re.compile(r"[\"'`](?P<path>/[\w/-]+)[\"'`]\s*:")
_TOKEN = re.compile(r"\$\{(?P<name>[A-Za-z_]\w*)[-:?}]", re.ASCII)
_LITERAL_TOKEN = re.compile(
    r"(?:_authToken|_auth|_password|npmAuthToken|npmAuthIdent)[\"']?"
    r"(?:[ \t]*[=:]|[ \t])[ \t]*(?![ \t]*[\"']?\$\{)[^\s=:]"
)
_PORTS = tuple(
    re.compile(text)
    for text in (
        r"\bPORT\b[^\n]{0,20}?(?:\|\||\?\?)\s*[\"']?(?P<port>\d{2,5})\b",
        r"\.listen\(\s*(?:\{\s*port\s*:\s*)?(?P<port>\d{2,5})\b",
        r"\bport\s*[:=]\s*(?P<port>\d{2,5})\b",
    )
)
_PORT_OPTION = re.compile(r"(?:--port[ =]|-p )(?P<port>\d{2,5})\b")

#: Whether a version can be in a range of npm's.
Fits = Callable[[tuple[int, ...], str], bool]


@dataclass(frozen=True)
class Project:
    """A package, and the project that its dependencies are installed by."""

    repository: Repository
    folder: str
    root: str
    manifest: Mapping[str, Any]
    is_workspace: bool

    @property
    def path(self) -> str:
        return placed(self.folder, MANIFEST)

    @property
    def below(self) -> str:
        return folder_below(self.root, self.folder)

    @property
    def scripts(self) -> Mapping[str, Any]:
        return table(self.manifest.get("scripts"))

    @property
    def name(self) -> str:
        return str(self.manifest.get("name") or basename(self.folder))

    @property
    def dependencies(self) -> Mapping[str, Any]:
        return {**table(self.manifest.get("dependencies")), **table(self.manifest.get("devDependencies"))}


def image_of(project: Project, fits: Fits) -> tuple[str, Fact]:
    for folder in up(project.folder):
        for name in (".nvmrc", ".node-version"):
            path = placed(folder, name)
            text = project.repository.read(path).strip()
            match = re.match(r"v?(\d+)", text)
            said = int(match[1]) if match else _NAMED.get(text.lower().removeprefix("lts/"))
            if said:
                return _of_major(said), Fact(f"Node {said}", path)
        manifest = placed(folder, MANIFEST)
        volta = str(table(project.repository.json(manifest).get("volta")).get("node") or "")
        if match := re.match(r"(\d+)", volta):
            return _of_major(int(match[1])), Fact(f"Node {match[1]}", manifest)
        if wanted := str(table(project.repository.json(manifest).get("engines")).get("node") or ""):
            major = next((one for one in _MAJORS if fits((one,), wanted)), None)
            if major is not None:
                return _of_major(major), Fact(f"Node {major}, of {wanted}", manifest)
    return NODE_IMAGE, Fact(f"{NODE_IMAGE}, for neither .nvmrc nor engines says otherwise")


def _of_major(major: int) -> str:
    has_trixie = major >= 24 or major in (20, 22)  # releases that ended before Debian 13 did come have none
    return f"node:{major}-{'trixie' if has_trixie else 'bookworm' if major >= 16 else 'bullseye'}-slim"


def vite_config(project: Project) -> tuple[str, str]:
    """The path and text of Vite's configuration, "" where there is none."""
    for name in _VITE_CONFIGS:
        path = placed(project.folder, name)
        if project.repository.has(path):
            return path, project.repository.read(path)
    return "", ""


def page_facts(project: Project) -> tuple[str, tuple[str, ...], list[Fact]]:
    """The folder that the page is built into, what its server hands on, and what says so."""
    path, text = vite_config(project)
    facts = []
    given = re.search(r"--outDir[ =]([\w./-]+)", str(project.scripts.get("build") or ""))
    match = _OUT.search(text)
    out = (given[1] if given else match["out"] if match else "dist").removeprefix("./").rstrip("/")
    where = project.path if given else f"{path}:{line_of(text, match.start())}" if match else ""
    if out.startswith(("/", "..")):
        out, where = "dist", ""
    facts.append(Fact(f"a page that Vite builds into {out}", where or "Vite's own"))
    proxied: list[str] = []
    if at := re.search(r"\bproxy\s*:\s*\{", text):
        proxied = [match["path"] for match in _PROXIED.finditer(_braced(text, at.end() - 1))]
        proxied = [path if path.endswith("/") else f"{path}/" for path in dict.fromkeys(proxied)]
        facts.append(Fact(f"handed on: {', '.join(proxied)}", f"{path}:{line_of(text, at.start())}"))
    return out, tuple(proxied), facts


def page_warnings(project: Project) -> tuple[str, ...]:
    """What of Vite's configuration does not go with a page that nginx hands on."""
    path, text = vite_config(project)
    odd = {
        r"\broot\s*:": "root is set: see that the folder in the Dockerfiles is where the page is built",
        r"\b(?:pathRewrite|rewrite)\s*[:(]": "nginx hands on the paths as they are: no rewrite is done",
        r"\bhttps\s*:\s*(?!/)\S|\bbasicSsl\(": "its server speaks TLS, nginx before it does not",
    }
    found = ((re.search(pattern, text), words) for pattern, words in odd.items())
    return tuple(f"{path}:{line_of(text, match.start())}: {words}" for match, words in found if match)


def _braced(text: str, start: int) -> str:
    """From a brace to the one that closes it."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start : at + 1]
    return text[start:]


def listening(project: Project) -> tuple[int, tuple[str, ...], list[Fact]]:
    repository, start = project.repository, str(project.scripts.get("start") or "")
    own = [
        path
        for path in repository.below(project.folder, ".js", ".mjs", ".cjs", ".ts", ".mts")
        if not path.endswith((".d.ts", ".min.js", ".test.ts", ".test.js", ".config.js", ".config.ts"))
    ]
    texts = [(path, repository.read(path)) for path in own[:300]]
    reads_port = any("env.PORT" in text or 'env["PORT"]' in text for _path, text in texts)
    found = _port(texts)
    if match := _PORT_OPTION.search(start):
        found = (int(match["port"]), project.path)
    elif not found[0] and ({"next", "react-scripts", "nuxt"} & project.dependencies.keys()):
        found = (3000, "the framework's own")
    port, where = found
    if reads_port and not port:
        port, where = 8080, "the variable PORT"
    env = (f"PORT={port}",) if reads_port else ()
    fact = Fact(f"port {port}", where) if port else Fact("no port: nothing of it is seen to listen on one")
    return port, env, [fact]


def _port(texts: list[tuple[str, str]]) -> tuple[int, str]:
    for pattern in _PORTS:
        for path, text in texts:
            for match in pattern.finditer(text):
                if 0 < int(match["port"]) < 65536:
                    return int(match["port"]), f"{path}:{line_of(text, match.start())}"
    return 0, ""


def credentials(
    project: Project, own_npmrc: str
) -> tuple[tuple[Need, ...], str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Secrets, the .npmrc among them, variables of tokens, what is to be kept out of the context, what to know."""
    names, texts = (".npmrc", ".yarnrc.yml", ".yarnrc"), []
    for folder in dict.fromkeys((project.root, project.folder)):
        texts += [(placed(folder, name), project.repository.read(placed(folder, name))) for name in names]
    tokens = tuple(dict.fromkeys(match["name"] for _path, text in texts for match in _TOKEN.finditer(text)))
    needs = [Need(name, env=name) for name in tokens]
    read = [path for path, text in texts if _LITERAL_TOKEN.search(text)]
    other = [
        path for path in _below(project, ".npmrc") if _LITERAL_TOKEN.search(project.repository.read(path))
    ]
    kept_out = [path for path in dict.fromkeys((*read, *other)) if path.endswith(".npmrc")]
    own = next((path for path in read if path in kept_out), "")
    warnings = [
        f"{path}: it holds a token: it is kept out of the context"
        + (" and given to builds as a secret" if path == own else "")
        for path in kept_out
    ]
    warnings += [
        f"{path}: it holds a token, which would get into layers: write ${{NPM_TOKEN}}"
        for path in read
        if path not in kept_out
    ]
    ignored = tuple(folder_below(project.root, path) for path in kept_out)
    given = own or (own_npmrc if own_npmrc and any("registry" in text for _path, text in texts) else "")
    secrets = (Need("npmrc", file=given), *needs) if given else tuple(needs)
    return secrets, given, tokens, ignored, tuple(warnings)


def _below(project: Project, name: str) -> list[str]:
    root = project.root
    within = (
        folder for folder in project.repository.named(name) if not root or f"{folder}/".startswith(f"{root}/")
    )
    return [placed(folder, name) for folder in within]


def carried(project: Project) -> tuple[str, ...]:
    """What a production image of a program carries that may be nobody else's to know, as notes."""
    return tuple(
        f"{path}: it gets into images, the production image too: name it in .dockerignore if it holds what is secret"
        for path in dict.fromkeys((*_below(project, ".env"), *_below(project, ".env.production")))
        if path.rpartition("/")[0] in (project.root, project.folder)
    )
