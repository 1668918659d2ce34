"""The border where aiohttp's errors become ours: what happened on the way, and what to do about it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from asyncsdk.call import Call
from asyncsdk.errors import APIConnectionError, APIError, APITimeoutError, CertificateError, ConfigurationError


@contextmanager
def as_ours(call: Call) -> Iterator[None]:
    """Raise what went wrong within as an error of this package, its cause chained."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        failure = None if call.body is None else call.body.failure
        if isinstance(failure, APITimeoutError):
            raise APITimeoutError(f"{call.name}: {failure}", request=call.name) from error
        if failure is not None:
            raise failure from failure.__cause__
        raise translate(error, call) from error


def translate(error: aiohttp.ClientError | OSError, call: Call) -> APIError | ConfigurationError:
    """The error of ours that `error` stands for (pure)."""
    where = f"{call.url.host}:{call.url.port}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return CertificateError(_distrust(error.certificate_error, where), request=call.name, sent=False)
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError(f"{call.url.host!r} is no host that can be asked. Nothing was sent.")
    if isinstance(error, aiohttp.ClientConnectorError | ssl.SSLError):
        reason = getattr(error, "os_error", error)
        text = f"{call.name}: can't connect to {where} ({reason.strerror or reason}). Nothing was sent."
        return APIConnectionError(text, request=call.name, sent=False)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return APITimeoutError(f"{call.name}: can't connect to {where}: no answer there", request=call.name, sent=False)
    if isinstance(error, TimeoutError):
        return APITimeoutError(f"{call.name}: no answer within {call.answer_limit:g} s", request=call.name)
    if isinstance(error, aiohttp.ClientPayloadError):
        return APIConnectionError(f"{call.name}: the answer was cut off", request=call.name)
    return APIConnectionError(
        f"{call.name}: the connection was lost ({error or type(error).__name__})", request=call.name
    )


def _distrust(error: Exception, where: str) -> str:
    reason = getattr(error, "verify_message", "") or str(error)
    return (
        f"can't trust {where}: {reason}. If your network re-signs TLS, get its root certificate as PEM and name it in "
        "SSL_CERT_FILE (or --ca-file, or ssl=asyncsdk.trusting(path)). Nothing was sent."
    )
