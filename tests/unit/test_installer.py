"""Setting up an engine on a machine that is only pretended, interrupted at every step, and taking it back."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.engine import installer, ownership
from kiro_invoke.engine.installed import Installed, read_state
from kiro_invoke.engine.installer import host_facts, install, installed_packages
from kiro_invoke.engine.protocol import Completed, Run
from kiro_invoke.engine.removal import check, remove, to_remove
from kiro_invoke.engine.setup import NewFile, Person, SetupPlan
from kiro_invoke.model.errors import EngineError, ExitCode, KiroError
from tests.unit.fakes import FakeRun

NUKE = "/var/lib/docker/nuke-graph-directory.sh"


class Machine:
    """A Debian in memory, but for its files, which lie in a test's folder. A Run.

    `packages` maps a name to dpkg's state (`ii`, `rc`, `iU`, `hi`). `needs` tells what a package depends on.
    `trouble`, when set, is called before every command and may raise, or give the command's end.
    """

    def __init__(self) -> None:
        self.packages = {"bash": "ii", "curl": "ii", "vim": "rc"}
        self.needs = {"docker.io": ("containerd", "iptables"), "containerd": ("runc",)}
        self.conflicts: dict[str, str] = {}
        self.groups = {"root", "users"}
        self.members: set[str] = set()
        self.images_and_volumes = True
        self.nuke = False
        self.broken = False
        self.calls: list[tuple[str, ...]] = []
        self.trouble: Callable[[tuple[str, ...]], Completed | None] = lambda _argv: None

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Completed:
        self.calls.append(tuple(argv))
        words = [*argv]
        if words[:2] == ["sudo", "-n"]:
            words = words[2:]
        if words[0] == "env":
            words = [word for word in words[1:] if "=" not in word or word.startswith("DPkg")]
        return self.trouble(tuple(words)) or self._do(words[0], words[1:], tuple(argv))

    def _do(self, program: str, rest: list[str], argv: tuple[str, ...]) -> Completed:  # noqa: C901
        out, status = "", 0
        match program:
            case "dpkg-query":
                out = "".join(f"{name}:amd64 {state} \n" for name, state in self.packages.items())
            case "getent":
                out = "".join(f"{name}:x:1:{self._members(name)}\n" for name in sorted(self.groups))
            case "install":
                Path(rest[-1]).parent.mkdir(parents=True, exist_ok=True)
                Path(rest[-1]).write_bytes(Path(rest[-2]).read_bytes())
            case "mv":
                Path(rest[-2]).replace(rest[-1])
            case "rm":
                self.nuke &= NUKE not in rest
                for path in rest[rest.index("--") + 1 :]:
                    Path(path).unlink(missing_ok=True)
            case "rmdir":
                Path(rest[-1]).rmdir()
            case "usermod":
                assert "docker" in self.groups
                self.members.add(rest[-1])
            case "gpasswd":
                self.members.remove(rest[1])
            case "groupdel":
                self.groups.remove(rest[0])
            case "dpkg":
                assert rest == ["--configure", "-a"]
                self.packages = {n: s.replace("iU", "ii") for n, s in self.packages.items()}
            case "apt-get":
                out, status = self._apt(rest[3:])
            case "sync":
                assert Path(rest[-1]).exists()
            case _:
                raise AssertionError(argv)
        return Completed(argv, status, out, "")

    def _apt(self, words: list[str]) -> tuple[str, int]:
        simulated = words[0] == "--simulate"
        verb, *rest = words[simulated:]
        names = [word.partition("/")[0] for word in rest if not word.startswith("-")]
        if any(state == "iU" for state in self.packages.values()) and verb != "update":
            return "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'\n", 100
        if verb == "install":
            wanted_all = [one for wanted in names for one in (wanted, *self.closure(wanted))]
            if gone := [self.conflicts[name] for name in wanted_all if name in self.conflicts]:
                assert "--no-remove" in rest
                listed = f"The following packages will be REMOVED:\n  {' '.join(gone)}\n0 upgraded\n"
                return f"{listed}E: Packages need to be removed but remove is disabled.\n", 100
            if simulated:
                upgrade = "Inst bash [5.1] (5.2 Debian)\n"
                return upgrade + "".join(f"Inst {name} (1.0 Debian)\n" for name in wanted_all), 0
            for name in wanted_all:
                self.unpack(name)
                self.packages[name] = "ii"
        elif verb in {"remove", "purge"}:
            return self._remove(names, verb, simulated=simulated)
        return "", 0

    def unpack(self, name: str) -> None:
        self.packages.setdefault(name, "iU")
        if name == "docker.io":
            self.groups.add("docker")

    def _members(self, group: str) -> str:
        return ",".join(sorted(self.members)) if group == "docker" else ""

    def closure(self, name: str) -> list[str]:
        return [one for need in self.needs.get(name, ()) for one in (need, *self.closure(need))]

    def _remove(self, names: list[str], verb: str, *, simulated: bool) -> tuple[str, int]:
        gone = {name for name in self.packages if {name, *self.closure(name)} & {*names}}
        if simulated:
            return "".join(f"Purg {name}:amd64 [1.0]\n" for name in sorted(gone)), 0
        for name in gone:
            if self.packages[name] == "ii" and name == "docker.io":
                self.nuke = True
            self.packages[name] = "rc"
            if verb == "purge":
                if name == "docker.io" and self.nuke:
                    self.images_and_volumes = False
                del self.packages[name]
        return "", 0


def undo(added: Installed, run: Run, *, state: Path) -> tuple[str, ...]:
    """All of an undo, as `kiro setup --undo` does it. Returns what was told beforehand."""
    removal = to_remove(added, run)
    check(added, removal, run)
    remove(added, removal, run, state=state)
    return removal.lines()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(ownership, "FOLDERS", ())  # the real machine's engine is none of ours
    return Machine()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "var" / "setup.json"


@pytest.fixture
def plan(tmp_path: Path) -> SetupPlan:
    return SetupPlan(
        packages=("docker.io/trixie", "docker-cli/trixie", "debootstrap"),
        files=(
            NewFile(str(tmp_path / "etc" / "kiro.sources"), "Types: deb\n"),
            NewFile(str(tmp_path / "etc" / "kiro.pin"), "Pin-Priority: 50\n"),
        ),
        needs_sudo=False,
        systemd=False,
        why="test",
    )


ADDED = ("containerd", "debootstrap", "docker-cli", "docker.io", "iptables", "runc")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def apt_calls(machine: Machine) -> list[tuple[str, ...]]:
    return [call[call.index("apt-get") + 4 :] for call in machine.calls if "apt-get" in call]


def has_nothing_of_ours(machine: Machine, folder: Path) -> bool:
    return (
        machine.packages == Machine().packages and machine.groups == {"root", "users"} and not files(folder)
    )


# -- install and undo ---------------------------------------------------------------------------------


def test_install_notes_what_it_added(machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path) -> None:
    added = install(plan, machine, state=state)
    assert added == Installed(
        packages=ADDED, files=tuple(file.path for file in plan.files), groups=("docker",), complete=True
    )
    assert read_state(state) == added
    assert files(tmp_path) == {"var/setup.json", "etc/kiro.sources", "etc/kiro.pin"}
    assert [Path(file.path).read_text() for file in plan.files] == [file.text for file in plan.files]
    wanted = ("install", "-y", "--no-install-recommends", "--no-remove", *plan.packages)
    assert apt_calls(machine) == [("update",), ("--simulate", *wanted), wanted]


def test_undo_takes_exactly_that_back(machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path) -> None:
    removed = undo(install(plan, machine, state=state), machine, state=state)
    assert has_nothing_of_ours(machine, tmp_path)
    assert not state.parent.exists()
    assert removed == (
        *(f"package {name}" for name in ADDED),
        "group docker",
        *(f"file {file.path}" for file in plan.files),
    )


def test_undo_keeps_images_and_volumes(machine: Machine, plan: SetupPlan, state: Path) -> None:
    """Debian's docker.io deletes /var/lib/docker when it is purged, unless the script for that is gone."""
    undo(install(plan, machine, state=state), machine, state=state)
    assert machine.images_and_volumes
    assert not machine.nuke


