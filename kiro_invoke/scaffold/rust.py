"""Services of Rust: each package of a workspace, or alone, that has a program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from posixpath import basename
from typing import Any

from kiro_invoke.model.naming import slug
from kiro_invoke.scaffold.found import Fact, Found, Need, Passed
from kiro_invoke.scaffold.images import DEBIAN_IMAGE, RUST_IMAGE, RustImages
from kiro_invoke.scaffold.repository import Repository, line_of, matches, placed, table, up
from kiro_invoke.scaffold.rust_context import leads_out, not_known, notes
from kiro_invoke.scaffold.system_packages import locked_names, needed

_MANIFEST, _LOCK = "Cargo.toml", "Cargo.lock"
#: As rustup looks for them.
_TOOLCHAINS = ("rust-toolchain", "rust-toolchain.toml")
_NUMBER = re.compile(r"\d+\.\d+(?:\.\d+)?")
#: Since this version the official images have a variant for Debian 13.
_TRIXIE = (1, 89)
_SERVES = re.compile(r"\bbind\(|\bTcpListener\b|\bSocketAddr\b|\bHttpServer\b|\bserve\(")
_PORTS = tuple(
    re.compile(text)
    for text in (
        r"(?P<host>0\.0\.0\.0|127\.0\.0\.1|\[::1?\]|localhost):(?P<port>\d{2,5})\b",
        r"\[\s*(?P<host>\d+\s*,\s*\d+\s*,\s*\d+\s*,\s*\d+)\s*\]\s*,\s*(?P<port>\d{2,5})\b",
        r"\(\s*\"(?P<host>0\.0\.0\.0|127\.0\.0\.1|::1?)\"\s*,\s*(?P<port>\d{2,5})\s*\)",
    )
)
_FALLBACK = re.compile(r"unwrap_or(?:_else)?\((?:\|_\w*\|\s*)?\"?(?P<port>\d{4,5})\b")
_VARIABLE = re.compile(r"\bvar(?:_os)?\(\s*\"(?P<name>[A-Z][A-Z0-9_]*)\"")
_LOOPBACK = re.compile(r"127|localhost|::1")


def rust_services(repository: Repository, cargo_home: Mapping[str, str]) -> Iterator[Found | Passed]:
    """What the manifests of Cargo in a repository are. `cargo_home`: a person's own credentials, name -> path."""
    manifests = {folder: repository.toml(placed(folder, _MANIFEST)) for folder in repository.named(_MANIFEST)}
    packages = {folder: _root(folder, manifests) for folder, one in manifests.items() if "package" in one}
    served = [root for folder, root in packages.items() if _programs(repository, folder, manifests[folder])]
    for folder, root in packages.items():
        members = {each: manifests[each] for each in manifests if each == root or packages.get(each) == root}
        found = _package(
            repository, folder, root, manifests[folder], cargo_home, members, alone=served.count(root) == 1
        )
        yield found


def _root(folder: str, manifests: Mapping[str, Mapping[str, Any]]) -> str:
    """The folder of the workspace that a package belongs to: its own where it stands alone."""
    for above in up(folder):
        manifest = manifests.get(above, {})
        if "workspace" not in manifest:
            continue
        workspace = table(manifest["workspace"])
        if above == folder:
            return folder
        if not matches(folder, above, workspace.get("exclude")):
            named = matches(folder, above, workspace.get("members"))
            return above if named or "members" not in workspace else folder
    return folder


