"""Tilt's API as far as Tiltfiles here call it: a real Starlark interpreter, and functions that write down their calls.

As strict as Tilt (internal/tiltfile of tilt-dev/tilt): unknown arguments, steps out of order or unused, paths that
nobody watches and Dockerfiles that are not there are errors. `local` runs its command.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import starlark
import yaml

#: How Tilt reads Starlark: statements at the top, no types, no f-strings, no while.
_DIALECT = starlark.Dialect.extended()
_DIALECT.enable_top_level_stmt = True
_DIALECT.enable_types = starlark.DialectTypes.DISABLE
_DIALECT.enable_f_strings = False
_GLOBALS = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
_PRELUDE = """\
os = struct(
    getcwd=_getcwd, getenv=_getenv, putenv=_putenv, name='posix',
    path=struct(
        abspath=_abspath, basename=_basename, dirname=_dirname, exists=_exists, join=_join, realpath=_realpath,
        relpath=_relpath,
    ),
)
v1alpha1 = struct(extension_repo=_extension_repo, extension=_extension)
config = struct(define_bool=_define_bool, parse=_parse)
TRIGGER_MODE_AUTO = 'auto'
TRIGGER_MODE_MANUAL = 'manual'
def load_dynamic(path):
    _loaded(path)
    def of(name):
        return lambda: _call(path, name)
    return {name: of(name) for name in ['kiro_services', 'kiro_resources']}
