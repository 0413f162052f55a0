"""Services of Node: pages that Vite builds, and programs that have a start script."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from posixpath import basename
from typing import Any

from kiro_invoke.model.naming import slug
from kiro_invoke.scaffold.found import Fact, Found, Need, Passed
from kiro_invoke.scaffold.images import NODE_IMAGE, NodeImages, PageImages
from kiro_invoke.scaffold.managers import Manager, folder_below, manager, uses_bun
from kiro_invoke.scaffold.repository import Repository, line_of, matches, placed, table, up

_MANIFEST = "package.json"
_VITE_CONFIGS = tuple(f"vite.config.{ending}" for ending in ("ts", "js", "mts", "mjs", "cts", "cjs"))
#: They use Vite and serve by themselves.
_SERVED = (
    "@sveltejs/kit",
    "nuxt",
    "astro",
    "@react-router/dev",
    "@remix-run/dev",
    "@solidjs/start",
    "vike",
    "next",
)
_MAJORS = (24, 22, 20, 18, 16)
_LIFECYCLE = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")
_OUT = re.compile(r"\boutDir\s*:\s*[\"'`](?P<out>[\w./-]+)[\"'`]")
_PROXIED = re.compile(r"[\"'`](?P<path>/[\w/-]+)[\"'`]\s*:")
_TOKEN = re.compile(r"\$\{(?P<name>[A-Z_][A-Z0-9_]*)[-:}]")
_LITERAL_TOKEN = re.compile(r"(?:_authToken|_auth|_password|npmAuthToken)\s*[=:]\s*(?!\s*[\"']?\$\{)\S")
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
class _Project:
    """A package, and the project that its dependencies are installed by."""

    repository: Repository
    folder: str
    root: str
    manifest: Mapping[str, Any]
    is_workspace: bool

    @property
    def path(self) -> str:
        return placed(self.folder, _MANIFEST)

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


def node_services(repository: Repository, fits: Fits, own_npmrc: str) -> Iterator[Found | Passed]:
    """What the package.json files of a repository are. `own_npmrc`: a person's own, where it holds credentials."""
    taken: set[str] = set()
    for folder in repository.named(_MANIFEST):
        root, is_workspace = _root(repository, folder)
        manifest = repository.json(placed(folder, _MANIFEST))
        project = _Project(repository, folder, root, manifest, is_workspace)
        found = _service(project, fits, own_npmrc)
        if isinstance(found, Found) and found.name in taken:
            yield Passed(project.path, f"another package is named {found.name}, too")
            continue
        if isinstance(found, Found):
            taken.add(found.name)
        yield found


def _root(repository: Repository, folder: str) -> tuple[str, bool]:
    """The folder of the workspace that a package belongs to, and whether there is one."""
    for above in up(folder):
        patterns = _members(repository, above)
        if patterns is not None and (above == folder or matches(folder, above, patterns)):
            return above, True
    return folder, False


def _members(repository: Repository, folder: str) -> list[str] | None:
    said = repository.json(placed(folder, _MANIFEST)).get("workspaces")
    said = said.get("packages") if isinstance(said, dict) else said
    if isinstance(said, list):
        return [str(one) for one in said]
    text = repository.read(placed(folder, "pnpm-workspace.yaml"))
    section = re.search(r"^packages:\s*\n((?:[ \t]*-.*\n?|\s*#.*\n?|\s*\n)+)", text, re.MULTILINE)
    if section is None:
        return None
    return re.findall(r"-\s*[\"']?([^\"'\s#]+)", section[1])


