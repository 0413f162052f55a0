"""What a Dockerfile stands on: bases that float, a frontend that is asked for, tools that do not fit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kiro_invoke.builds.dockerfile import expand
from kiro_invoke.doctor.finding import Finding, note, problem
from kiro_invoke.doctor.steps import File, command

FLOATING, SYNTAX, CHEF, TOOLCHAIN = "floating-base", "syntax-line", "cargo-chef", "toolchain"

#: Releases that stand in a tag by name instead of number; such a tag moves within its release only.
_RELEASES = re.compile(
    r"(?:buster|bullseye|bookworm|trixie|forky|sid|bionic|focal|jammy|noble|plucky|questing|resolute)(?![a-z])"
)
_NAMED = frozenset({"debian", "ubuntu", "buildpack-deps"})
_CHEF = re.compile(r"\bcargo\s+install\s[^;&|\n]*?\bcargo-chef(?:@(?P<at>[\d.]+))?(?P<rest>[^;&|\n]*)")
_CHEF_VERSION = re.compile(r"--(?:version|vers)[= ]['\"]?[=~^]?(\d+(?:\.\d+)*)")
#: cargo-chef's first version whose locked dependencies want a newer Rust than RUST_FOR_IT.
CHEF_NEEDS, RUST_FOR_IT = (0, 1, 76), (1, 88)
_NUMBER = re.compile(r"\d+(?:\.\d+)*")


def check_bases(file: File) -> tuple[Finding, ...]:
    """All that this module finds in one Dockerfile by itself."""
    return tuple(
        sorted({*floating(file), *syntax_line(file), *unpinned_chef(file)}, key=lambda one: one.line)
    )


def outside(file: File) -> Iterator[tuple[str, int]]:
    """Each image from outside that is taken from, as written there and filled in, with the line that names it."""
    known = dict(file.parsed.base_lines(file.build_args))
    values = {name: value for name, value in file.parsed.arguments.items() if value is not None} | dict(
        file.build_args
    )
    values = {name: expand(value, values) for name, value in values.items()}
    for stage in file.parsed.stages:
        named = [
            (stage.base, stage.line),
            *((source, one.line) for one in stage.instructions for source in one.sources),
        ]
        for source, line in named:
            if (ref := expand(source, values)) in known:
                yield ref, line


def floating(file: File) -> Iterator[Finding]:
    """Base images whose tag moves from one version to the next by itself."""
    for ref, line in dict.fromkeys(outside(file)):
        name, tag = _name_and_tag(ref)
        if "@" in ref or _is_fixed(name, tag):
            continue
        what = f"its tag `{tag}` names no version" if tag else "without a tag it is `latest`"
        yield problem(
            FLOATING,
            f"base image {ref} floats: {what}, and the day it moves everything is built again",
            f"name a version: `{name}:<version>`",
            file=file.place,
            line=line,
        )


def syntax_line(file: File) -> Iterator[Finding]:
    """A `# syntax=` line: the frontend is looked up in its registry at each build."""
    ref = file.parsed.directives.get("syntax", "")
    if ref and "@sha256:" not in ref:
        yield problem(
            SYNTAX,
            f"`# syntax={ref}` asks a registry at each build, and fails without one",
            "take the line out: the engine's own frontend speaks all that Dockerfiles commonly need",
            file=file.place,
            line=[*file.parsed.directives].index("syntax") + 1,
        )


def unpinned_chef(file: File) -> Iterator[Finding]:
    """cargo-chef as it is at the moment: another one may not fit the toolchain, or cook differently."""
    for version, line in chef_versions(file):
        if not version:
            yield problem(
                CHEF,
                "cargo-chef is installed without a version: a new one cooks everything again, or does not install",
                "pin it: `cargo install cargo-chef --version 0.1.75 --locked`",
                file=file.place,
                line=line,
            )


def chef_versions(file: File) -> Iterator[tuple[tuple[int, ...], int]]:
    """The versions of cargo-chef that are installed, () where none is named, with their lines."""
    for stage in file.parsed.stages:
        for instruction in stage.instructions:
            if match := _CHEF.search(command(instruction)):
                named = _CHEF_VERSION.search(match[0])
                yield numbers(match["at"] or (named[1] if named else "")), instruction.line


def chef_fits(file: File, rust: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the cargo-chef that is installed can be, on the Rust there is. `rust`: what base images really hold."""
    bases = [numbers(rust.get(ref, _name_and_tag(ref)[1])) for ref, _ in outside(file) if is_of(ref, "rust")]
    for version, line in chef_versions(file):
        too_old = [base for base in bases if len(base) > 1 and base[:2] < RUST_FOR_IT]
        if version >= CHEF_NEEDS and too_old:
            shown = ".".join(map(str, too_old[0][:2]))
            yield problem(
                CHEF,
                f"cargo-chef {'.'.join(map(str, version))} does not install on Rust {shown}",
                "pin 0.1.75, the last one that does, or take Rust 1.88 or newer",
                file=file.place,
                line=line,
            )


