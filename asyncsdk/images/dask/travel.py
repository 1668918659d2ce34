"""What of a caller's settings may travel to workers, and what is refused, since it can't (pure)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from asyncsdk.errors import ConfigurationError
from asyncsdk.remote.address import local_path, remote_address
from asyncsdk.settings import Settings, parse_headers

_QUERY = {"api-version"}  # Azure's, which is not a secret


def absolute(out: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """The place of the pictures, for a process that has another working directory."""
    if out is None or (isinstance(out, str) and remote_address(out) is not None):
        return out
    return os.path.abspath(local_path(out) if isinstance(out, str) else out)  # noqa: PTH100 - links stay as they are


def client_arguments(
    settings: Settings,
    *,
    timeout: float | None,
    max_retries: int,
    only_here: Sequence[str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The arguments of a worker's client: without the key, and without headers, which may hold one.

    Raises ConfigurationError for what was passed in code and is `only_here`, such as headers, query parameters and a
    proxy: what they are for would be missed. Headers of OPENAI_CUSTOM_HEADERS are set on each worker.
    """
    if only_here:
        raise ConfigurationError(
            f"on Dask, {only_here[0]}= of this client would not be used by workers, which connect by themselves: set "
            "SSL_CERT_FILE and HTTPS_PROXY on each worker. Nothing was sent."
        )
    ours = parse_headers(environment.get("OPENAI_CUSTOM_HEADERS", "").splitlines())
    headers = sorted(name for name, value in settings.headers.items() if ours.get(name) != value)
    if headers or settings.query.keys() - _QUERY:
        what = f"the header {headers[0]}" if headers else "default_query"
        raise ConfigurationError(
            f"on Dask, {what} of this client would not be sent by workers: it may hold a key, and keys do not travel. "
            "Set OPENAI_CUSTOM_HEADERS on each worker and here. Nothing was sent."
        )
    return {
        "base_url": settings.base_url,
        "auth": settings.auth or "bearer",
        "organization": settings.organization,
        "project": settings.project,
        "default_query": dict(settings.query),
        "timeout": timeout,
        "max_retries": max_retries,
    }


def check_fit(*, has_save: bool, has_out: bool, is_shared: bool, has_remote_options: bool) -> None:
    """Raise ConfigurationError for what a run on workers can't have, or lacks."""
    if has_save:
        problem = "save= is a function of this process, which workers don't have: give out= instead"
    elif not has_out:
        problem = "workers need out=, where the pictures go: a bucket, or a directory that all of them share"
    elif not is_shared:
        problem = (
            "the ledger has to be in a database, which alone keeps workers from paying an edit twice: "
            "ledger='postgresql://…', or ASYNCSDK_LEDGER"
        )
    elif has_remote_options:
        problem = "remote_options= may hold credentials, which do not travel: set obstore's variables on each worker"
    else:
        return
    raise ConfigurationError(f"a run on Dask: {problem}. Nothing was sent.")
