"""No telemetry: the only destinations are the engine, and what the builds themselves name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from kiro_invoke.engine.cli_files import SYSTEM_FOLDERS
from tests.support.engine import Ran, command

pytestmark = pytest.mark.docker

#: The docker CLI's own plugin, which is started without it where that is known to come to the same.
BUILDX = {f"{folder}/docker-buildx" for folder in (str(Path.home() / ".docker/cli-plugins"), *SYSTEM_FOLDERS)}

RECORDER = """
import json, sys
seen = {"connect": [], "resolve": [], "start": []}

def hook(event, arguments):
    if event == "socket.connect":
        seen["connect"].append(str(arguments[1]))
    elif event == "socket.getaddrinfo":
        seen["resolve"].append(str(arguments[0]))
    elif event == "subprocess.Popen":
        seen["start"].append([str(word) for word in arguments[1]])

sys.addaudithook(hook)
from kiro_invoke.program import program
try:
    program.run(["kiro", *sys.argv[2:]])
finally:
    open(sys.argv[1], "w").write(json.dumps(seen))
"""


@pytest.mark.parametrize("task", [("warm-cache",), ("build", "--prod"), ("config",)])
def test_the_tool_talks_to_the_engine_and_to_nobody_else(
    warmed: Ran, tmp_path: Path, task: tuple[str, ...]
) -> None:
    record = tmp_path / "seen.json"
    ran = command(sys.executable, "-c", RECORDER, str(record), *task)
    assert ran.code == 0, ran.err
    seen = json.loads(record.read_text())
    assert [address for address in seen["connect"] if not address.endswith("docker.sock")] == []
    assert seen["resolve"] == []
    # a production image tells the time of its commit: git reads it here, and asks nobody
    local = [argv for argv in seen["start"] if argv[0] == "env" and {"git", "-C"} <= set(argv)]
    assert not {"fetch", "pull", "ls-remote"} & {word for argv in local for word in argv}
    assert bool(local) == (task == ("build", "--prod"))
    assert {argv[0] for argv in seen["start"] if argv not in local} <= {"docker", *BUILDX}
    if task != ("config",):
        assert seen["connect"]
        assert seen["start"]
