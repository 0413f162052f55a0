"""The package managers of Node: how each is had, what its install reads, and how its scripts are run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from kiro_invoke.scaffold.found import Fact
from kiro_invoke.scaffold.repository import Repository, placed, up

_LOCKFILES = {
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
}
_SAID = re.compile(r"(?P<name>npm|pnpm|yarn|bun)@(?P<version>\d[\w.-]*)")
#: A release for each format of a lockfile that names none.
_PNPM = {"5": "7", "6": "8", "9": "10"}


@dataclass(frozen=True)
class Manager:
    """`name`: npm, pnpm, yarn (1) or berry (yarn 2 and newer). `version` "": the image's own."""

    name: str
    version: str
    lockfile: str
    pnp: bool = False
    release: str = ""
    #: files of the project that are part of it: its release, its plugins
    programs: tuple[str, ...] = ()

    @property
    def ecosystem(self) -> str:
        return "yarn" if self.name == "berry" else self.name

    @property
    def package(self) -> str:
        """What npm's registry has it as."""
        name = {"berry": "@yarnpkg/cli-dist"}.get(self.name, self.name)
        return f"{name}@{self.version}" if self.version else name

    @property
    def had_by(self) -> str:
        """The command that installs it into an image; "": it is there."""
        if self.release or (self.name == "npm" and not self.version):
            return ""
        return f"npm install --global --force --no-audit --no-fund {shlex.quote(self.package)}"

    @property
    def program(self) -> str:
        if self.release:
            return f"node /app/{self.release}"
        return "yarn" if self.name == "berry" else self.name

    @property
    def install(self) -> str:
        return {
            "npm": "npm ci --prefer-offline --no-audit --no-fund",
            "pnpm": "pnpm install --frozen-lockfile --prefer-offline",
            "yarn": "yarn install --frozen-lockfile --prefer-offline --non-interactive",
            "berry": f"{self.program} install --immutable",
        }[self.name]

    @property
    def live_install(self) -> str:
        return (
            "npm install --no-save --no-audit --no-fund --prefer-offline"
            if self.name == "npm"
            else self.install
        )

    @property
    def store(self) -> str:
        """Where its downloads are kept."""
        return {"npm": "/root/.npm", "pnpm": "/pnpm/store", "yarn": "/yarn/cache", "berry": "/yarn/berry"}[
            self.name
        ]

    @property
    def env(self) -> tuple[str, ...]:
        """What has it keep its downloads there, and ask nobody anything."""
        return {
            "npm": (),
            "pnpm": ("CI=true", "npm_config_store_dir=/pnpm/store"),
            "yarn": ("YARN_CACHE_FOLDER=/yarn/cache",),
            "berry": (
                "YARN_GLOBAL_FOLDER=/yarn/berry",
                "YARN_ENABLE_TELEMETRY=0",
                # without node_modules programs are read from this cache: it must be in the image
                *(("YARN_ENABLE_GLOBAL_CACHE=false",) if self.pnp else ()),
            ),
        }[self.name]

    @property
    def inputs(self) -> tuple[str, ...]:
        """What find takes for files that an install depends on."""
        own = {
            "npm": (
                "-name package-lock.json",
                "-name npm-shrinkwrap.json",
                "-name .npmrc",
                "-name binding.gyp",
            ),
            "pnpm": (
                "-name pnpm-lock.yaml",
                "-name pnpm-workspace.yaml",
                "-name .npmrc",
                "-name '.pnpmfile.*'",
            ),
            "yarn": ("-name yarn.lock", "-name .yarnrc", "-name .npmrc", "-path './.yarn/*'"),
            "berry": ("-name yarn.lock", "-name .yarnrc.yml", "-path './.yarn/*'"),
        }[self.name]
        other = tuple(f"-path './{path}'" for path in self.programs if not path.startswith(".yarn/"))
        archives = ("-name '*.tgz'", "-name '*.tar.gz'")
        return ("-name package.json", *own, *other, "-path './patches/*'", "-name '*.patch'", *archives)

    @property
    def ignored(self) -> tuple[str, ...]:
        """What an install here leaves among the sources: copied over the image's own it would lead nowhere."""
        return {
            "pnpm": ("**/.pnpm-store",),
            "berry": (
                "**/.pnp.*",
                "**/.yarn/unplugged",
                "**/.yarn/install-state.gz",
                "**/.yarn/build-state.yml",
            ),
        }.get(self.name, ())

    def script(self, name: str, folder: str, package: str) -> tuple[str, ...]:
        """The command, run in the context, that runs a script of the package in a folder of it."""
        match self.name:
            case "npm":
                head = ["npm", *(["--prefix", folder] if folder else [])]
                return (*head, *(["start"] if name == "start" else ["run", name]))
            case "pnpm":
                return ("pnpm", *(["-C", folder] if folder else []), "run", name)
            case "yarn":
                return ("yarn", *(["--cwd", folder] if folder else []), "run", name)
        return (*self.program.split(), *(["workspace", package] if folder else []), "run", name)

    def own_program(self, name: str) -> str:
        """The command, run in a package's folder, that starts a program of one of its dependencies."""
        return {
            "npm": f"npm exec --offline -- {name}",
            "pnpm": f"pnpm exec {name}",
            "yarn": f"yarn run -s {name}",
            "berry": f"{self.program} run {name}",
        }[self.name]


