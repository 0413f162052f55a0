"""The one maker of Docker SDK clients: over unix sockets, ssh and TLS alike; and what their trouble means."""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import docker
import requests.exceptions
import urllib3
import urllib3.exceptions
from docker.errors import DockerException
from docker.tls import TLSConfig

from kiro_invoke.engine.locate import Address, TlsFiles
from kiro_invoke.engine.protocol import RegistryRefused, RegistrySilent

if TYPE_CHECKING:
    from requests.sessions import _Settings

#: How long an engine may take to say its version.
ANSWER_SECONDS = 20
#: How long one that did answer may take for a call: removing an image, adding up the disk.
WORK_SECONDS = 600

#: Whatever the SDK lets through when an engine is gone, refuses, or breaks off in the middle.
TROUBLE = (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError)

#: What the system said, within the layers that HTTP clients wrap around it.
_SYSTEM_REASON = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")
#: What registries and the engine say when a registry did answer, with a "no".
_ANSWERED = re.compile(
    r"not found|manifest unknown|no such manifest|denied|unauthorized|authentication required|toomanyrequests",
    re.IGNORECASE,
)
_STORE_TROUBLE = re.compile(r"credentials store error: (?:\w+\((.*)\)$)?", re.IGNORECASE)

# a credential store that is missing is told once, as an error, where it is needed
warnings.filterwarnings("ignore", category=UserWarning, module=r"docker\.credentials")


class Unanswered(Exception):
    """No engine can be spoken to at an address; the text says why."""


class _Api(docker.APIClient):
    """The SDK's, except that REQUESTS_CA_BUNDLE does not replace the authority an engine's TLS names."""

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: bool | str | None,
        cert: str | tuple[str, str] | None,
    ) -> _Settings:
        chosen = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, chosen, cert)


class _Client(docker.DockerClient):
    def __init__(self, api: docker.APIClient) -> None:
        self.api = api


def open_api(address: Address, seconds: int, version: str = "auto") -> docker.APIClient:
    """A client whose calls may take `seconds`; Unanswered if none can be made.

    `auto` asks the engine for its version; any other makes the client without a word to the engine.
    """
    if why := _refusal(address):
        raise Unanswered(why)
    try:
        return _Api(
            base_url=address.url,
            version=version,
            timeout=seconds,
            tls=_tls(address.tls) if address.tls else False,
            use_ssh_client=address.url.startswith("ssh://"),
        )
    except TROUBLE as error:
        raise Unanswered(short(error)) from None


def first_contact(address: Address) -> tuple[docker.DockerClient, Mapping[str, Any]]:
    """A client for real work and what the engine says of itself; Unanswered if it does not in time."""
    api = open_api(address, ANSWER_SECONDS)
    try:
        server = api.version()
    except TROUBLE as error:
        api.close()
        raise Unanswered(short(error)) from None
    api.timeout = WORK_SECONDS
    return _Client(api), server


def registry_trouble(error: Exception | str) -> RegistryRefused | RegistrySilent:
    """What a failed question to a registry means, from the words of the engine or the SDK."""
    text = short(error)
    if store := _STORE_TROUBLE.match(text):
        why = (store[1] or text).strip("'\"")
        return RegistryRefused(f"the credential store that Docker's config.json names does not work: {why}")
    return RegistryRefused(text) if _ANSWERED.search(text) else RegistrySilent(text)


def short(error: Exception | str) -> str:
    """An error's own words, on one line."""
    text = str(getattr(error, "explanation", None) or error)
    if reason := _SYSTEM_REASON.search(text):
        return reason[1]
    return " ".join(text.split())[:300]


def _tls(files: TlsFiles) -> TLSConfig:
    """The SDK's form. As for the docker CLI, a certificate of our own is given only if both files are there."""
    if files.verify and files.ca and not files.ca.is_file():
        raise Unanswered(f"{files.ca}, its certificate authority, is missing")
    if not files.verify:  # the person said so
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    own = (files.cert, files.key)
    pair = (str(files.cert), str(files.key)) if all(file and file.is_file() for file in own) else None
    return TLSConfig(client_cert=pair, ca_cert=str(files.ca) if files.ca else None, verify=files.verify)


def _refusal(address: Address) -> str:
    """Why nothing can listen at a unix address, or "". Asked first: the SDK leaks a socket that is refused."""
    path = address.url.removeprefix("unix://")
    if path == address.url:
        return ""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_SECONDS)
        try:
            probe.connect(path)
        except OSError as error:
            return error.strerror or str(error)
    return ""