def _package(
    repository: Repository,
    folder: str,
    root: str,
    manifest: Mapping[str, Any],
    cargo_home: Mapping[str, str],
    members: Mapping[str, Mapping[str, Any]],
    *,
    alone: bool,
) -> Found | Passed:
    """`members`: the manifests that are built from `root`; `alone`: it has the only program of them."""
    path = placed(folder, _MANIFEST)
    package = table(manifest["package"])
    name = str(package.get("name") or basename(folder))
    programs = _programs(repository, folder, manifest)
    if not programs:
        return Passed(path, "a library: it has no program (no src/main.rs, no [[bin]])")
    if not all(re.fullmatch(r"[\w-]+", one) for one in (name, *programs)):
        return Passed(path, "a package or program has a name that cargo does not take")
    if unknown := not_known(repository, root):
        return Passed(path, unknown)
    if outside := leads_out(members, root):
        return Passed(
            path, f"it depends on {outside}, outside of what its build is sent: have a workspace hold both"
        )
    default = str(package.get("default-run") or "")
    binary = default if default in programs else name if name in programs else programs[0]
    facts = [Fact(f"program {binary}", path)]
    others = [each for each in programs if each != binary]
    if others:
        facts.append(Fact(f"not served: {', '.join(others)} (default-run in the manifest says which is)"))
    image, release, toolchain, adds, said = _compiler(repository, root)
    wanted = _wanted(repository, root)
    facts.append(said)
    lock = placed(root, _LOCK)
    crates = locked_names(repository.read(lock)) if repository.has(lock) else frozenset[str]()
    if not crates:
        crates = frozenset(_dependencies(manifest))
    systems = needed(crates, release)
    facts += [Fact(f"{' '.join(one.build + one.run)} for {one.because}", lock) for one in systems]
    port, env, listening, warnings = _listening(repository, folder, crates)
    facts += listening
    needs = _needs(repository, root, cargo_home)
    warnings += notes(repository, folder, root)
    facts += [Fact(f"secret {one.id}", one.file or one.env) for one in needs]
    service = slug((basename(root) or name) if alone else name, "app")
    images = RustImages(
        mounts=f"{slug(repository.name, 'project')}-{slug(basename(root) or name, 'app')}",
        package=name,
        binary=binary,
        rust_image=image,
        debian_image=DEBIAN_IMAGE if release >= 13 else "debian:12-slim",
        system_packages=_distinct(one.build for one in systems),
        runtime_packages=_distinct(one.run for one in systems),
        env=env,
        port=port,
        toolchain=toolchain,
        toolchain_adds=adds,
        channel=wanted.channel if wanted and wanted.where.startswith(placed(root, "")) else "",
        cargo_credentials=bool(needs),
    )
    return Found(
        service, root, root if alone else folder, "cargo", images, tuple(facts), port, needs=needs,
        lockfile="" if repository.has(lock) else lock, ignore=("**/target", "**/.cargo/credentials*"),
        warnings=warnings,
    )  # fmt: skip


def _programs(repository: Repository, folder: str, manifest: Mapping[str, Any]) -> list[str]:
    name = str(table(manifest["package"]).get("name") or basename(folder))
    said = manifest.get("bin")
    found = [str(one["name"]) for one in said if "name" in one] if isinstance(said, list) else []
    if table(manifest["package"]).get("autobins", True):
        if repository.has(placed(folder, "src/main.rs")) and not _is_said(said, "src/main.rs"):
            found.append(name)
        for path in repository.below(placed(folder, "src/bin"), ".rs"):
            own = path[len(placed(folder, "src/bin/")) :]
            if not _is_said(said, f"src/bin/{own}"):
                match own.split("/"):
                    case [file]:
                        found.append(file.removesuffix(".rs"))
                    case [one, "main.rs"]:
                        found.append(one)
    optional = (
        {str(table(one).get("name")) for one in said if _is_optional(one, manifest)}
        if isinstance(said, list)
        else set()
    )
    return [name for name in dict.fromkeys(found) if name not in optional]


def _is_optional(program: object, manifest: Mapping[str, Any]) -> bool:
    """Whether a program is built with features only that nobody asks for."""
    features = table(manifest.get("features"))
    given, queue = set[str](), ["default"]
    for name in queue:
        more = features.get(name)
        given.add(name)
        queue += [str(one) for one in more if str(one) not in queue] if isinstance(more, list) else []
    wanted = table(program).get("required-features")
    return isinstance(wanted, list) and not given.issuperset(map(str, wanted))


def _is_said(said: object, path: str) -> bool:
    return isinstance(said, list) and any(table(one).get("path") == path for one in said)


def _dependencies(manifest: Mapping[str, Any]) -> Iterator[str]:
    for key in ("dependencies", "build-dependencies"):
        yield from table(manifest.get(key))


