"""What in a Dockerfile defeats the cache: each with its line, and what to write instead. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kiro_invoke.builds.dockerfile import Instruction, Stage, words_of
from kiro_invoke.doctor.finding import Finding, note, problem
from kiro_invoke.doctor.steps import (
    CARGO_BUILD,
    CHEF_COOK,
    FRONT_BUILD,
    File,
    Step,
    cache_mounts,
    history,
    installs,
    is_expensive,
    node_install,
    system_install,
    takes_all,
)

COPY_FIRST, TARGET, LOST, PRODUCTION = (
    "copy-before-install",
    "target-mount",
    "target-mount",
    "production-install",
)
APT, ARGUMENT = "apt-mount", "changing-argument"

#: Arguments that have another value at each build.
_CHANGING = re.compile(
    r"(?:\w+_)?(?:(?:BUILD|COMPILE|RELEASE)_?(?:DATE|TIME|TIMESTAMP|NUMBER|NUM|ID)|TIMESTAMP|DATE|EPOCH|SOURCE_DATE_EPOCH"
    r"|(?:GIT_?|VCS_?|CI_)?(?:COMMIT|SHA|SHORT_SHA|REVISION|REF|REV|HASH|DESCRIBE)(?:_SHA|_HASH|_ID|_REF|_TIME)?"
    r"|GIT_(?:BRANCH|TAG)|CACHE_?(?:BUST|BUSTER|BREAKER)|CACHEBUST)",
    re.IGNORECASE,
)
_VERSION = re.compile(r"(?:APP_|BUILD_|PROJECT_|RELEASE_|PACKAGE_|SERVICE_)?VERSION", re.IGNORECASE)
_PRODUCTION = re.compile(
    r"--(?:only|omit)[= ](?:prod(?:uction)?|dev)\b|--production\b(?!=false)|--prod\b|\s-P\b"
)
_ALL = re.compile(r"--include[= ]dev\b|--production=false\b")
_TAKEN_OUT = re.compile(
    r"(?:^|[\s;&|(])(?:cp|mv|install|rsync|ln|tar|dd|objcopy|strip\s[^;&|\n]*-o)\s|--(?:artifact-dir|out-dir|root)\b|-Zunstable-options"
)
_APT = ("/var/cache/apt", "/var/lib/apt")
_CARGO = "cargo build"


def check_dockerfile(file: File) -> tuple[Finding, ...]:
    """All that this module finds in one Dockerfile, in the order of its lines."""
    checks = (copy_before_install, target_mounts, production_installs, apt_without_mount, changing_arguments)
    found = {finding for stage in file.parsed.stages for check in checks for finding in check(file, stage)}
    return tuple(sorted(found, key=lambda finding: (finding.line, finding.check)))


def copy_before_install(file: File, stage: Stage) -> Iterator[Finding]:
    """An install that runs again after each edit, since the whole context was copied before it."""
    whole: Instruction | None = None
    cargo_cached = False
    for step in history(file, stage):
        here, text = step.instruction, step.text
        if takes_all(here):
            whole = whole or here
        if whole and step.own and (what := _reinstalls(step, cargo_cached=cargo_cached)):
            place = "in the same step" if whole is here else f"in line {whole.line}"
            yield problem(
                COPY_FIRST,
                f"{_again(what)} after each edit: the whole context is taken {place}, before it",
                _copy_cure(what, whole),
                file=file.place,
                line=here.line,
            )
        cargo_cached = cargo_cached or bool(CHEF_COOK.search(text) or CARGO_BUILD.search(text))


def _reinstalls(step: Step, *, cargo_cached: bool) -> str:
    """What a step installs or compiles that sources have no part in; "" for nothing."""
    if what := installs(step.text):
        return what
    in_mount = any(_is_target(target) for target, _ in cache_mounts(step.instruction))
    return _CARGO if CARGO_BUILD.search(step.text) and not cargo_cached and not in_mount else ""


def _again(what: str) -> str:
    return "cargo compiles all dependencies again" if what == _CARGO else f"`{what}` runs again"


def _copy_cure(what: str, whole: Instruction) -> str:
    if what == _CARGO:
        return "cook the dependencies in a stage before it with cargo-chef (docs/fast-dockerfiles.md)"
    tool = what.split(maxsplit=1)[0]
    if tool in {"apt-get", "apt", "apk", "dnf", "yum", "microdnf", "zypper"}:
        return f"move it before line {whole.line}: system packages do not depend on the sources"
    manifests = _MANIFESTS.get(tool, "its manifest and lockfile")
    return f"copy {manifests} first, install, and take the rest (line {whole.line}) after that"


_MANIFESTS = {
    "npm": "package.json and package-lock.json",
    "pnpm": "package.json and pnpm-lock.yaml",
    "yarn": "package.json and yarn.lock",
    "bun": "package.json and bun.lock",
    "pip": "requirements.txt",
    "pip3": "requirements.txt",
    "poetry": "pyproject.toml and poetry.lock",
    "uv": "pyproject.toml and uv.lock",
    "go": "go.mod and go.sum",
    "bundle": "Gemfile and Gemfile.lock",
    "composer": "composer.json and composer.lock",
    "mvn": "pom.xml",
}


def target_mounts(file: File, stage: Stage) -> Iterator[Finding]:
    """A cache mount on cargo's target that hides what was cooked, or that keeps the program from the image."""
    cooked: Step | None = None
    for step in history(file, stage):
        mounts = [(target, mount) for target, mount in cache_mounts(step.instruction) if _is_target(target)]
        if step.own and mounts and CARGO_BUILD.search(step.text):
            target, mount = mounts[0]
            if (
                cooked
                and not mount.get("from")
                and not _same_mount(cooked, target)
                and not _seeds(step.text, target)
            ):
                yield problem(
                    TARGET,
                    f"the empty cache mount on {target} hides what line {cooked.instruction.line} cooked: all"
                    " dependencies are compiled again",
                    "seed the mount from the stage that cooked them: `from=<stage>,source=<its target>`",
                    file=file.place,
                    line=step.instruction.line,
                )
            if not _TAKEN_OUT.search(step.text):
                yield problem(
                    TARGET,
                    f"the program stays in the cache mount on {target}, which is no part of the image",
                    "copy it out in the same RUN: `&& cp target/release/<program> /out/`",
                    file=file.place,
                    line=step.instruction.line,
                )
        if CHEF_COOK.search(step.text):
            cooked = step