"""
TiltError = starlark.StarlarkError


@dataclass(frozen=True)
class Blob:
    """What a command, or a file, says: no text to Starlark before `str`."""

    text: str


@dataclass(frozen=True)
class Step:
    """A step of a live update."""

    kind: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """A call of a function, with the arguments that were given."""

    name: str
    given: Mapping[str, Any]


_ORDER = ("initial_sync", "fall_back_on", "sync", "run", "restart_container")


@dataclass
class Tilt:
    """One run of the Tiltfile in `folder`."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, bool] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    #: What a Tiltfile puts into Tilt's environment, which the next run of it still finds.
    put: dict[str, str] = field(default_factory=dict)
    _repos: dict[str, Path] = field(default_factory=dict)
    _extensions: dict[str, tuple[str, str]] = field(default_factory=dict)
    _dynamic: dict[str, starlark.FrozenModule] = field(default_factory=dict)
    _steps: list[Step] = field(default_factory=list)
    _executing: list[Path] = field(default_factory=list)

    def run(self, text: str | None = None) -> Tilt:
        """Run the Tiltfile, or this text in its place."""
        file = self.folder / "Tiltfile"
        self._execute(file, file.read_text() if text is None else text)
        if self._steps:
            raise AssertionError(f"live_update steps that were created but not used: {self._steps}")
        return self

    def named(self, name: str) -> list[Mapping[str, Any]]:
        """What a function was given, each time."""
        return [call.given for call in self.calls if call.name == name]

    def _execute(self, file: Path, text: str) -> starlark.FrozenModule:
        module = starlark.Module()
        for name, function in self._functions().items():
            module.add_callable(name, function)
        self._executing.append(file.parent)
        try:
            starlark.eval(module, starlark.parse("prelude", _PRELUDE, _DIALECT), _GLOBALS)
            ast = starlark.parse(str(file), text, _DIALECT)
            starlark.eval(module, ast, _GLOBALS, starlark.FileLoader(self._load))
        finally:
            self._executing.pop()
        return module.freeze()

    def _load(self, name: str) -> starlark.FrozenModule:
        if name.startswith("ext://"):
            repo, path = self._extensions[name.removeprefix("ext://")]
            file = self._repos[repo] / path / "Tiltfile"
        else:
            file = self._here / name
        return self._execute(file, file.read_text())

    @property
    def _here(self) -> Path:
        """Everything is done from the folder of the Tiltfile that runs, not of the one that a function is from."""
        return self._executing[-1]

    def _functions(self) -> dict[str, Callable[..., Any]]:
        return {
            name.removeprefix("tilt_"): getattr(self, name) for name in dir(self) if name.startswith("tilt_")
        }

    def _path(self, text: str) -> str:
        assert isinstance(text, str), f"no path: {text!r}"
        return os.path.normpath(self._here / text)

    # --- what Tilt offers

    def tilt__putenv(self, key: str, value: str) -> None:
        self.put[key] = value

    def tilt_str(self, value: Any) -> str:
        return value.text if isinstance(value, Blob) else str(value)

    def tilt_print(self, *values: Any) -> None:
        self.told.append(" ".join(map(str, values)))

    def tilt_warn(self, msg: str) -> None:
        self.warned.append(msg)

    def tilt_fail(self, msg: str) -> None:
        raise ValueError(msg)

    def tilt__loaded(self, path: str) -> None:
        self._dynamic[path] = self._load(path)

    def tilt__call(self, path: str, name: str) -> None:
        self._dynamic[path].call(name)

    def tilt__getcwd(self) -> str:
        return str(self._here)

    def tilt__getenv(self, key: str, default: Any = None) -> Any:
        return {**self.env, **self.put}.get(key, default)

    def tilt__abspath(self, path: str) -> str:
        return self._path(path)

    def tilt__basename(self, path: str) -> str:
        return path.rstrip("/").rpartition("/")[2] or "."

    def tilt__dirname(self, path: str) -> str:
        return str(Path(path).parent)

    def tilt__exists(self, path: str) -> bool:
        return Path(self._path(path)).exists()

    def tilt__join(self, *parts: str) -> str:
        """As Go joins: an absolute part does not begin anew."""
        return os.path.normpath("/".join(part for part in parts if part))

    def tilt__realpath(self, path: str) -> str:
        return str(Path(self._path(path)).resolve(strict=True))

    def tilt__relpath(self, targpath: str, basepath: str = "") -> str:
        return os.path.relpath(targpath, basepath or self._here)

    def tilt__extension_repo(self, name: str, url: str) -> None:
        assert url.startswith("file:///"), url
        self._repos[name] = Path(url.removeprefix("file://"))

    def tilt__extension(self, name: str, repo_name: str, repo_path: str = "") -> None:
        self._extensions[name] = (repo_name, repo_path)

    def tilt__define_bool(self, name: str, args: bool = False, usage: str = "") -> None:
        assert len(self._executing) == 1, "config.define_bool in an extension"

    def tilt__parse(self) -> dict[str, bool]:
        assert len(self._executing) == 1, "config.parse in an extension"
        return dict(self.words)

    def tilt_local(
        self,
        command: str | Sequence[str],
        quiet: bool = False,
        command_bat: str = "",
        echo_off: bool = False,
        env: Mapping[str, str] | None = None,
        dir: str = ".",
        stdin: str | None = None,
    ) -> starlark.OpaquePythonObject:
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        done = subprocess.run(
            argv,
            cwd=self._path(dir),
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ValueError(f"command {argv} failed: {done.stderr}")
        return starlark.OpaquePythonObject(Blob(done.stdout))

    def tilt_decode_json(self, json: Any) -> Any:
        return _json_of(json.text if isinstance(json, Blob) else json)

    def tilt_read_file(self, paths: str, default: str | None = None) -> starlark.OpaquePythonObject:
        self.watched.append(self._path(paths))
        return starlark.OpaquePythonObject(Blob(Path(self._path(paths)).read_text()))

    def tilt_read_yaml(self, paths: str, default: Any = None) -> Any:
        self.watched.append(self._path(paths))
        return yaml.safe_load(Path(self._path(paths)).read_text())

    def tilt_watch_file(self, paths: str) -> None:
        self.watched.append(self._path(paths))

    def tilt_watch_settings(self, ignore: Sequence[str] = ()) -> None:
        self.calls.append(Call("watch_settings", {"ignore": list(ignore)}))

    def tilt_docker_compose(
        self,
        configPaths: Any,
        env_file: str = "",
        project_name: str = "",
        profiles: Sequence[str] = (),
        wait: bool = False,
    ) -> None:
        self.calls.append(Call("docker_compose", {"configPaths": configPaths}))

    def tilt_k8s_yaml(self, yaml: Any, allow_duplicates: bool = False) -> None:
        self.calls.append(Call("k8s_yaml", {"yaml": yaml}))

    def tilt_k8s_resource(self, workload: str, port_forwards: Any = None) -> None:
        self.calls.append(Call("k8s_resource", {"workload": workload, "port_forwards": port_forwards}))

    def tilt_dc_resource(self, name: str, labels: Sequence[str] = ()) -> None:
        self.calls.append(Call("dc_resource", {"name": name, "labels": list(labels)}))

    def tilt_local_resource(
        self,
        name: str,
        cmd: Sequence[str],
        deps: Sequence[str] = (),
        trigger_mode: str = "auto",
        resource_deps: Sequence[str] = (),
        ignore: Sequence[str] = (),
        auto_init: bool = True,
        serve_cmd: str = "",
        allow_parallel: bool = False,
        links: Sequence[str] = (),
        labels: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        dir: str = ".",
    ) -> None:
        given = {
            "name": name, "cmd": list(cmd), "trigger_mode": trigger_mode, "auto_init": auto_init,
            "allow_parallel": allow_parallel, "labels": list(labels), "dir": self._path(dir),
        }  # fmt: skip
        self.calls.append(Call("local_resource", given))

    def tilt_docker_build(self, ref: str, context: str, **given: Any) -> None:
        unknown = given.keys() - _DOCKER_BUILD
        if unknown:
            raise TypeError(f'docker_build: unexpected keyword argument "{min(unknown)}"')
        place = self._path(context)
        if "dockerfile" in given:
            assert "dockerfile_contents" not in given, "both dockerfile and dockerfile_contents"
            given["dockerfile"] = self._path(given["dockerfile"])
        if "dockerfile_contents" not in given:
            file = given.get("dockerfile", f"{place}/Dockerfile")
            assert Path(file).is_file(), f"error reading dockerfile: {file}"
        for key, kind in (("build_args", dict), ("secret", (str, list)), ("ssh", (str, list))):
            assert isinstance(given.get(key, kind() if isinstance(kind, type) else []), kind), key
        if "live_update" in given:
            given["live_update"] = self._checked(given["live_update"], place)
        self.calls.append(Call("docker_build", {"ref": ref, "context": place, **given}))

    def _checked(self, steps: Sequence[Step], context: str) -> list[Step]:
        kinds = [_ORDER.index(step.kind) for step in steps]
        assert kinds == sorted(kinds), f"steps out of order: {steps}"
        for step in steps:
            self._steps.remove(step)
            watched = step.values[:1] if step.kind == "sync" else step.values
            if step.kind in ("sync", "fall_back_on"):
                for path in watched:
                    assert f"{path}/".startswith(f"{context}/"), f"{path} is no child of {context}"
            if step.kind == "sync":
                assert step.values[1].startswith("/"), f"sync destination {step.values[1]} is not absolute"
        return list(steps)

    def _step(self, kind: str, *values: Any) -> starlark.OpaquePythonObject:
        step = Step(kind, values)
        self._steps.append(step)
        return starlark.OpaquePythonObject(step)

    def tilt_fall_back_on(self, paths: str | Sequence[str]) -> starlark.OpaquePythonObject:
        given = [paths] if isinstance(paths, str) else paths
        return self._step("fall_back_on", *map(self._path, given))

    def tilt_sync(self, local_path: str, remote_path: str) -> starlark.OpaquePythonObject:
        return self._step("sync", self._path(local_path), remote_path)

    def tilt_run(
        self, cmd: str, trigger: Sequence[str] = (), echo_off: bool = False
    ) -> starlark.OpaquePythonObject:
        return self._step("run", cmd)

    def tilt_restart_container(self) -> starlark.OpaquePythonObject:
        return self._step("restart_container")


_DOCKER_BUILD = frozenset(
    (
        "build_args", "dockerfile", "dockerfile_contents", "live_update", "match_in_env_vars", "ignore", "only",
        "entrypoint", "container_args", "target", "ssh", "secret", "network", "extra_tag", "cache_from", "pull",
        "platform", "extra_hosts",
    )
)  # fmt: skip


def _json_of(text: str) -> Any:
    return json.loads(text)