def test_undo_keeps_what_was_there_before(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path
) -> None:
    machine.packages |= {"iptables": "ii", "runc": "hi", "debootstrap": "iF"}
    machine.groups.add("docker")
    added = install(plan, machine, state=state)
    assert added.packages == ("containerd", "docker-cli", "docker.io")
    assert added.groups == ()
    undo(added, machine, state=state)
    assert {"iptables", "runc", "debootstrap"} <= {*machine.packages}
    assert "docker" in machine.groups


def test_undo_does_not_drag_away_what_came_later(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path
) -> None:
    """`apt-get purge iptables` would take a firewall along that a person installed since."""
    added = install(plan, machine, state=state)
    machine.packages["ufw"] = "ii"
    machine.needs["ufw"] = ("iptables",)
    before = dict(machine.packages)
    with pytest.raises(KiroError, match="nothing was removed: ufw") as caught:
        undo(added, machine, state=state)
    assert caught.value.code == ExitCode.MISSED
    assert machine.packages == before
    assert read_state(state) == added


def test_undo_after_some_were_removed_by_hand(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path
) -> None:
    added = install(plan, machine, state=state)
    del machine.packages["debootstrap"]
    machine.packages["docker.io"] = "rc"
    Path(plan.files[0].path).unlink()
    removed = undo(added, machine, state=state)
    assert "package debootstrap" not in removed
    assert "package docker.io" in removed
    assert has_nothing_of_ours(machine, tmp_path)


