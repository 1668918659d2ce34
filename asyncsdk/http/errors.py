"""Translates aiohttp and OS errors into APIConnectionError and its subclasses."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    CertificateError,
    CredentialError,
)
from asyncsdk.http.request import PreparedRequest

_UNKNOWN = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_PLAIN = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}  # by OpenSSL's age
_NO_TLS = "{where} responds without TLS. Should the base URL begin with http://? Nothing was sent."
_CHECK = "Check the base URL, the network, and the proxy if you use one."
_NO_NAME = "the name {host} is not known. Is the base URL misspelt, or is this machine offline? Nothing was sent."


@contextmanager
def translating_errors(call: PreparedRequest) -> Iterator[None]:
    """Raise what goes wrong within as an error of this package, with its cause."""
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


def translate(error: aiohttp.ClientError | OSError, call: PreparedRequest) -> APIConnectionError:
    """Return the error of this package for `error` (pure)."""
    where, name = f"{call.url.host}:{call.url.port}", call.name
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return CertificateError(_distrust(error.certificate_error, where), request=name, sent=False)
    if isinstance(error, aiohttp.ClientConnectorSSLError) and (
        isinstance(error.os_error, ssl.SSLError) and error.os_error.reason in _PLAIN
    ):
        return _not_resumable(APIConnectionError(f"{name}: {_NO_TLS.format(where=where)}", request=name, sent=False))
    if isinstance(error, aiohttp.ClientConnectorDNSError) and (  # some resolvers say so without a network: it may pass
        isinstance(error.os_error, socket.gaierror) and error.os_error.errno in _UNKNOWN
    ):
        return APIConnectionError(f"{name}: {_NO_NAME.format(host=error.host)}", request=name, sent=False)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        text = f"{name}: the proxy does not let us through to {where} ({error.status})"
        return APIConnectionError(f"{text}. Nothing was sent.", request=name, sent=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        via = "the proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
        text = f"{name}: can't connect to {via}{error.host}:{error.port} ({_why(error)}). Nothing was sent. {_CHECK}"
        return APIConnectionError(text, request=name, sent=False)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        text = f"{name}: can't connect to {where}: no response there. Nothing was sent. {_CHECK}"
        return APITimeoutError(text, request=name, sent=False)
    if isinstance(error, TimeoutError):
        return APITimeoutError(f"{name}: no response within {call.response_timeout:g} s", request=name)
    if isinstance(error, aiohttp.ClientPayloadError):
        return APIConnectionError(f"{name}: the response was cut off", request=name)
    if isinstance(error, aiohttp.ClientResponseError):
        return APIConnectionError(f"{name}: the response is not valid HTTP", request=name)
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error  # aiohttp's words have the whole URL
    why = getattr(cause, "strerror", None) or "it was closed before a response came"
    return APIConnectionError(f"{name}: the connection was lost ({why})", request=name, sent=call.was_sent)


def _why(error: aiohttp.ClientConnectorError) -> str:
    """`Connection refused`, where asyncio says "Connect call failed ('127.0.0.1', 1)".

    Only an error of the system has a number that `strerror` knows: those of TLS and of name look-ups have their own.
    """
    cause = error.os_error
    code = cause.errno or 0
    if isinstance(cause, ssl.SSLError | socket.gaierror) or code not in errno.errorcode:
        return str(error.strerror or cause)
    return os.strerror(code)


def in_short(error: APIError) -> str:
    """Why a request is sent again, in a few words (pure): `the server responded with 503`."""
    if isinstance(error, APIStatusError):
        return f"the server responded with {error.status_code}"
    if isinstance(error, CredentialError):
        return "no key could be fetched"
    if isinstance(error, APIResponseValidationError):
        return "the server's response can't be used"
    return "the server's name can't be looked up" if has_no_address(error) else "no connection"


def has_no_address(error: BaseException) -> bool:
    """Whether the look-up of the server's name failed (pure)."""
    return isinstance(error.__cause__, aiohttp.ClientConnectorDNSError)


def _not_resumable(error: APIConnectionError) -> APIConnectionError:
    error.resumable = False
    return error


def _distrust(error: Exception, where: str) -> str:
    reason = getattr(error, "verify_message", "") or str(error)
    return (
        f"can't trust {where}: {reason}. If your network re-signs TLS, get its root certificate as PEM and set it as "
        "SSL_CERT_FILE (or --ca-file, or ssl=asyncsdk.create_ssl_context(path)). Nothing was sent."
    )


def _forget_secrets(error: BaseException) -> None:
    """Aiohttp keeps the request's headers and query, and what the server echoed of them, where a repr shows them."""
    if isinstance(error, aiohttp.ClientResponseError):
        info = error.request_info
        bare, real = (url.with_query(None).with_fragment(None) for url in (info.url, info.real_url))
        error.request_info = info._replace(url=bare, real_url=real, headers=CIMultiDictProxy(CIMultiDict[str]()))
        error.headers, error.message, error.args = None, "", (error.request_info, error.history)
        error.__cause__ = error.__context__ = None
    if isinstance(error, aiohttp.ServerDisconnectedError):
        error.message, error.args = "Server disconnected", ("Server disconnected",)
