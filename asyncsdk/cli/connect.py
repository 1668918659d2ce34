"""The client that the options and the environment ask for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from asyncsdk.cli.options import Connection
from asyncsdk.client import Client
from asyncsdk.errors import ConfigurationError
from asyncsdk.http.connection import create_ssl_context
from asyncsdk.settings import checked_base_url, parse_headers

_SECRET = re.compile(
    r"authori[sz]ation|cookie|secret|token|password|signature|credential|(^|[-_])(api[-_]?)?key$|^sig$", re.IGNORECASE
)


def open_client(asked: Connection, *, connections: int = 100, **options: Any) -> Client:
    """A client of Azure where only Azure is set up, else of OpenAI or of what speaks like it.

    Raises ConfigurationError in the words of the command line.
    """
    if asked.base_url:
        checked_base_url(asked.base_url, "--base-url")
    options |= {
        "connections": max(100, connections),
        "default_headers": _headers(asked.header),
        "default_query": dict(_split(pair) for pair in asked.query),
        "ssl": None if asked.ca_file is None else create_ssl_context(asked.ca_file),
    }
    if means_azure(os.environ, asked):
        if asked.auth:
            raise ConfigurationError("--auth goes with --base-url; for AZURE_OPENAI_ENDPOINT the key's kind decides.")
        return Client.azure(**options)
    if not os.environ.get("OPENAI_API_KEY"):
        raise ConfigurationError(
            "no API key: set OPENAI_API_KEY (or AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY). Nothing was sent."
        )
    return Client(base_url=asked.base_url, auth=asked.auth or "bearer", **options)


def means_azure(environment: Mapping[str, str], asked: Connection) -> bool:
    """Whether Azure is set up and nothing says OpenAI."""
    elsewhere = asked.base_url or environment.get("OPENAI_API_KEY")
    return bool(environment.get("AZURE_OPENAI_ENDPOINT")) and not elsewhere


def _headers(lines: tuple[str, ...]) -> dict[str, str]:
    headers = parse_headers(list(lines))
    for name in headers:
        if _SECRET.search(name):
            raise ConfigurationError(
                f"--header {name}: a key on the command line is seen by all users of this machine; "
                "set OPENAI_API_KEY (and --auth api-key where that header is meant), or any other header in "
                "OPENAI_CUSTOM_HEADERS. Nothing was sent."
            )
    return headers


def _split(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    if _SECRET.search(name):
        raise ConfigurationError(
            f"--query {name}: a key on the command line is seen by all users of this machine, and in a URL by every "
            "server on the way; set it as a header in OPENAI_CUSTOM_HEADERS. Nothing was sent."
        )
    return name, value