def manager(repository: Repository, root: str) -> tuple[Manager, tuple[Fact, ...], str]:
    """The manager of the project at `root`, what says so, and the path of a lockfile that is missing ("": none is)."""
    found = {name: kind for name, kind in _LOCKFILES.items() if repository.has(placed(root, name))}
    said = _said(repository, root)
    kind, version, where = said if said else ("", "", "")
    lockfile = next((name for name, of in found.items() if not kind or of == kind), "")
    kind = kind or (found[lockfile] if lockfile else "npm")
    facts = [
        Fact(
            f"{kind}{f' {version}' if version else ''}", where or (placed(root, lockfile) if lockfile else "")
        )
    ]
    default = {"npm": "package-lock.json", "pnpm": "pnpm-lock.yaml", "yarn": "yarn.lock"}[kind]
    missing = "" if lockfile else placed(root, default)
    lockfile = lockfile or default
    if kind == "pnpm" and not version:
        text = repository.read(placed(root, lockfile))
        form = re.search(r"lockfileVersion: '?(\d+)", text)
        version = _PNPM.get(form[1] if form else "", "10")
        facts.append(Fact(f"pnpm {version}, for its lockfile's format", placed(root, lockfile)))
    if kind == "yarn":
        return _yarn(repository, root, version, lockfile), tuple(facts), missing
    return Manager(kind, version, lockfile), tuple(facts), missing


def uses_bun(repository: Repository, root: str) -> bool:
    said = _said(repository, root)
    return any(repository.has(placed(root, name)) for name in ("bun.lock", "bun.lockb")) or (
        said is not None and said[0] == "bun"
    )


def _said(repository: Repository, root: str) -> tuple[str, str, str] | None:
    """What `packageManager` says, here or above: name, version, place."""
    for folder in up(root):
        path = placed(folder, "package.json")
        if match := _SAID.match(str(repository.json(path).get("packageManager") or "")):
            return match["name"], match["version"], path
    return None


def _yarn(repository: Repository, root: str, version: str, lockfile: str) -> Manager:
    text = repository.read(placed(root, lockfile))
    settings = repository.read(placed(root, ".yarnrc.yml"))
    is_berry = (version and version[0] != "1") or "__metadata:" in text or bool(settings)
    if not is_berry:
        return Manager("yarn", version or "1.22.22", lockfile)
    own = re.search(r"^yarnPath:\s*[\"']?(?:\./)?([\w./@+-]+)", settings, re.MULTILINE)
    release = own[1] if own and repository.has(placed(root, own[1])) else ""
    plugins = re.findall(r"^\s*(?:-\s+)?path:\s*[\"']?(?:\./)?([\w./@+-]+)", settings, re.MULTILINE)
    programs = tuple(path for path in (release, *plugins) if path)
    linker = re.search(r"^nodeLinker:\s*[\"']?([\w-]+)", settings, re.MULTILINE)
    form = re.search(r"__metadata:\s*\n\s*version: (\d+)", text)
    version = version or ("4" if form and int(form[1]) >= 8 else "3")
    pnp = linker is None or linker[1] == "pnp"
    return Manager("berry", version, lockfile, pnp, release, programs)


def folder_below(root: str, folder: str) -> str:
    """A folder's path from `root`, "" for itself."""
    return folder if not root else folder[len(root) + 1 :] if folder != root else ""