def _service(project: _Project, fits: Fits, own_npmrc: str) -> Found | Passed:
    if uses_bun(project.repository, project.root):
        return Passed(project.path, "Bun's packages: what is written here knows npm, pnpm and yarn")
    build = str(project.scripts.get("build") or "")
    served = next((name for name in _SERVED if name in project.dependencies), "")
    is_vite = (
        "vite" in project.dependencies and not served and ("vite" in build or _vite_config(project)[0] != "")
    )
    if not is_vite and "start" not in project.scripts:
        why = f"{served} has no start script" if served else "no page of Vite's, and no start script"
        return Passed(project.path, why)
    kind, said, lockfile = manager(project.repository, project.root)
    image, wanted = _image(project, fits)
    facts = [*said, wanted]
    needs, npmrc, tokens, ignored, warnings = _credentials(project, own_npmrc)
    facts += [Fact(f"secret {one.id}", one.file or one.env) for one in needs]
    common = _Common(project, kind, image, bool(npmrc), tokens)
    proxied: tuple[str, ...] = ()
    if is_vite:
        out, proxied, of_vite = _page_facts(project)
        facts += of_vite
        local = any(str(value).startswith(("file:", "link:")) for value in project.dependencies.values())
        simple = kind.name == "npm" and not (project.is_workspace or tokens or local)
        images: PageImages | NodeImages = (
            PageImages(
                common.mounts, image, out=out, npmrc=bool(npmrc), typecheck="typecheck" in project.scripts
            )
            if simple
            else common.page(out)
        )
        port = 8080
    else:
        images, of_program = common.program()
        facts += of_program
        port = images.port
    return Found(
        _name(project), project.root, project.folder, kind.ecosystem, images, tuple(facts), port,
        proxied, needs, lockfile, kind.package, ("**/node_modules", *ignored, *_made(project, images)), warnings,
    )  # fmt: skip


def _made(project: _Project, images: PageImages | NodeImages) -> tuple[str, ...]:
    out = images.out if isinstance(images, PageImages) else images.page
    return (
        (f"**/{basename(out)}",)
        if out and images is not None
        else ("**/.next",) * ("next" in project.dependencies)
    )


def _name(project: _Project) -> str:
    if project.is_workspace:
        return slug(project.name.rpartition("/")[2], "web")
    return slug(basename(project.folder) or project.repository.name, "web")


@dataclass(frozen=True)
class _Common:
    """What images of any shape have, for those that are not installed by npm alone."""

    project: _Project
    kind: Manager
    image: str
    npmrc: bool
    tokens: tuple[str, ...]

    @property
    def mounts(self) -> str:
        repository = self.project.repository
        return f"{slug(repository.name, 'project')}-{_name(self.project)}"

    def page(self, out: str) -> NodeImages:
        project, kind = self.project, self.kind
        needed = ""
        if kind.name == "pnpm" and any(
            str(v).startswith("workspace:") for v in project.dependencies.values()
        ):
            needed = f"pnpm --filter {shlex.quote(f'{project.name}^...')} run --if-present build"
        page = placed(project.below, out)
        return replace(
            self._images,
            build=shlex.join(kind.script("build", project.below, project.name)),
            needed_build=needed,
            page=page,
            vite=kind.own_program("vite"),
            out=out,
        )

    def program(self) -> tuple[NodeImages, list[Fact]]:
        project, kind = self.project, self.kind
        port, env, facts = _listening(project)
        is_react = "react-scripts" in project.dependencies
        has_build = "build" in project.scripts
        facts.append(Fact(f"start: {project.scripts['start']}", project.path))
        facts.append(Fact("an image of stages that runs its start script: nothing quicker is known for it"))
        images = replace(
            self._images,
            build=shlex.join(kind.script("build", project.below, project.name)) if has_build else "",
            start=kind.script("start", project.below, project.name),
            page=placed(project.below, "build") if is_react and has_build else "",
            port=port,
            env=(*kind.env, *env),
        )
        return images, facts

    @property
    def _images(self) -> NodeImages:
        kind, project = self.kind, self.project
        runs = any(_any_script(project, name) for name in _LIFECYCLE)
        return NodeImages(
            mounts=self.mounts,
            inputs=("-true",) if runs else kind.inputs,
            install=kind.install,
            store=kind.store,
            store_id=f"kiro-{kind.name}",
            live_install=kind.live_install,
            folder=project.below,
            node_image=self.image,
            manager_install=kind.had_by,
            env=kind.env,
            npmrc=self.npmrc,
            token_variables=self.tokens,
        )