def _is_target(path: str) -> bool:
    return path == "target" or path.endswith("/target")


def _same_mount(cooked: Step, target: str) -> bool:
    return target in {place for place, _ in cache_mounts(cooked.instruction)}


def _seeds(text: str, target: str) -> bool:
    """Whether a step fills the mount itself before cargo runs."""
    before = text[: match.start()] if (match := CARGO_BUILD.search(text)) else ""
    return "--cooked" in before or bool(re.search(rf"\b(?:cp|rsync)\b[^;&|\n]*{re.escape(target)}", before))


def production_installs(file: File, stage: Stage) -> Iterator[Finding]:
    """An install without the development dependencies, before a build that needs them."""
    only: Step | None = None
    production = False
    for step in history(file, stage):
        if step.instruction.keyword in {"ENV", "ARG"}:
            production = _node_env(step.instruction, before=production)
        text = step.text
        match = node_install(text)
        if match is not None:
            line = match["rest"]
            asked = bool(_PRODUCTION.search(f" {line}")) or production or "NODE_ENV=production" in match[0]
            only = step if asked and not _ALL.search(line) else None
        build = FRONT_BUILD.search(text, match.end() if match is not None else 0)
        if only is not None and build and step.own:
            yield problem(
                PRODUCTION,
                f"the build in line {step.instruction.line} lacks its development dependencies: "
                "this install leaves them out",
                "install all of them for the build, and only the production ones in a stage that runs the result",
                file=file.place,
                line=only.instruction.line,
            )
            return


def _node_env(instruction: Instruction, *, before: bool) -> bool:
    match = re.search(r"\bNODE_ENV[= ][\"']?(\w*)", instruction.rest)
    return match[1] == "production" if match else before


def apt_without_mount(file: File, stage: Stage) -> Iterator[Finding]:
    """An install with apt that downloads everything again whenever its step runs."""
    keeps = False
    for step in history(file, stage):
        text = step.text
        keeps = keeps or "docker-clean" in text or "Keep-Downloaded-Packages" in text
        if not step.own or not system_install(text).startswith("apt"):
            continue
        mounts = {target for target, _ in cache_mounts(step.instruction)}
        on_packages = any(target == _APT[0] or target == f"{_APT[0]}/archives" for target in mounts)
        if not on_packages:
            yield problem(
                APT,
                f"`{system_install(text)}` has no cache mount: each run downloads everything again",
                f"add `--mount=type=cache,target={_APT[0]},sharing=locked` and the same for {_APT[1]}, and in that RUN "
                "`rm -f /etc/apt/apt.conf.d/docker-clean`, first",
                file=file.place,
                line=step.instruction.line,
            )
        elif not keeps:
            yield note(
                APT,
                f"the cache mount on {_APT[0]} stays empty: Debian's images clean it after each install",
                "begin the RUN with `rm -f /etc/apt/apt.conf.d/docker-clean`",
                file=file.place,
                line=step.instruction.line,
            )


def changing_arguments(file: File, stage: Stage) -> Iterator[Finding]:
    """An ARG with another value at each build, before a step of its stage that installs or compiles without it."""
    declared: dict[str, int] = {}
    for instruction in stage.instructions:
        if instruction.keyword == "ARG":
            for word in words_of(instruction.rest):
                name, equals, _ = word.partition("=")
                if _CHANGING.fullmatch(name) or (_VERSION.fullmatch(name) and not equals):
                    declared.setdefault(name, instruction.line)
        text = Step(instruction, own=True).text
        if text and is_expensive(text):
            for name, line in tuple(declared.items()):
                if re.search(rf"\b{name}\b", text):
                    continue
                del declared[name]
                yield problem(
                    ARGUMENT,
                    f"each new value of {name} makes line {instruction.line} run again, which does not use it",
                    f"declare it after line {instruction.line}, just before what uses it",
                    file=file.place,
                    line=line,
                )