def test_undo_after_all_were_removed_by_hand(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path
) -> None:
    added = install(plan, machine, state=state)
    machine.packages = Machine().packages
    undo(added, machine, state=state)
    assert [call[0] for call in apt_calls(machine)] == ["update", "--simulate", "install", "update"]
    assert has_nothing_of_ours(machine, tmp_path)


def test_undo_that_apt_refuses_keeps_the_memory(machine: Machine, plan: SetupPlan, state: Path) -> None:
    added = install(plan, machine, state=state)
    machine.trouble = lambda argv: Completed(argv, 100, "", "E: no\n") if "remove" in argv else None
    with pytest.raises(KiroError, match="could not remove the packages: E: no"):
        undo(added, machine, state=state)
    assert read_state(state) == added
    machine.trouble = lambda _argv: None
    undo(added, machine, state=state)
    assert not state.exists()


def test_through_sudo_every_command_that_changes_something_is_privileged(
    machine: Machine, plan: SetupPlan, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    added = install(replace(plan, needs_sudo=True), machine, state=state)
    assert added.sudo
    undo(added, machine, state=state)
    plain = {call[0] for call in machine.calls if call[:2] != ("sudo", "-n")}
    assert plain == {"dpkg-query", "getent"}


def test_apt_is_never_asked_a_question(machine: Machine, plan: SetupPlan, state: Path) -> None:
    undo(install(plan, machine, state=state), machine, state=state)
    calls = [call for call in machine.calls if "apt-get" in call]
    assert all(call[:3] == ("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8") for call in calls)
    assert all("-y" in call for call in calls if "update" not in call)


# -- interrupted --------------------------------------------------------------------------------------


class Stop(BaseException):
    """Ctrl-C, or the machine's power."""


def stop_at(number: int) -> Callable[[tuple[str, ...]], Completed | None]:
    """Trouble that strikes before the command of that number."""
    left = [number]

    def trouble(_argv: tuple[str, ...]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stop

    return trouble


def stop_in_the_middle_of_apt(machine: Machine) -> Callable[[tuple[str, ...]], Completed | None]:
    def trouble(argv: tuple[str, ...]) -> None:
        if argv[0] == "apt-get" and "install" in argv and "--simulate" not in argv:
            machine.unpack("docker.io")
            machine.packages["runc"] = "ii"
            raise Stop

    return trouble


STEPS = 20


def test_there_are_no_more_steps_than_are_interrupted_here(
    machine: Machine, plan: SetupPlan, state: Path
) -> None:
    install(plan, machine, state=state)
    assert len(machine.calls) == STEPS


def interrupted(machine: Machine, plan: SetupPlan, state: Path, step: int) -> None:
    machine.trouble = stop_in_the_middle_of_apt(machine) if step < 0 else stop_at(step)
    with suppress(Stop):
        install(plan, machine, state=state)
    machine.trouble = lambda _argv: None


@pytest.mark.parametrize("step", range(-1, STEPS))
def test_an_interrupted_install_can_be_undone(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path, step: int
) -> None:
    interrupted(machine, plan, state, step)
    if (begun := read_state(state)) is not None:
        undo(begun, machine, state=state)
    leftover = {"var/setup.json.kiro-new"}  # not yet moved in place: nothing else was done by then
    assert files(tmp_path) <= leftover
    assert machine.packages == Machine().packages
    assert machine.groups == Machine().groups


@pytest.mark.parametrize("step", range(-1, STEPS))
def test_an_interrupted_install_can_be_repeated_and_then_undone(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path, step: int
) -> None:
    interrupted(machine, plan, state, step)
    added = install(replace(plan, packages=_still_missing(plan, machine)), machine, state=state)
    assert added.complete
    assert added.packages == ADDED
    assert added.groups == ("docker",)
    undo(added, machine, state=state)
    assert has_nothing_of_ours(machine, tmp_path)


def test_interrupted_twice_nothing_is_forgotten(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path
) -> None:
    interrupted(machine, plan, state, -1)
    interrupted(machine, plan, state, 4)
    begun = read_state(state)
    assert begun is not None
    assert not begun.complete
    undo(begun, machine, state=state)
    assert has_nothing_of_ours(machine, tmp_path)


def test_a_second_setup_that_is_interrupted_keeps_what_the_first_added(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path
) -> None:
    small = replace(plan, packages=("debootstrap",), files=plan.files[:1])
    install(small, machine, state=state)
    machine.packages["htop"] = "ii"  # a person's own, between the two
    interrupted(machine, plan, state, -1)
    begun = read_state(state)
    assert begun is not None
    undo(begun, machine, state=state)
    assert machine.packages == {**Machine().packages, "htop": "ii"}
    assert machine.groups == Machine().groups
    assert not files(tmp_path)


def test_a_group_of_the_first_setup_is_not_forgotten_by_an_interrupted_second(
    machine: Machine, plan: SetupPlan, state: Path
) -> None:
    install(plan, machine, state=state)
    interrupted(machine, replace(plan, packages=()), state, -1)
    begun = read_state(state)
    assert begun is not None
    assert begun.groups == ("docker",)


def test_what_a_person_adds_after_a_failed_setup_is_theirs(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path
) -> None:
    interrupted(machine, plan, state, -1)
    machine.packages["hello"] = "ii"
    machine.groups.add("friends")
    begun = read_state(state)
    assert begun is not None
    assert "package hello" not in undo(begun, machine, state=state)
    assert machine.packages == {**Machine().packages, "hello": "ii"}
    assert machine.groups == {"root", "users", "friends"}
    assert not files(tmp_path)


def test_what_a_person_adds_between_two_setups_is_theirs(
    machine: Machine, plan: SetupPlan, state: Path
) -> None:
    interrupted(machine, plan, state, -1)
    machine.packages |= {"hello": "ii", "debootstrap": "ii"}
    again = replace(plan, packages=(*_still_missing(plan, machine), "extra"))
    assert install(again, machine, state=state).packages == (*ADDED[:4], "extra", *ADDED[4:])


def test_what_is_to_be_added_is_noted_before_it_is(machine: Machine, plan: SetupPlan, state: Path) -> None:
    interrupted(machine, plan, state, -1)
    begun = read_state(state)
    assert begun is not None
    assert (begun.packages, begun.groups, begun.complete) == (ADDED, ("docker",), False)


def test_packages_that_are_here_are_never_removed(machine: Machine, plan: SetupPlan, state: Path) -> None:
    machine.packages["podman-docker"] = "ii"
    machine.conflicts["docker-cli"] = "podman-docker"
    before = dict(machine.packages)
    with pytest.raises(EngineError, match="podman-docker would have to go") as caught:
        install(plan, machine, state=state)
    assert "--undo" in str(caught.value.fix)
    assert machine.packages == before
    begun = read_state(state)
    assert begun is not None
    assert to_remove(begun, machine).packages == ()


def test_only_the_group_docker_is_ever_removed(machine: Machine) -> None:
    added = Installed(packages=("docker.io",), groups=("docker", "users"), complete=True)
    machine.groups.add("docker")
    assert to_remove(added, machine).groups == ("docker",)
    assert to_remove(replace(added, packages=()), machine).groups == ()


def test_the_group_stays_for_another_engine(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dockerd").touch()
    monkeypatch.setattr(ownership, "FOLDERS", (str(tmp_path),))
    machine.groups.add("docker")
    added = Installed(packages=("docker.io",), groups=("docker",), complete=True)
    assert to_remove(added, machine).groups == ()


def test_a_check_removes_nothing(machine: Machine, plan: SetupPlan, state: Path) -> None:
    added = install(plan, machine, state=state)
    before = dict(machine.packages)
    check(added, to_remove(added, machine), machine)
    assert machine.packages == before


def test_a_check_that_apt_fails_is_a_refusal(machine: Machine, plan: SetupPlan, state: Path) -> None:
    added = install(plan, machine, state=state)
    machine.trouble = lambda argv: Completed(argv, 100, "", "E: held\n") if "purge" in argv else None
    with pytest.raises(KiroError, match="nothing was removed: E: held"):
        check(added, to_remove(added, machine), machine)


@pytest.mark.parametrize("group_before", [True, False])
@pytest.mark.parametrize("member_before", [True, False])
def test_a_user_who_joined_leaves_again(
    machine: Machine, plan: SetupPlan, state: Path, group_before: bool, member_before: bool
) -> None:
    if group_before:
        machine.groups.add("docker")
        machine.members = {"other", "ada"} if member_before else {"other"}
    before = {*machine.members}
    added = install(replace(plan, joins="ada"), machine, state=state)
    assert machine.members == {*before, "ada"}
    assert ("ada" in added.members) is ("ada" not in before)
    told = undo(added, machine, state=state)
    assert ("user ada from group docker" in told) is ("ada" not in before)
    assert machine.members == before
    assert ("docker" in machine.groups) is group_before


def test_a_user_who_cannot_join_is_told(machine: Machine, plan: SetupPlan, state: Path) -> None:
    machine.trouble = lambda argv: Completed(argv, 6, "", "no such user\n") if argv[0] == "usermod" else None
    with pytest.raises(EngineError, match="ada could not join group docker: no such user"):
        install(replace(plan, joins="ada"), machine, state=state)
    begun = read_state(state)
    assert begun is not None
    assert not begun.complete


def _still_missing(plan: SetupPlan, machine: Machine) -> tuple[str, ...]:
    here = installed_packages(machine)
    return tuple(name for name in plan.packages if name.partition("/")[0] not in here)


def test_an_install_that_apt_refuses_says_why_and_can_be_undone(
    machine: Machine, plan: SetupPlan, state: Path, tmp_path: Path
) -> None:
    def trouble(argv: tuple[str, ...]) -> Completed | None:
        if argv[0] == "apt-get" and "install" in argv and "--simulate" not in argv:
            machine.packages["runc"] = "ii"
            return Completed(
                argv, 100, "Reading lists...\n", "E: Unable to fetch some archives\nlast words\n"
            )
        return None

    machine.trouble = trouble
    with pytest.raises(EngineError, match="E: Unable to fetch some archives") as caught:
        install(plan, machine, state=state)
    assert caught.value.code == ExitCode.NO_ENGINE
    assert "--undo" in str(caught.value.fix)
    machine.trouble = lambda _argv: None
    begun = read_state(state)
    assert begun is not None
    assert begun.packages == ADDED
    assert to_remove(begun, machine).packages == ("runc",)
    assert not begun.complete
    undo(begun, machine, state=state)
    assert has_nothing_of_ours(machine, tmp_path)


def test_files_are_moved_in_place_whole(machine: Machine, plan: SetupPlan, state: Path) -> None:
    """Each is complete and on disk before its name points to it."""
    seen: list[str] = []

    def watch(argv: tuple[str, ...]) -> None:
        if argv[0] in {"install", "sync", "mv"}:
            seen.append(argv[0])
        if argv[0] == "mv":
            assert Path(argv[-2]).read_text()
            assert argv[-2] == f"{argv[-1]}.kiro-new"

    machine.trouble = watch
    install(plan, machine, state=state)
    assert seen == ["install", "sync", "mv"] * 5


def test_a_file_that_cannot_be_written_is_named(machine: Machine, plan: SetupPlan, state: Path) -> None:
    machine.trouble = lambda argv: Completed(argv, 1, "", "read-only\n") if argv[0] == "install" else None
    with pytest.raises(EngineError, match="cannot write it: read-only") as caught:
        install(plan, machine, state=state)
    assert caught.value.file == str(state)
    assert not apt_calls(machine)


# -- what is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "null", '"text"', "\udcff"], ids=lambda text: repr(text)[:9]
)
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "state").write_bytes(text.encode(errors="surrogateescape"))
    assert read_state(tmp_path / "state") is None


def test_a_state_of_an_older_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "state").write_text('{"packages": ["a"], "complete": true, "unknown": 1}')
    assert read_state(tmp_path / "state") == Installed(packages=("a",), complete=True)