@dataclass(frozen=True)
class _Wanted:
    channel: str
    where: str
    components: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def _compiler(repository: Repository, root: str) -> tuple[str, int, str, tuple[str, ...], Fact]:
    """The image, Debian's release in it, rustup's toolchain, what it adds, and why."""
    wanted = _wanted(repository, root)
    if wanted is None:
        return RUST_IMAGE, 13, "", (), Fact(f"{RUST_IMAGE}, for no rust-toolchain file says otherwise")
    adds = [f"rustup component add {name}" for name in wanted.components]
    adds += [f"rustup target add {name}" for name in wanted.targets]
    if _NUMBER.fullmatch(wanted.channel):
        new = tuple(map(int, wanted.channel.split(".")[:2])) >= _TRIXIE
        image = f"rust:{wanted.channel}-slim-{'trixie' if new else 'bookworm'}"
        toolchain, release = "${RUST_VERSION:-}", 13 if new else 12
    elif wanted.channel == "stable":
        image, toolchain, release = RUST_IMAGE, "${RUST_VERSION:-}", 13
    else:
        image, toolchain, release = RUST_IMAGE, wanted.channel, 13
        adds.insert(0, f"rustup toolchain install {wanted.channel} --profile minimal")
    fact = Fact(f"{image}, for channel {wanted.channel}", wanted.where)
    return image, release, toolchain, tuple(adds), fact


def _wanted(repository: Repository, root: str) -> _Wanted | None:
    for folder in up(root):
        for name in _TOOLCHAINS:
            path = placed(folder, name)
            if not repository.has(path):
                continue
            text = repository.read(path)
            said = table(repository.toml(path).get("toolchain"))
            channel = str(said.get("channel") or "") if "[" in text else text.strip()
            if re.fullmatch(r"[\w.-]+", channel):
                words = [
                    tuple(str(one) for one in said.get(key, ()) if re.fullmatch(r"[\w-]+", str(one)))
                    for key in ("components", "targets")
                ]
                return _Wanted(channel, path, *words)
    return None


def _listening(
    repository: Repository, folder: str, crates: frozenset[str]
) -> tuple[int, tuple[str, ...], list[Fact], tuple[str, ...]]:
    """The port that a program listens on, variables that have it reachable, what says so, and what is to be known."""
    texts = [(path, repository.read(path)) for path in repository.below(placed(folder, "src"), ".rs")]
    names = {match["name"]: f"{path}:{line_of(text, match.start())}" for path, text in texts for match in _VARIABLE.finditer(text)}  # fmt: skip  # noqa: E501
    port, host, where = _port([(path, text) for path, text in texts if _SERVES.search(text)])
    env: list[str] = []
    facts: list[Fact] = []
    if "rocket" in crates:
        port, host, where = port or 8000, "", where or "Rocket's own"
        env += ["ROCKET_ADDRESS=0.0.0.0", f"ROCKET_PORT={port}"]
    if "PORT" in names:
        port, where = port or 8080, where or names["PORT"]
        env.append(f"PORT={port}")
        facts.append(Fact(f"variable PORT={port}", names["PORT"]))
    if "HOST" in names:
        env.append("HOST=0.0.0.0")
        facts.append(Fact("variable HOST=0.0.0.0", names["HOST"]))
    if not port:
        return 0, tuple(env), [*facts, Fact("no port: nothing in src listens on one")], ()
    facts.append(Fact(f"port {port}", where))
    is_hidden = bool(host) and _LOOPBACK.search(host.replace(" ", "")) is not None and "HOST" not in names
    warning = f"{where}: it listens on {host}:{port}, which nobody reaches in a container: listen on 0.0.0.0"
    return port, tuple(env), facts, (warning,) if is_hidden else ()


def _port(texts: list[tuple[str, str]]) -> tuple[int, str, str]:
    for patterns in (_PORTS, (_FALLBACK,)):
        for path, text in texts:
            for pattern in patterns:
                for match in pattern.finditer(text):
                    port = int(match["port"])
                    if 0 < port < 65536:
                        host = match.groupdict().get("host") or ""
                        return port, host, f"{path}:{line_of(text, match.start())}"
    return 0, "", ""


def _needs(repository: Repository, root: str, cargo_home: Mapping[str, str]) -> tuple[Need, ...]:
    """Credentials, where the project's own configuration names a registry that wants them."""
    for folder in up(root):
        for name in (".cargo/config.toml", ".cargo/config"):
            if table(repository.toml(placed(folder, name)).get("registries")) and cargo_home:
                return (Need("cargo_credentials", file=next(iter(cargo_home.values()))),)
    return ()


def _distinct(parts: Iterator[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part))
