"""The one maker of Docker SDK clients: over unix sockets, ssh and TLS alike; and what their trouble means.

Loading the SDK takes a third of a second: this module is imported where it is needed, and no earlier.
"""

from __future__ import annotations

import io
import json
import re
import socket
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

import docker
import requests.exceptions
import urllib3
import urllib3.exceptions
from docker.errors import DockerException
from docker.tls import TLSConfig

from kiro_invoke.engine.api import (
    ANSWER_SECONDS,
    WORK_SECONDS,
    Query,
    Refused,
    Result,
    Unanswered,
    refusal,
    short,
    spoken,
    unix_path,
)
from kiro_invoke.engine.locate import Address, TlsFiles
from kiro_invoke.engine.protocol import RegistryRefused, RegistrySilent

if TYPE_CHECKING:
    from requests.sessions import _Settings

#: Whatever the SDK lets through when an engine is gone, refuses, or breaks off in the middle.
TROUBLE = (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError)

#: What registries and the engine say when a registry did answer, with a "no".
_ANSWERED = re.compile(
    r"not found|manifest unknown|no such manifest|denied|unauthorized|authentication required|toomanyrequests",
    re.IGNORECASE,
)
_STORE_TROUBLE = re.compile(r"credentials store error: (?:\w+\((.*)\)$)?", re.IGNORECASE)

# a credential store that is missing is told once, as an error, where it is needed
warnings.filterwarnings("ignore", category=UserWarning, module=r"docker\.credentials")


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


class SdkApi:
    """The API through the SDK, for engines that are not behind a unix socket (see api.Api)."""

    def __init__(self, client: docker.DockerClient, version: str) -> None:
        self.client = client
        self.version = version

    def ask(
        self, method: str, path: str, query: Query | None = None, body: Mapping[str, object] | None = None
    ) -> object:
        options: dict[str, object] = {} if body is None else {"json": body}
        answer = self._answer(method, path, query, options)
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError:
            raise Unanswered("it broke off") from None

    def fetch(self, path: str, query: Query, read: Callable[[BinaryIO], Result]) -> Result:
        return read(io.BytesIO(self._answer("GET", path, query, {})))

    def _answer(self, method: str, path: str, query: Query | None, options: Mapping[str, object]) -> bytes:
        api = self.client.api
        url = f"{api.base_url}/v{self.version}{quote(path, safe='/:')}"
        try:
            # the SDK's own way, with the headers that config.json gives
            answer = getattr(api, f"_{method.lower()}")(url, params=dict(query or {}), **options)
        except TROUBLE as error:
            raise Unanswered(short(error)) from None
        if answer.status_code >= 400:
            raise Refused(answer.status_code, refusal(answer.content) or short(str(answer.reason)))
        return bytes(answer.content)


def first_contact(address: Address) -> tuple[SdkApi, Mapping[str, Any]]:
    """A client for real work and what the engine says of itself; Unanswered if it does not in time."""
    api = open_api(address, ANSWER_SECONDS)
    try:
        server = api.version()
    except TROUBLE as error:
        api.close()
        raise Unanswered(short(error)) from None
    api.timeout = WORK_SECONDS
    return SdkApi(_Client(api), spoken(server)), server


def work_client(address: Address, version: str) -> docker.DockerClient:
    """A client for real work with an engine that answered already; Unanswered if none can be made."""
    return _Client(open_api(address, WORK_SECONDS, version))


def pings(address: Address, seconds: int) -> bool:
    """Whether an engine answers at `address` in time."""
    try:
        client = open_api(address, seconds)
    except Unanswered:
        return False
    try:
        return bool(client.ping())
    except TROUBLE:
        return False
    finally:
        client.close()


def registry_trouble(error: Exception | str) -> RegistryRefused | RegistrySilent:
    """What a failed question to a registry means, from the words of the engine or the SDK."""
    text = short(error)
    if store := _STORE_TROUBLE.match(text):
        why = (store[1] or text).strip("'\"")
        return RegistryRefused(f"the credential store that Docker's config.json names does not work: {why}")
    return RegistryRefused(text) if _ANSWERED.search(text) else RegistrySilent(text)


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
    path = unix_path(address.url)
    if path is None:
        return ""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_SECONDS)
        try:
            probe.connect(path)
        except OSError as error:
            return error.strerror or str(error)
    return ""