def test_installed_packages_are_those_that_work() -> None:
    rows = [
        "ok ii ",
        "lib:amd64 ii ",
        "held hi ",
        "waits iW ",
        "half iH ",
        "raw iU ",
        "gone rc ",
        "never un ",
        "x",
    ]
    run = FakeRun().on("dpkg-query", out="\n".join(rows))
    assert installed_packages(run) == {"ok", "lib", "held", "waits"}


def test_no_dpkg_no_packages() -> None:
    assert installed_packages(FakeRun(otherwise=127)) == frozenset()


KNOWN = "bookworm-updates|main|http://u/|x\nbookworm|contrib|http://c/|x\nbookworm|main|http://m/|stable\n"
UNKNOWN = "$(CODENAME)|main|http://s/|bookworm-security\n$(CODENAME)|main|http://m/|bookworm\n"


@pytest.mark.parametrize(
    ("os_id", "with_lists", "without_lists", "mirror"),
    [
        ("debian", KNOWN, UNKNOWN, "http://m/"),
        ("debian", "", UNKNOWN, "http://m/"),
        ("debian", "", "", None),
        ("debian", "nonsense\n", "a|b\n", None),
        ("ubuntu", KNOWN, UNKNOWN, None),
    ],
    ids=["after update", "before the first update", "no sources", "nonsense", "not Debian's"],
)
def test_the_mirror_is_the_one_of_this_debian(
    os_id: str,
    with_lists: str,
    without_lists: str,
    mirror: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = {"ID": os_id, "ID_LIKE": "debian other", "VERSION_CODENAME": "bookworm"}
    monkeypatch.setattr(installer, "_os_release", lambda _path: release)
    asked = ("apt-get", "indextargets", "--format", "$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(RELEASE)")
    run = FakeRun().on("dpkg", out="amd64\n").on(*asked, out=with_lists)
    run.on(*asked, "--no-release-info", out=without_lists)
    facts = host_facts(run)
    assert facts.mirror == mirror
    assert (facts.os_id, facts.os_like, facts.codename) == (os_id, ("debian", "other"), "bookworm")
    assert facts.architecture == "amd64"
    assert facts.is_root == (os.geteuid() == 0)


@pytest.mark.parametrize(("code", "may"), [(0, True), (1, False), (127, False)])
def test_sudo_is_asked_only_by_others_than_root(
    code: int, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun().on("sudo", "-n", "true", code=code)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert host_facts(run).passwordless_sudo is may
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not host_facts(FakeRun()).passwordless_sudo


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("ID=debian\nID_LIKE=\"a b\"\nNAME='x'\n", {"ID": "debian", "ID_LIKE": "a b", "NAME": "x"}),
        ("# comment\n\nURL=https://a?b=c\n", {"URL": "https://a?b=c"}),
        (None, {}),
    ],
)
def test_os_release(tmp_path: Path, text: str | None, values: dict[str, str]) -> None:
    if text is not None:
        (tmp_path / "os-release").write_text(text)
    assert installer._os_release(tmp_path / "os-release") == values


