"""Opens the client for a command's connection options and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from asyncsdk.cli.key_command import key_from
from asyncsdk.cli.options import Connection
from asyncsdk.client import Client
from asyncsdk.errors import ConfigurationError
from asyncsdk.http.connection import create_ssl_context
from asyncsdk.settings import checked_base_url, parse_headers

_SECRET = re.compile(
    r"authori[sz]ation|cookie|secret|token|password|signature|credential|(^|[-_])(api[-_]?)?key$|^sig$", re.IGNORECASE
)


_ON_EACH_WORKER = {"key_command": "OPENAI_API_KEY", "ca_file": "SSL_CERT_FILE", "proxy": "HTTPS_PROXY"}
NOT_SENT = "the-key-of-each-worker"  # in the place of a key, where workers send and each has its own


def open_client(choice: Connection, *, connections: int = 100, on_workers: bool = False, **options: Any) -> Client:
    """A client of Azure if only Azure is configured, else of OpenAI or a compatible server.

    To Azure a key from a command is a token (bearer). `on_workers`: it sends nothing, so it needs no key.

    Raises ConfigurationError in the words of the command line.
    """
    if on_workers:
        _check_for_workers(choice)
    if choice.base_url:
        checked_base_url(choice.base_url, "--base-url")
    options |= {
        "connections": max(100, connections),
        "default_headers": _headers(choice.header),
        "default_query": dict(_split(pair) for pair in choice.query),
        "ssl": None if choice.ca_file is None else create_ssl_context(choice.ca_file),
    }
    if choice.proxy is not None:
        options["proxy"] = _without_password(choice.proxy)
    if choice.max_retries is not None:
        options["max_retries"] = choice.max_retries
    key = None if choice.key_command is None else key_from(choice.key_command)
    if means_azure(os.environ, choice):
        if choice.auth:
            raise ConfigurationError(
                "--auth needs --base-url; with AZURE_OPENAI_ENDPOINT the kind of key decides. Nothing was sent."
            )
        if on_workers:
            options["token" if os.environ.get("AZURE_OPENAI_AD_TOKEN") else "api_key"] = NOT_SENT
            return Client.azure(**options)
        return Client.azure(token=key, **options)
    if key is None and not on_workers and not os.environ.get("OPENAI_API_KEY"):
        raise ConfigurationError(
            "no API key: set OPENAI_API_KEY (or AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY), or give "
            "--key-command. Nothing was sent."
        )
    return Client(NOT_SENT if on_workers else key, base_url=choice.base_url, auth=choice.auth or "bearer", **options)


def _check_for_workers(choice: Connection) -> None:
    for option, variable in _ON_EACH_WORKER.items():
        if getattr(choice, option):
            raise ConfigurationError(
                f"--{option.replace('_', '-')} is for this machine, and with --dask it is the workers that send: set "
                f"{variable} on each of them. Nothing was sent."
            )


def means_azure(environment: Mapping[str, str], choice: Connection) -> bool:
    """Whether Azure is configured and OpenAI is not."""
    elsewhere = choice.base_url or environment.get("OPENAI_API_KEY")
    return bool(environment.get("AZURE_OPENAI_ENDPOINT")) and not elsewhere


def _headers(lines: tuple[str, ...]) -> dict[str, str]:
    headers = parse_headers(list(lines))
    for name in headers:
        if _SECRET.search(name):
            raise ConfigurationError(
                f"--header {name}: all users of this machine can see a key on the command line. "
                "Set OPENAI_API_KEY instead (with --auth api-key if the server expects that header), or put the header "
                "in OPENAI_CUSTOM_HEADERS. Nothing was sent."
            )
    return headers


def _without_password(proxy: str) -> str:
    if "@" in proxy:
        raise ConfigurationError(
            "--proxy: all users of this machine can see a password on the command line. Set HTTPS_PROXY to the proxy "
            "with its user and password instead. Nothing was sent."
        )
    return proxy


def _split(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    if _SECRET.search(name):
        raise ConfigurationError(
            f"--query {name}: all users of this machine can see a key on the command line, and every server on the "
            "way can see one in a URL. Send it as a header in OPENAI_CUSTOM_HEADERS. Nothing was sent."
        )
    return name, value
