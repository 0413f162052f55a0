"""What `kiro watch` needs to run one service of a copy: a kiro.yaml and a compose file of its own. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from kiro_invoke.benchmark.copies import Copy
from kiro_invoke.benchmark.losses import NAME
from kiro_invoke.builds.planner import Profile
from kiro_invoke.model.service import Project, Secret, Service

#: What a service of the person's compose file takes along. All else is of the outside: ports, names, folders, labels.
_TAKEN = (
    "cap_add", "cap_drop", "command", "cpus", "entrypoint", "environment", "expose", "healthcheck", "init", "mem_limit",
    "read_only", "security_opt", "shm_size", "stdin_open", "stop_grace_period", "stop_signal", "sysctls", "tmpfs",
    "tty", "ulimits", "user", "working_dir",
)  # fmt: skip


def configuration(copy: Copy, service: Service) -> str:
    """A kiro.yaml by which a copy's service is built as it is in the copy."""
    project = copy.project
    value: dict[str, Any] = {
        "version": 1,
        "project": project.name,
        "base_images": dict(copy.images),
        "services": [_service(project, service)],
    }
    if project.ca_bundle:
        value["ca_bundle"] = str(project.ca_bundle)
    if project.secrets:
        value["secrets"] = [_secret(secret) for secret in project.secrets]
    if project.ssh:
        value["ssh"] = list(project.ssh)
    if project.build_args:
        value["build_args"] = dict(project.build_args)
    return yaml.safe_dump(value, sort_keys=False)


def composition(copy: Copy, service: Service, given: Mapping[str, Any]) -> str:
    """A compose file that runs it alone; `given` is the service in the person's own one, as Compose reads it."""
    assert service.fast_dockerfile is not None
    kept = {key: given[key] for key in _TAKEN if key in given}
    volumes = [one for one in given.get("volumes") or () if one.get("type") == "volume" and one.get("source")]
    composed = {
        **kept,
        "image": f"{service.image}:{Profile.DEV}",
        "build": {"context": str(service.context), "dockerfile": str(service.fast_dockerfile)},
    }
    if volumes:
        composed["volumes"] = volumes
    value: dict[str, Any] = {"name": project_name(copy), "services": {service.name: composed}}
    if volumes:
        value["volumes"] = {str(one["source"]): {} for one in volumes}
    return json.dumps(value, indent=1)


def project_name(copy: Copy) -> str:
    """Compose's own name for what runs of a copy."""
    return f"{NAME}-{copy.project.checkout}"


def composes(copy: Copy) -> dict[str, str]:
    """Variables that outrank whatever a person set for their own project: Compose is never to speak of that one."""
    return {"COMPOSE_PROJECT_NAME": project_name(copy), "COMPOSE_FILE": "", "COMPOSE_PROFILES": ""}


def _service(project: Project, service: Service) -> dict[str, Any]:
    value: dict[str, Any] = {
        "name": service.name,
        "context": str(service.context.relative_to(project.root)) or ".",
        "image": service.image,
        "ecosystem": service.ecosystem,
    }
    for key, file in (("dockerfile", service.dockerfile), ("fast_dockerfile", service.fast_dockerfile)):
        if file is not None:
            value[key] = str(file.relative_to(service.context))
    rules = {"dependency_inputs": service.dependency_inputs, "ignore": service.ignore}
    value |= {key: [rule.pattern for rule in found] for key, found in rules.items() if found}
    live: dict[str, Any] = dict(service.live.values)
    if service.live.sync is not None:
        live["sync"] = {rule.folder or ".": rule.place for rule in service.live.sync}
    return value | ({"live": live} if live else {})


def _secret(secret: Secret) -> dict[str, str]:
    kind, _, source = secret.source.partition(":")
    return {"id": secret.id, kind: source}