@pytest.mark.parametrize(
    ("group", "members", "docker", "mine", "found"),
    [
        ("ada", [], None, [], Person("ada", 1000, private_group=True)),
        ("ada", ["ada"], None, [], Person("ada", 1000, private_group=True)),
        ("ada", ["bob"], None, [], Person("ada", 1000)),
        ("staff", [], None, [], Person("ada", 1000)),
        ("staff", [], ["bob"], [4], Person("ada", 1000)),
        ("staff", [], ["ada"], [4], Person("ada", 1000, docker_member=True)),
        ("staff", [], ["ada"], [4, 7], Person("ada", 1000, docker_member=True, docker_now=True)),
        ("staff", [], [], [7], Person("ada", 1000, docker_member=True, docker_now=True)),
    ],
)
def test_a_person_and_their_groups(
    group: str,
    members: list[str],
    docker: list[str] | None,
    mine: list[int],
    found: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def by_name(name: str) -> grp.struct_group:
        if docker is None:
            raise KeyError(name)
        return grp.struct_group((name, "x", 7, docker))

    ada = pwd.struct_passwd(("ada", "x", 1000, 1000, "", "/home/ada", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: ada)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((group, "x", gid, members)))
    monkeypatch.setattr(grp, "getgrnam", by_name)
    monkeypatch.setattr(os, "getgroups", lambda: mine)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    assert installer.person() == found


def test_a_person_whom_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert installer.person() == Person()


def test_a_derived_release_tells_what_it_is_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    release = {"ID": "linuxmint", "VERSION_CODENAME": "uma", "UBUNTU_CODENAME": "focal"}
    monkeypatch.setattr(installer, "_os_release", lambda _path: release)
    assert host_facts(FakeRun()).base == "focal"