def toolchain_fits(file: File, channel: str, where: str) -> Iterator[Finding]:
    """Whether the toolchain that a rust-toolchain file names is the one of the base image.

    `channel` as the file has it, `where` the file's place. rustup downloads another one in each layer that calls cargo.
    """
    wanted = numbers(channel)
    for ref, line in dict.fromkeys(outside(file)):
        have = numbers(_name_and_tag(ref)[1])
        if not is_of(ref, "rust") or not have:
            continue
        if not wanted:
            if channel:
                yield note(
                    TOOLCHAIN,
                    f"{where} names the channel `{channel}`, which may be another one than that of {ref}: rustup then"
                    " downloads it within the build",
                    f'name the base image\'s version there: `channel = "{".".join(map(str, have))}"`',
                    file=file.place,
                    line=line,
                )
        elif not _agree(wanted, have):
            yield problem(
                TOOLCHAIN,
                f"{ref} is not what {where} names ({channel}): rustup downloads that one within the build",
                "name the same version in both",
                file=file.place,
                line=line,
            )


def node_fits(file: File, wanted: str, where: str) -> Iterator[Finding]:
    """Whether the Node of the base images is one that .nvmrc or `engines` names. `wanted` as it stands there."""
    for ref, line in dict.fromkeys(outside(file)):
        have = numbers(_name_and_tag(ref)[1])
        if is_of(ref, "node") and have and not satisfies(have, wanted):
            yield problem(
                TOOLCHAIN,
                f"{ref} is not the Node that {where} asks for ({wanted})",
                "name the same version in both",
                file=file.place,
                line=line,
            )


def satisfies(have: tuple[int, ...], wanted: str) -> bool:
    """Whether a version, perhaps of few parts, can be in a range of npm's; what is not understood is taken to agree."""
    return any(all(_meets(have, one) for one in _comparators(part)) for part in wanted.split("||"))


def _comparators(part: str) -> list[str]:
    if " - " in part:
        low, _, high = part.partition(" - ")
        return [f">={low.strip()}", f"<={high.strip()}"]
    return re.findall(r"(?:[<>]=?|[=^~v])?\s*v?[\dxX*][\w.*-]*", part) or []


def _meets(have: tuple[int, ...], comparator: str) -> bool:
    match = re.match(r"([<>]=?|[=^~])?\s*v?(.*)", comparator)
    version = numbers(match[2]) if match else ()
    if match is None or not version or not match[2][:1].isdigit():
        return True
    size = min(len(have), len(version))
    if match[1] == ">=":
        return have[:size] >= version[:size]
    if match[1] == ">":
        return have[:size] >= version[:size] and (len(have) <= len(version) or have > version)
    if match[1] == "<=":
        return have[:size] <= version[:size]
    if match[1] == "<":
        return have < version if size == len(version) else have[:size] <= version[:size]
    if match[1] == "^":
        return have[0] == version[0] and have[:size] >= version[:size]
    if match[1] == "~":
        return _agree(version[:2], have[:2]) and have[:size] >= version[:size]
    return _agree(version, have)


def is_of(ref: str, name: str) -> bool:
    """Whether an image is the official one of that name, whatever its registry or mirror."""
    return _name_and_tag(ref)[0].rpartition("/")[2] == name


def numbers(text: str) -> tuple[int, ...]:
    """The first version in a text: "1.95-slim-trixie" -> (1, 95); () for none."""
    match = _NUMBER.search(text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _agree(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    size = min(len(one), len(other))
    return one[:size] == other[:size]


def _name_and_tag(ref: str) -> tuple[str, str]:
    name, colon, tag = ref.partition("@")[0].rpartition(":")
    return (name, tag) if colon and "/" not in tag else (ref.partition("@")[0], "")


def _is_fixed(name: str, tag: str) -> bool:
    """Whether a tag stays with a version: it has its number first of all, or an operating system's release by name."""
    if name.rpartition("/")[2] in _NAMED:
        return bool(_RELEASES.search(tag) or _NUMBER.match(tag))
    bare = re.sub(r"(?:debian|alpine|ubuntu|bookworm|ubi)-?\d[\d.]*", "", tag)
    return bool(_NUMBER.search(bare))
