"""Which engine packages a machine is given, and which machines are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kiro_invoke.engine.installed import STATE_FILE
from kiro_invoke.engine.setup import (
    DAEMON_LOG,
    PIN_FILE,
    SOURCE_FILE,
    USER_LOG,
    HostFacts,
    NoPlan,
    Person,
    SetupPlan,
    plan_setup,
    socket_group,
)

BOOKWORM = HostFacts(
    os_id="debian",
    os_like=(),
    codename="bookworm",
    architecture="amd64",
    mirror="http://mirror.example/debian",
    keyring="/usr/share/keyrings/debian-archive-keyring.gpg",
    installed=frozenset({"bash", "apt"}),
    is_root=True,
    passwordless_sudo=False,
    systemd=False,
)
TRIXIE = replace(BOOKWORM, codename="trixie")
NOBLE = replace(BOOKWORM, os_id="ubuntu", os_like=("debian",), codename="noble", mirror=None, keyring=None)
MINT = replace(NOBLE, os_id="linuxmint", os_like=("ubuntu", "debian"), codename="wilma")
FEDORA = replace(BOOKWORM, os_id="fedora", os_like=(), codename="", mirror=None, keyring=None)
ADA = Person("ada", 1000, private_group=True)
STAFF = replace(ADA, private_group=False)
LENT = (
    "docker.io/trixie",
    "docker-cli/trixie",
    "docker-buildx/trixie",
    "docker-compose/trixie",
    "containerd/trixie",
)
DEBIAN = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "iptables", "debootstrap")
UBUNTU = ("docker.io", "docker-buildx", "docker-compose-v2", "iptables", "debootstrap")


def plan(host: HostFacts) -> SetupPlan:
    found = plan_setup(host)
    assert isinstance(found, SetupPlan), found
    return found


def refusal(host: HostFacts) -> NoPlan:
    found = plan_setup(host)
    assert isinstance(found, NoPlan), found
    return found


@pytest.mark.parametrize(
    ("host", "packages", "files"),
    [
        (BOOKWORM, (*LENT, "iptables", "debootstrap"), (SOURCE_FILE, PIN_FILE)),
        (TRIXIE, DEBIAN, ()),
        (replace(TRIXIE, mirror=None), DEBIAN, ()),
        (NOBLE, UBUNTU, ()),
        (MINT, UBUNTU, ()),
    ],
    ids=["bookworm", "trixie", "trixie without lists", "noble", "mint"],
)
def test_packages(host: HostFacts, packages: tuple[str, ...], files: tuple[str, ...]) -> None:
    found = plan(host)
    assert found.packages == packages
    assert tuple(file.path for file in found.files) == files
    assert host.os_id in found.why
    assert host.codename in found.why


def test_bookworm_borrows_from_trixie_and_nothing_else_comes_from_there() -> None:
    source, pin = plan(BOOKWORM).files
    assert source.text.splitlines()[1:] == [
        "Types: deb",
        "URIs: http://mirror.example/debian",
        "Suites: trixie",
        "Components: main",
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
    ]
    assert pin.text.splitlines() == ["Package: *", "Pin: release n=trixie", "Pin-Priority: 50"]
    assert source.text.endswith("\n")
    assert pin.text.endswith("\n")


def test_a_source_without_a_known_keyring_names_none() -> None:
    assert "Signed-By" not in plan(replace(BOOKWORM, keyring=None)).files[0].text


@pytest.mark.parametrize(
    ("host", "installed", "packages"),
    [
        (BOOKWORM, {"docker.io", "containerd", "iptables"}, (*LENT[1:4], "debootstrap")),
        (BOOKWORM, {"docker.io", "debootstrap"}, (*LENT[1:], "iptables")),
        (TRIXIE, {"docker.io", "docker-cli"}, DEBIAN[2:]),
        (TRIXIE, set(DEBIAN), ()),
        (NOBLE, set(UBUNTU[:3]), UBUNTU[3:]),
    ],
)
def test_what_is_installed_is_not_installed_again(
    host: HostFacts, installed: set[str], packages: tuple[str, ...]
) -> None:
    assert plan(replace(host, installed=frozenset(installed))).packages == packages


@pytest.mark.parametrize("mirror", [None, "http://mirror.example/debian"])
def test_no_source_is_added_when_nothing_is_borrowed(mirror: str | None) -> None:
    lent = frozenset(name.partition("/")[0] for name in LENT)
    found = plan(replace(BOOKWORM, installed=lent, mirror=mirror))
    assert found.packages == ("iptables", "debootstrap")
    assert found.files == ()


def test_without_a_mirror_there_is_nothing_to_borrow_from() -> None:
    found = refusal(replace(BOOKWORM, mirror=None))
    assert "mirror" in found.why
    assert "deb line" in found.fix


@pytest.mark.parametrize("host", [FEDORA, replace(FEDORA, os_id="")], ids=["fedora", "unknown"])
def test_other_systems_are_left_alone(host: HostFacts) -> None:
    found = refusal(host)
    assert (host.os_id or "this system") in found.why
    assert "Docker Engine 26" in found.fix


@pytest.mark.parametrize("host", [BOOKWORM, TRIXIE, NOBLE], ids=["bookworm", "trixie", "noble"])
class TestRights:
    def test_root_needs_no_sudo(self, host: HostFacts) -> None:
        found = plan(host)
        assert not found.needs_sudo
        assert "sudo" not in found.lines()[0]

    def test_sudo_that_does_not_ask_is_used_and_said(self, host: HostFacts) -> None:
        found = plan(replace(host, is_root=False, passwordless_sudo=True, person=ADA))
        assert found.needs_sudo
        assert found.lines()[0].endswith("(through sudo):")
        assert found.packages == plan(host).packages

    def test_without_either_nothing_is_planned(self, host: HostFacts) -> None:
        found = refusal(replace(host, is_root=False))
        assert "root" in found.why
        assert "sudo kiro setup" in found.fix


def test_the_plan_tells_every_file_package_and_how_it_starts() -> None:
    lines = plan(BOOKWORM).lines()
    assert [line.split()[1].rstrip(":") for line in lines[1:3]] == [SOURCE_FILE, PIN_FILE]
    assert lines[3] == f"  install {', '.join((*LENT, 'iptables', 'debootstrap'))}"
    assert lines[4] == f"  start dockerd detached, log in {DAEMON_LOG}"
    assert STATE_FILE in lines[5]
    assert plan(replace(BOOKWORM, systemd=True)).lines()[4] == "  start it with systemctl"


@pytest.mark.parametrize(
    ("os_id", "codename", "base"),
    [
        ("debian", "bullseye", ""),
        ("debian", "buster", ""),
        ("ubuntu", "focal", ""),
        ("ubuntu", "bionic", ""),
        ("linuxmint", "uma", "focal"),
    ],
)
def test_releases_whose_engine_is_too_old_are_left_alone(os_id: str, codename: str, base: str) -> None:
    found = refusal(replace(BOOKWORM, os_id=os_id, os_like=("ubuntu",), codename=codename, base=base))
    assert f"{os_id} {codename} is too old" in found.why
    assert "Docker's own packages" in found.fix


class TestThroughSudo:
    HOST = replace(BOOKWORM, is_root=False, passwordless_sudo=True)

    def test_a_private_group_gets_the_socket(self) -> None:
        found = plan(replace(self.HOST, person=ADA))
        assert found.joins == ""
        assert f"  start dockerd detached, log in {USER_LOG}" in found.lines()
        assert socket_group(ADA) == 1000

    def test_a_shared_group_does_not(self) -> None:
        found = refusal(replace(self.HOST, person=STAFF))
        assert "sudo kiro setup" in found.fix
        assert "usermod -aG docker" in found.fix
        assert isinstance(socket_group(STAFF), NoPlan)

    @pytest.mark.parametrize("person", [ADA, STAFF])
    def test_who_is_in_the_group_docker_needs_no_other(self, person: Person) -> None:
        member = replace(person, docker_member=True, docker_now=True)
        assert socket_group(member) is None
        assert plan(replace(self.HOST, person=member)).joins == ""

    @pytest.mark.parametrize("person", [ADA, STAFF])
    def test_with_systemd_the_user_joins_the_group_and_the_plan_says_so(self, person: Person) -> None:
        found = plan(replace(self.HOST, person=person, systemd=True))
        assert found.joins == "ada"
        assert "  add user ada to group docker" in found.lines()

    def test_a_member_does_not_join_again(self) -> None:
        member = replace(ADA, docker_member=True)
        assert plan(replace(self.HOST, person=member, systemd=True)).joins == ""

    @pytest.mark.parametrize("systemd", [True, False])
    def test_root_joins_nothing(self, systemd: bool) -> None:
        assert plan(replace(BOOKWORM, person=STAFF, systemd=systemd)).joins == ""
