"""What the front end's Dockerfiles carry inline: the projection, the installer, the revision of a tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.builds.dockerfile import parse
from tests.support.odd_tree import odd_tree, revision_of

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "kiro_invoke" / "templates"
FILES = {name: parse((ROOT / "frontend" / name).read_text()) for name in ("Dockerfile", "Dockerfile.fast")}
NODE = shutil.which("node") or ""

needs_node = pytest.mark.skipif(not NODE, reason="no node on this host")


# --- the Dockerfiles


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("Dockerfile", "tree-revision.mjs"),
        ("Dockerfile.fast", "tree-revision.mjs"),
        ("Dockerfile.fast", "install-modules.mjs"),
    ],
)
def test_templates_are_inlined_byte_for_byte(name: str, template: str) -> None:
    copies = [one for stage in FILES[name].stages for one in stage.instructions if one.heredoc]
    (found,) = [one for one in copies if one.rest.endswith(f"/{template}")]
    assert f"{found.heredoc}\n" == (TEMPLATES / template).read_text()
    assert "<<'" in found.rest  # else the engine would fill in variables


@pytest.mark.parametrize("name", FILES)
def test_the_proof_is_computed_where_the_page_is_built_and_served_by_the_image(name: str) -> None:
    final = FILES[name].stages[-1]
    labels = [one.rest for one in final.instructions if one.keyword == "LABEL"]
    assert labels[0] == "dev.kiro.proof=/usr/share/nginx/html/kiro-revision.txt"
    steps = [one for stage in FILES[name].stages for one in stage.instructions if "vision=$(" in one.rest]
    (step,) = steps
    assert step.keyword == "RUN"
    assert '"$revision" >dist/kiro-revision.txt' in step.rest
    # what was made of the tree must not count as the tree
    assert step.rest.index("tree-revision.mjs") < step.rest.index("after-install") < step.rest.index("build")
    told = [
        one.rest
        for stage in FILES[name].stages
        for one in stage.instructions
        if one.keyword in {"ARG", "ENV"}
    ]
    assert not any("revision" in text.lower() for text in told)


@pytest.mark.parametrize("name", ["nginx.conf", "nginx.dev.conf"])
def test_the_proof_is_a_file_of_its_own_even_where_every_path_shows_the_page(name: str) -> None:
    text = (ROOT / "frontend" / name).read_text()
    assert re.search(r"location = /kiro-revision\.txt \{\s+try_files \$uri =404;\s+\}", text)
    assert "no-store" in text


def test_the_kept_tree_is_the_development_images_alone_and_keyed_by_its_base() -> None:
    stages = FILES["Dockerfile.fast"].stages
    (mount,) = [
        m for s in stages for one in s.instructions for m in one.mounts if m.get("target") == "/modules"
    ]
    assert mount["id"] == "kiro-frontend-dev-linux-amd64-modules"
    assert (mount["type"], mount["from"], mount["source"]) == ("cache", "base", "/kiro/empty")
    assert "modules" not in {
        m.get("id") for s in FILES["Dockerfile"].stages for i in s.instructions for m in i.mounts
    }


@pytest.mark.parametrize("name", FILES)
def test_what_a_step_takes_from_a_stage_stands_two_folders_deep(name: str) -> None:
    """BuildKit lists the folder above: above a folder at the top, that is the whole image, a second of time."""
    file = FILES[name]
    taken = [m["source"] for s in file.stages for one in s.instructions for m in one.mounts if m.get("from")]
    copies = [one.rest for stage in file.stages for one in stage.instructions if one.keyword == "COPY"]
    taken += [match[1] for rest in copies if (match := re.match(r"--from=\S+ (\S+) ", rest))]
    assert len(taken) >= 3
    assert {path.strip("/").partition("/")[0] for path in taken} == {"kiro"}


@pytest.mark.parametrize("name", FILES)
def test_a_step_with_a_secret_stands_on_a_base_image_alone(name: str) -> None:
    """BuildKit 0.13 to 0.15 reads all that is below such a step whenever that is new (moby/buildkit#5251)."""
    file = FILES[name]
    found = [
        s for s in file.stages for one in s.instructions if any(m["type"] == "secret" for m in one.mounts)
    ]
    assert [stage.name for stage in found] == ["install"]
    (stage,) = found
    base = file.stage(stage.base)
    below = [*(base.instructions if base else ()), *stage.instructions[:-1]]
    assert {one.keyword for one in below} == {"WORKDIR"}
    assert (base or stage).base == "${NODE_IMAGE}"


# --- tree-revision.mjs


def node(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([NODE, *arguments], capture_output=True, text=True, check=False, **options)


@needs_node
def test_the_revision_is_that_of_its_definition(tmp_path: Path) -> None:
    tree = odd_tree(tmp_path)
    script = TEMPLATES / "tree-revision.mjs"
    assert node(script, tree).stdout == revision_of(tree) + "\n"
    assert (
        node(script, tree, "node_modules", "ä").stdout
        == revision_of(tree, b"node_modules", "ä".encode()) + "\n"
    )
    assert revision_of(tree) != revision_of(tree, b"node_modules")


@needs_node
def test_a_tree_that_cannot_be_read_has_no_revision(tmp_path: Path) -> None:
    done = node(TEMPLATES / "tree-revision.mjs", tmp_path / "missing")
    assert (done.returncode != 0, done.stdout) == (True, "")


# --- project-manifest.mjs (what stays and what goes: test_repository.py)

LOCK: dict[str, Any] = {"lockfileVersion": 3, "packages": {"": {}}}


@dataclass(frozen=True)
class Plan:
    files: dict[str, str]
    error: str


def plan(folder: Path, manifest: dict[str, Any], **files: str) -> Plan:
    """Project a folder with this package.json and these files; `_` in a name is a `.` at its begin."""
    (folder / "package.json").write_text(json.dumps(manifest))
    for name, text in ({"package-lock.json": json.dumps(LOCK)} | files).items():
        (folder / name).write_text(text)
    done = node(TEMPLATES / "project-manifest.mjs", folder / "plan", cwd=folder)
    made = folder / "plan"
    found = {path.name: path.read_text() for path in made.iterdir()} if made.exists() else {}
    assert (done.returncode == 0) == bool(found), done.stderr
    return Plan(found, done.stderr)


@needs_node
def test_npms_settings_and_a_shrinkwrap_are_inputs_of_an_install(tmp_path: Path) -> None:
    shrinkwrap = json.dumps(
        {**LOCK, "name": "w", "packages": {"": {}, "node_modules/a": {"version": "1.0.0"}}}
    )
    files = {"npm-shrinkwrap.json": shrinkwrap, ".npmrc": "fund=false\n"}
    found = plan(tmp_path, {}, **files).files
    assert set(found) == {"package.json", "npm-shrinkwrap.json", ".npmrc", "after-install"}
    assert found[".npmrc"] == "fund=false\n"
    assert "node_modules/a" in found["npm-shrinkwrap.json"]


@needs_node
@pytest.mark.parametrize(
    ("scripts", "called"),
    [
        ({"build": "x", "test": "y"}, ""),
        ({"postinstall": "patch-package"}, "npm run postinstall\n"),
        ({"preinstall": "a", "postinstall": "c"}, "npm run preinstall\nnpm run postinstall\n"),
        # npm calls these two around it
        ({"preinstall": "a", "install": "b", "postinstall": "c"}, "npm run install\n"),
        ({"prepare": "husky", "prepublish": "p", "preprepare": "q"}, "npm run prepublish\nnpm run prepare\n"),
    ],
)
def test_lifecycle_scripts_are_called_where_the_files_are_that_they_read(
    tmp_path: Path, scripts: dict[str, str], called: str
) -> None:
    found = plan(tmp_path, {"scripts": scripts}).files
    assert found["after-install"] == called
    manifest = json.loads(found["package.json"])
    assert "scripts" not in manifest  # else npm would run them in the install stage
    assert set(manifest["lifecycle"]) == set(scripts) - {"build", "test"}


@needs_node
@pytest.mark.parametrize(
    ("manifest", "files", "sentence"),
    [
        (
            {"workspaces": ["packages/*"]},
            {},
            "kiro: package.json: workspaces: the install stage sees no folders",
        ),
        (
            {},
            {"package-lock.json": '{"packages": {"": {}, "lib": {}}}'},
            'kiro: package-lock.json: "lib": the install',
        ),
        (
            {},
            {"package-lock.json": '{"packages": {"node_modules/x": {"resolved": "file:x.tgz"}}}'},
            'kiro: package-lock.json: "node_modules/x": the install stage sees no folders and archives',
        ),
        (
            {},
            {"package-lock.json": '{"packages": {"node_modules/x": {"resolved": "lib", "link": true}}}'},
            'kiro: package-lock.json: "node_modules/x": the install',
        ),
        ({}, {"package-lock.json": "<<<<<<< HEAD"}, "kiro: package-lock.json cannot be read: "),
        (
            {},
            {"binding.gyp": "{}"},
            "kiro: binding.gyp: npm builds an addon of it; write that into package.json: ",
        ),
    ],
)
def test_what_it_cannot_project_is_said_in_a_sentence(
    tmp_path: Path, manifest: dict[str, Any], files: dict[str, str], sentence: str
) -> None:
    found = plan(tmp_path, manifest, **files)
    assert found.error.startswith(sentence)
    assert found.error.count("\n") == 1


@needs_node
def test_a_project_without_a_lockfile_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    done = node(TEMPLATES / "project-manifest.mjs", tmp_path / "plan", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "kiro: there is no package-lock.json beside package.json: run `npm install`"
    )


# --- install-modules.mjs

#: Does what npm does for lockfiles of packages that hold a package.json and a file for each program.
#: Then runs `behaviour`, which a test may write, with `command`, `lock` and `held` in reach.
FAKE_NPM = """#!{python} -IS
import json, os, pathlib, shutil, sys
here = pathlib.Path(__file__).parent
command = sys.argv[1]
with open(here / "calls", "a") as calls: print(command, file=calls)
lock = json.load(open("package-lock.json"))["packages"]
held = {{path: entry for path, entry in lock.items() if path and entry.get("os") != ["darwin"]}}
modules = pathlib.Path("node_modules")
if command == "ci": shutil.rmtree(modules, ignore_errors=True)
modules.mkdir(exist_ok=True)
listed = modules / ".package-lock.json"
old = json.loads(listed.read_text())["packages"] if listed.exists() else {{}}
for path in old:
    if path not in held: shutil.rmtree(path)
shutil.rmtree(modules / ".bin", ignore_errors=True)
for path, entry in held.items():
    os.makedirs(path, exist_ok=True)
    if path not in old or old[path]["version"] != entry["version"]:
        pathlib.Path(path, "package.json").write_text(json.dumps(entry))
    for name, target in entry.get("bin", {{}}).items():
        pathlib.Path(path, target).write_text("#!/bin/sh\\n")
        (modules / ".bin").mkdir(exist_ok=True)
        link = modules / ".bin" / name
        if not link.is_symlink(): link.symlink_to(os.path.relpath(pathlib.Path(path, target), modules / ".bin"))
if (here / "behaviour").exists(): exec((here / "behaviour").read_text())
listed.write_text(json.dumps({{"packages": held}}))
"""


def entry(version: str, **more: Any) -> dict[str, Any]:
    return {"version": version, "integrity": f"sha512-{version}", **more}


Packages = dict[str, dict[str, Any]]
TWO: Packages = {"node_modules/a": entry("1.0.0"), "node_modules/@s/b": entry("1.0.0", bin={"b": "cli.js"})}
THREE: Packages = {**TWO, "node_modules/c": entry("1.0.0")}


class Installer:
    """The installer with the fake npm, and what is kept from run to run."""

    def __init__(self, folder: Path) -> None:
        self.plan, self.kept, self.place = (folder / name for name in ("plan", "kept", "place"))
        self.bin = folder / "bin"
        for each in (self.plan, self.kept, self.place, self.bin):
            each.mkdir()
        self.manifest: dict[str, Any] = {}
        self.env = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(folder)}
        # through a shell: the path of a `#!` line ends at its first space
        (self.bin / "npm").write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "$0.py" "$@"\n')
        (self.bin / "npm.py").write_text(FAKE_NPM.format(python=sys.executable))
        (self.bin / "npm").chmod(0o755)

    def behave(self, script: str) -> None:
        (self.bin / "behaviour").write_text(script)

    def run(self, packages: Packages) -> subprocess.CompletedProcess[str]:
        lock = {"lockfileVersion": 3, "packages": {"": {}, **packages}}
        (self.plan / "package-lock.json").write_text(json.dumps(lock))
        (self.plan / "package.json").write_text(json.dumps(self.manifest))
        (self.bin / "calls").write_text("")
        shutil.rmtree(self.place)
        self.place.mkdir()
        paths = (self.plan, self.kept, self.place)
        return node(TEMPLATES / "install-modules.mjs", *paths, env=self.env)

    def install(self, packages: Packages) -> tuple[list[str], str]:
        """Install to success: npm's commands that were called, and what the installer said."""
        done = self.run(packages)
        assert done.returncode == 0, done.stderr
        assert sorted(self.place.iterdir()) == [self.place / "node_modules"]
        return (self.bin / "calls").read_text().split(), done.stdout

    def packages(self) -> set[str]:
        found = self.place.rglob("package.json")
        return {str(path.parent.relative_to(self.place)) for path in found}


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    if not NODE:
        pytest.skip("no node on this host")
    one = Installer(tmp_path)
    calls, said = one.install(TWO)
    assert (calls, said) == (["ci"], "kiro: clean install: nothing is kept of a run that came to its end\n")
    return one


def test_what_is_kept_is_brought_up_to_date(installer: Installer) -> None:
    assert installer.install(THREE) == (["install"], "")
    assert installer.packages() == set(THREE)
    assert installer.install(TWO) == (["install"], "")
    assert installer.packages() == set(TWO)
    assert (installer.place / "node_modules/.bin/b").readlink() == Path("../@s/b/cli.js")


def test_what_is_up_to_date_is_only_copied(installer: Installer) -> None:
    assert installer.install(TWO) == ([], "")
    assert installer.packages() == set(TWO)


def test_certificates_proxies_and_own_scripts_change_no_package(installer: Installer) -> None:
    installer.manifest["lifecycle"] = {"postinstall": "patch"}
    installer.env |= {"NODE_EXTRA_CA_CERTS": "/run/secrets/ca_bundle", "https_proxy": "x", "HTTP_PROXY": "x"}
    assert installer.install(THREE)[0] == ["install"]


def nothing_is_said_of_it(installer: Installer) -> None:
    (installer.kept / "state.json").unlink()


def its_note_is_damaged(installer: Installer) -> None:
    (installer.kept / "state.json").write_text("{")


def a_file_is_edited(installer: Installer) -> None:
    path = installer.kept / "node_modules/a/package.json"
    before = path.stat()
    path.write_text(path.read_text().replace("1.0.0", "1.0.1"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def a_mode_is_edited(installer: Installer) -> None:
    (installer.kept / "node_modules/a").chmod(0o700)


def a_file_is_added(installer: Installer) -> None:
    (installer.kept / "node_modules/a/more").touch()


def the_environment_changes(installer: Installer) -> None:
    installer.env["NODE_ENV"] = "production"


def a_setting_changes(installer: Installer) -> None:
    (installer.plan / ".npmrc").write_text("registry=https://example.invalid/\n")


def a_setting_of_the_user_changes(installer: Installer) -> None:
    (installer.plan.parent / ".npmrc").write_text("fund=false\n")


def another_key_changes(installer: Installer) -> None:
    installer.manifest["overrides"] = {"a": "1.0.0"}


def npm_changes(installer: Installer) -> None:
    (installer.bin.parent / "package.json").write_text('{"version": "99.0.0"}')


CHANGED = "Node, npm, the environment or a setting changed"
DOUBTS: dict[Callable[[Installer], None], str] = {
    nothing_is_said_of_it: "nothing is kept of a run that came to its end",
    its_note_is_damaged: "Expected property name",
    a_file_is_edited: "the kept tree changed since",
    a_mode_is_edited: "the kept tree changed since",
    a_file_is_added: "the kept tree changed since",
    the_environment_changes: CHANGED,
    a_setting_changes: CHANGED,
    a_setting_of_the_user_changes: CHANGED,
    another_key_changes: CHANGED,
    npm_changes: CHANGED,
}


def test_in_doubt_npm_ci_starts_from_nothing(installer: Installer) -> None:
    for number, (doubt, sentence) in enumerate(DOUBTS.items()):
        doubt(installer)
        packages = TWO if number % 2 else THREE
        calls, said = installer.install(packages)
        assert calls == ["ci"], doubt
        assert said.startswith(f"kiro: clean install: {sentence}")
        assert said.count("\n") == 1
        assert installer.packages() == set(packages)
        assert not list(installer.place.rglob("more"))
    assert installer.install(THREE) == (["install"], "")


#: What npm does beside its duty, and what is made of that.
MISDEEDS = {
    "sys.exit(1)": "npm could not bring the kept tree up to date",
    "held['node_modules/d'] = {'version': '1'}": "node_modules/d is not in package-lock.json",
    "held['node_modules/a'] = {'version': '1'}": "node_modules/a has not the locked version",
    "del held['node_modules/a']": "node_modules/a is missing",
    "del held['node_modules/o']; shutil.rmtree(modules / 'o')": "node_modules/o was left out",
    "(modules / '.a-8f3x').mkdir()": "node_modules/.a-8f3x is no package",
    "(modules / '@s/c').mkdir()": "node_modules/@s/c is no package",
    "(modules / 'a/node_modules/z').mkdir(parents=True)": "node_modules/a/node_modules/z is no package",
    "(modules / '.bin/old').symlink_to('../a/old')": "node_modules/.bin is not what its packages say",
    "(modules / '.bin/b').unlink()": "node_modules/.bin is not what its packages say",
    "open('package-lock.json', 'a').write(' ')": "package-lock.json changed during the install",
}


def test_a_result_that_may_not_be_a_clean_ones_is_thrown_away(installer: Installer) -> None:
    for number, (misdeed, doubt) in enumerate(MISDEEDS.items()):
        installer.behave(f"if command == 'install': {misdeed}")
        packages = {**(TWO if number % 2 else THREE), "node_modules/o": entry("1.0.0", optional=True)}
        calls, said = installer.install(packages)
        assert calls == ["install", "ci"], misdeed
        assert said == f"kiro: clean install: {doubt}\n"
        assert installer.packages() == set(packages)
        assert not (installer.place / "node_modules/.a-8f3x").exists()


def test_packages_of_other_systems_are_left_out_for_good(installer: Installer) -> None:
    foreign = {"node_modules/f": entry("1.0.0", optional=True, os=["darwin"], hasInstallScript=True)}
    assert installer.install({**TWO, **foreign}) == (["install"], "")
    assert installer.packages() == set(TWO)


def test_what_a_clean_install_left_out_is_not_missed(installer: Installer) -> None:
    """npm may leave an optional package out for reasons that its lockfile does not tell."""
    installer.behave("held.pop('node_modules/o', None); shutil.rmtree(modules / 'o', ignore_errors=True)")
    packages = {**TWO, "node_modules/o": entry("1.0.0", optional=True)}
    assert installer.install(packages)[0] == ["install", "ci"]
    assert installer.install({**packages, **THREE}) == (["install"], "")


#: Packages of which one is reason enough for a clean install each time.
DOUBTFUL: dict[str, Packages] = {
    "node_modules/a runs scripts when it is installed": {
        "node_modules/a": entry("1.0.0", hasInstallScript=True)
    },
    "node_modules/a came in another package": {"node_modules/a": entry("1.0.0", inBundle=True)},
    "node_modules/a came in another package or has no checksum": {"node_modules/a": {"version": "1.0.0"}},
    "two packages in node_modules have a program same": {
        f"node_modules/{name}": entry("1.0.0", bin={"same": "cli.js"}) for name in "ab"
    },
}


@pytest.mark.parametrize("sentence", DOUBTFUL)
def test_a_project_that_never_leaves_the_doubt_is_always_installed_anew(
    installer: Installer, sentence: str
) -> None:
    packages = DOUBTFUL[sentence]
    for before in (["install"], []):
        calls, said = installer.install(packages)
        assert calls == [*before, "ci"]
        assert f"kiro: every install will be a clean one: {sentence}" in said
        assert installer.packages() == set(packages)
        assert list(installer.kept.iterdir()) == []


@pytest.mark.parametrize("by", ["file", "variable"])
def test_settings_of_unknown_effect_are_a_doubt_for_good(installer: Installer, by: str) -> None:
    if by == "file":
        (installer.plan / ".npmrc").write_text("# theirs\ninstall-strategy = nested\n")
    else:
        installer.env["npm_config_install_strategy"] = "nested"
    for _ in range(2):
        calls, said = installer.install(TWO)
        assert calls == ["ci"]
        assert "the setting install-strategy of npm may change what is installed" in said


def test_settings_that_only_say_where_packages_come_from_are_none(installer: Installer) -> None:
    lines = (
        "registry=https://a.invalid/\n@own:registry=https://b.invalid/\n//b.invalid/:_authToken=${TOKEN}\n"
    )
    (installer.plan / ".npmrc").write_text(lines)
    assert installer.install(TWO)[0] == ["ci"]
    assert installer.install(THREE) == (["install"], "")


def test_a_lockfile_that_npm_changes_fails_the_install(installer: Installer) -> None:
    installer.behave("open('package-lock.json', 'a').write(' ')")
    done = installer.run(THREE)
    assert done.returncode == 1
    assert done.stdout.endswith("kiro: package-lock.json changed during the install\n")
    assert not (installer.kept / "state.json").exists()


def test_a_failed_install_fails_with_npms_status_and_leaves_nothing(installer: Installer) -> None:
    installer.behave("sys.exit(7)")
    assert installer.run(THREE).returncode == 7
    assert list(installer.kept.iterdir()) == []
    (installer.bin / "behaviour").unlink()
    assert installer.install(THREE)[0] == ["ci"]


def test_a_run_that_is_killed_leaves_a_tree_that_nobody_trusts(installer: Installer) -> None:
    installer.behave("os.kill(os.getppid(), 9)")
    assert installer.run(THREE).returncode == -9
    (installer.bin / "behaviour").unlink()
    calls, said = installer.install(THREE)
    assert calls == ["ci"]
    assert said == "kiro: clean install: nothing is kept of a run that came to its end\n"
    assert installer.packages() == set(THREE)
