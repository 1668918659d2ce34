"""The border where aiohttp's errors become ours: what happened on the way, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from asyncsdk.errors import APIConnectionError, APITimeoutError, CertificateError
from asyncsdk.http.call import Call


@contextmanager
def as_ours(call: Call) -> Iterator[None]:
    """Raise what went wrong within as an error of this package, its cause chained."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        _forget_secrets(error)
        failure = call.failure
        if isinstance(failure, APITimeoutError):
            raise APITimeoutError(f"{call.name}: {failure}", request=call.name) from error
        if failure is not None:
            raise failure from failure.__cause__
        raise translate(error, call) from error


def translate(error: aiohttp.ClientError | OSError, call: Call) -> APIConnectionError:
    """The error of ours that `error` stands for (pure)."""
    where, name = f"{call.url.host}:{call.url.port}", call.name
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return CertificateError(_distrust(error.certificate_error, where), request=name, sent=False)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        text = f"{name}: the proxy does not let us through to {where} ({error.status})"
        return APIConnectionError(f"{text}. Nothing was sent.", request=name, sent=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        via = "the proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
        text = f"{name}: can't connect to {via}{error.host}:{error.port} ({error.strerror or error.os_error})"
        return APIConnectionError(f"{text}. Nothing was sent.", request=name, sent=False)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        text = f"{name}: can't connect to {where}: no answer there. Nothing was sent."
        return APITimeoutError(text, request=name, sent=False)
    if isinstance(error, TimeoutError):
        return APITimeoutError(f"{name}: no answer within {call.answer_limit:g} s", request=name)
    if isinstance(error, aiohttp.ClientPayloadError):
        return APIConnectionError(f"{name}: the answer was cut off", request=name)
    if isinstance(error, aiohttp.ClientResponseError):
        return APIConnectionError(f"{name}: what came back is no HTTP", request=name)
    why = getattr(error, "strerror", None) or "it was closed before an answer came"
    return APIConnectionError(f"{name}: the connection was lost ({why})", request=name, sent=call.was_sent)


def _distrust(error: Exception, where: str) -> str:
    reason = getattr(error, "verify_message", "") or str(error)
    return (
        f"can't trust {where}: {reason}. If your network re-signs TLS, get its root certificate as PEM and name it in "
        "SSL_CERT_FILE (or --ca-file, or ssl=asyncsdk.trusting(path)). Nothing was sent."
    )


def _forget_secrets(error: BaseException) -> None:
    """Aiohttp keeps the request's headers, and what the server echoed of them, where a repr would show the key."""
    if isinstance(error, aiohttp.ClientResponseError):
        error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict[str]()))
        error.headers, error.message, error.args = None, "", (error.request_info, error.history)
        error.__cause__ = error.__context__ = None
    if isinstance(error, aiohttp.ServerDisconnectedError):
        error.message, error.args = "Server disconnected", ("Server disconnected",)