def _any_script(project: _Project, name: str) -> bool:
    """Whether a package of the project's own has this script: it may read any file when it is installed."""
    start = f"{project.root}/" if project.root else ""
    manifests = (
        path for path in project.repository.paths if path.startswith(start) and path.endswith(_MANIFEST)
    )
    return any(name in table(project.repository.json(path).get("scripts")) for path in manifests)


def _image(project: _Project, fits: Fits) -> tuple[str, Fact]:
    for folder in up(project.folder):
        for name in (".nvmrc", ".node-version"):
            path = placed(folder, name)
            if match := re.match(r"v?(\d+)", project.repository.read(path).strip()):
                return _of_major(int(match[1])), Fact(f"Node {match[1]}", path)
        manifest = placed(folder, _MANIFEST)
        volta = str(table(project.repository.json(manifest).get("volta")).get("node") or "")
        if match := re.match(r"(\d+)", volta):
            return _of_major(int(match[1])), Fact(f"Node {match[1]}", manifest)
        if wanted := str(table(project.repository.json(manifest).get("engines")).get("node") or ""):
            major = next((one for one in _MAJORS if fits((one,), wanted)), None)
            if major is not None:
                return _of_major(major), Fact(f"Node {major}, of {wanted}", manifest)
    return NODE_IMAGE, Fact(f"{NODE_IMAGE}, for neither .nvmrc nor engines says otherwise")


def _of_major(major: int) -> str:
    return f"node:{major}-{'trixie' if major >= 20 else 'bookworm'}-slim"


def _vite_config(project: _Project) -> tuple[str, str]:
    """The path and text of Vite's configuration, "" where there is none."""
    for name in _VITE_CONFIGS:
        path = placed(project.folder, name)
        if project.repository.has(path):
            return path, project.repository.read(path)
    return "", ""


def _page_facts(project: _Project) -> tuple[str, tuple[str, ...], list[Fact]]:
    """The folder that the page is built into, what its server hands on, and what says so."""
    path, text = _vite_config(project)
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


def _braced(text: str, start: int) -> str:
    """From a brace to the one that closes it."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start : at + 1]
    return text[start:]


def _listening(project: _Project) -> tuple[int, tuple[str, ...], list[Fact]]:
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


def _credentials(
    project: _Project, own_npmrc: str
) -> tuple[tuple[Need, ...], str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Secrets, the .npmrc among them, variables of tokens, what is to be kept out of the context, what to know."""
    names, texts = (".npmrc", ".yarnrc.yml"), []
    for folder in dict.fromkeys((project.root, project.folder)):
        texts += [(placed(folder, name), project.repository.read(placed(folder, name))) for name in names]
    tokens = tuple(dict.fromkeys(match["name"] for _path, text in texts for match in _TOKEN.finditer(text)))
    needs = [Need(name, env=name) for name in tokens]
    literal = [path for path, text in texts if _LITERAL_TOKEN.search(text)]
    if any(path.endswith(".npmrc") for path in literal):
        path = next(path for path in literal if path.endswith(".npmrc"))
        why = f"{path}: it holds a token: it is kept out of the context and given to builds as a secret"
        return (Need("npmrc", file=path), *needs), path, tokens, (folder_below(project.root, path),), (why,)
    warnings = tuple(
        f"{path}: it holds a token, which would get into layers: write ${{NPM_TOKEN}}" for path in literal
    )
    if own_npmrc and any("registry" in text for _path, text in texts):
        return (Need("npmrc", file=own_npmrc), *needs), own_npmrc, tokens, (), warnings
    return tuple(needs), "", tokens, (), warnings
