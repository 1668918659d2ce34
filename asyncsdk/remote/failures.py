"""The border where obstore's errors become ours: it is the store's side, what to do next, and no secret (pure).

The text of an error of obstore contains the URL with its query, and what the store answered. None of it is quoted:
a status and a code that is known are read from it.

Reasons: "missing", "no bucket", "denied", "no credentials", "changed", "exists", "empty", "too large", "no ranges", "no
listing", "bad name", "bad options", "cut off", "stalled", "unreachable", "failed".
"""

from __future__ import annotations

import re

from asyncsdk.errors import AsyncSDKError, ConfigurationError, RemoteError
from asyncsdk.remote.address import AZURE, RemoteAddress

_STATUS = re.compile(r"\bstatus(?: code)?:\s*(\d{3})\b")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_TIMED_OUT = re.compile(r"\bTimedOut\b|kind: Timeout\b|operation timed out")
_NETWORK = re.compile(
    r"kind: (?:Connect|Request|Interrupted|Timeout)|dns error|ConnectionRefused|ConnectionReset|BrokenPipe"
    r"|IncompleteMessage|connection (?:closed|reset|refused)|error sending request|UnexpectedEof"
)
_CUT_OFF = re.compile(r"IncompleteMessage|end of file before message length|UnexpectedEof|error decoding response body")
_NO_CREDENTIALS = re.compile(  # they were looked for where machines of a cloud find them, or can't be made
    r"/latest/(?:api/token|meta-data/)|/computeMetadata/v1|/metadata/identity/oauth2|\bTokenRequest\b|\bMissing(?:Account|"
    r"AccessKeyId|SecretAccessKey|Credential)|CredentialProvider"
)
_BEYOND_END = re.compile(r"StartTooLarge|Wanted range starting at|InvalidRange")
_NO_HTTP = re.compile(r"URL scheme is not allowed|BadScheme")
_BAD_NAME = "Could not parse path"
_NAMED = re.compile(r"\b[Pp]ath \"((?:[^\"\\]|\\.){1,1024})\"")  # of an object in a listing
_BAD_STORE = "UrlNotRecognised"
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "FilesystemNotFound"})
_WRONG_KEY = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthenticationFailed"}
)
_CREDENTIALS = {
    "s3": (
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL too where "
        "they are needed); ~/.aws is not read, and `aws configure export-credentials --format env` prints them. For a "
        "public bucket set AWS_SKIP_SIGNATURE=true"
    ),
    "gs": (
        "Set GOOGLE_APPLICATION_CREDENTIALS, or log in with `gcloud auth application-default login`. For a public "
        "bucket set GOOGLE_SKIP_SIGNATURE=true"
    ),
    "az": (
        "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or what else obstore reads. For a public "
        "container set AZURE_SKIP_SIGNATURE=true"
    ),
}

_ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "az": "AZURE_ENDPOINT"}
_VARIABLES = {"s3": "AWS_…", "gs": "GOOGLE_APPLICATION_CREDENTIALS and other GOOGLE_…", "az": "AZURE_…"}

_BY_KIND = {
    "FileNotFoundError": "missing",
    "NotFoundError": "missing",
    "PreconditionError": "changed",
    "AlreadyExistsError": "exists",
    "UnauthenticatedError": "no credentials",
    "PermissionDeniedError": "denied",
    "InvalidPathError": "bad name",
    "UnknownConfigurationKeyError": "bad options",
    "TypeError": "bad options",
    "ValueError": "bad options",
    "NotSupportedError": "no ranges",
    "NotImplementedError": "no ranges",
}
_BY_STATUS = {401: "no credentials", 403: "denied", 404: "missing", 405: "no ranges", 412: "changed", 416: "empty"}


def failure_of(error: Exception, address: RemoteAddress) -> RemoteError:
    """What an error of obstore about `address` means. Raise it where `error` is not its context, which has secrets."""
    text = str(error)
    match = _STATUS.search(text)
    status = None if match is None else int(match[1])
    if _NO_CREDENTIALS.search(text):
        return _no_credentials(address, "needs credentials, and none were found")
    reason = _reason(type(error).__name__, status, text)
    if reason == "bad name":
        found = _NAMED.search(text)
        return bad_name(address, found[1] if found else "")
    if reason in _WORDED:
        return _WORDED[reason](address)
    if reason == "no credentials":
        return _no_credentials(address, "does not accept the credentials")
    if status is not None:
        return _answered(address, status)
    return _unreachable(address, text)


def _reason(kind: str, status: int | None, text: str) -> str | None:
    match = _CODE.search(text)
    code = match[1] if match else ""
    if code in _NO_BUCKET:
        return "no bucket"
    if code in _WRONG_KEY:
        return "no credentials"
    if _NO_HTTP.search(text):
        return "no TLS"
    if text.startswith(_BAD_NAME):
        return "bad name"
    if _BAD_STORE in text:
        return "bad options"
    if _BEYOND_END.search(text):
        return "empty"
    return _BY_KIND.get(kind) or _BY_STATUS.get(status or 0)


def missing(address: RemoteAddress) -> RemoteError:
    """The error for an object that is not there."""
    hint = "" if address.is_web else "; a folder is given with a slash at its end"
    if hint and "*" in address.path:
        hint = "; * is not a pattern in a URL: give the folder, with a slash at its end (upload has --include for it)"
    return _failure(address, "missing", f"{address} does not exist: {address.store} has no object of that name{hint}.")


def no_bucket(address: RemoteAddress) -> RemoteError:
    """The error for a bucket that is not there."""
    what = "container" if address.scheme in AZURE else "bucket"
    message = f"the {what} {address.store} does not exist. Look at its name, and at the account and the endpoint."
    return _failure(address, "no bucket", message)


def changed(address: RemoteAddress) -> RemoteError:
    """The error for an object that was replaced while it was being read."""
    return _failure(address, "changed", f"{address} was replaced in its store while it was being read.", again=True)


def cut_off(address: RemoteAddress, wanted: int, came: int) -> RemoteError:
    """The error for an answer with fewer bytes than it announced."""
    message = f"{address.store} sent {came:,} of {wanted:,} bytes of {address.name}: its answer was cut off."
    return _failure(address, "cut off", message, again=True)


def too_large(address: RemoteAddress, size: int, limit: int) -> RemoteError:
    """The error for an object that is not read into memory."""
    return _failure(address, "too large", f"{address} has {size:,} bytes, and at most {limit:,} are read here.")


def no_name(address: RemoteAddress) -> RemoteError:
    """The error for a folder where an object is meant."""
    return _failure(address, "bad name", f"{address} is a folder: the name of an object is missing.")


def bad_name(address: RemoteAddress, name: str = "") -> RemoteError:
    """The error for a name that can't be asked for; `name` is that of the object in a listing, where it is known."""
    odd = "an empty part, '.', '..' or a control character in it, which can't be asked for"
    which = f"object '{name}'" if name else "an object"
    message = (
        f"{address} can't be listed: {which} below it has a name with {odd}. Give a folder further down, or the "
        "others by their URLs (--files-from LIST, or a job file)."
        if address.is_prefix
        else f"{address} can't be used: its name has {odd}. Download it with the store's own tools."
    )
    return _failure(address, "bad name", message)


def no_listing(address: RemoteAddress) -> RemoteError:
    """The error for a folder of a web server."""
    message = f"{address} is a folder of a web server, which can't be listed. Give the URLs of the files themselves."
    return _failure(address, "no listing", message)


def _empty(address: RemoteAddress) -> RemoteError:
    return _failure(address, "empty", f"{address} is empty.")


def exists(address: RemoteAddress) -> RemoteError:
    """The error for an object that is there already, where none was to be replaced."""
    return _failure(address, "exists", f"{address} is there already, and was not replaced.")


def bad_options(address: RemoteAddress) -> RemoteError:
    """The error for settings of which obstore takes one not; their values are not quoted."""
    variables = "those of a proxy" if address.is_web else _VARIABLES.get(address.kind, "AWS_…")
    return bad_setting(address, f"look at the environment variables ({variables}), or at remote_options=")


def bad_setting(address: RemoteAddress, problem: str) -> RemoteError:
    """The error for a setting; `problem` has its name and not its value."""
    return _failure(address, "bad options", f"the settings for {address.store} can't be used: {problem}.")


def _no_tls(address: RemoteAddress) -> RemoteError:
    message = (
        f"the endpoint of {address.store} has http://, which is refused unless it is allowed: set AWS_ALLOW_HTTP=true "
        "(AZURE_ALLOW_HTTP, GOOGLE_ALLOW_HTTP), or remote_options={'client_options': {'allow_http': True}}."
    )
    return _failure(address, "bad options", message)


def _unsupported(address: RemoteAddress) -> RemoteError:
    message = (
        f"{address.store} does not send a part of {address.name or 'a file'} where a part is asked for. Download it "
        "first, or pass the response as a stream."
        if address.is_web
        else f"{address.store} does not support what is needed here."
    )
    return _failure(address, "no ranges", message)


def _denied(address: RemoteAddress) -> RemoteError:
    if address.is_web:
        hint = "A presigned URL may have run out; for a private bucket give its own address (s3://, gs://, az://)."
    else:
        hint = "The credentials need the right to read (or to write) this object, and to list where a folder is given."
    return _failure(address, "denied", f"{address.store} denies access to {address.name or 'its list'}. {hint}")


def _no_credentials(address: RemoteAddress, what: str) -> RemoteError:
    hint = _CREDENTIALS.get(address.kind, "Write them into the URL, or pass them by remote_options= as a header")
    return _failure(address, "no credentials", f"{address.store} {what}. {hint}.")


def _answered(address: RemoteAddress, status: int) -> RemoteError:
    again = (status >= 500 and status != 501) or status in {408, 425, 429}
    advice = "Try again later." if again else "It is the store that answered so, not the API."
    return _failure(address, "failed", f"{address.store} answered {status} for {address.name}. {advice}", again=again)


def _unreachable(address: RemoteAddress, text: str) -> RemoteError:
    advice = "Try again later."
    if _TIMED_OUT.search(text):
        what, reason = "gave nothing for too long: the source has stalled, not the connection to the API", "stalled"
    elif _CUT_OFF.search(text):
        what, reason = "ended its answer too soon", "cut off"
    elif "InvalidCertificate" in text or "UnknownIssuer" in text:
        trust = "Set SSL_CERT_FILE to a file of those to trust."
        return _failure(address, "unreachable", f"the certificate of {address.store} is not trusted. {trust}")
    elif _NETWORK.search(text):
        what, reason = "can't be reached, or the connection to it was lost", "unreachable"
        if address.kind in _ENDPOINTS:
            advice = f"Look at its endpoint ({_ENDPOINTS[address.kind]}) and at the network, or try again later."
    else:
        return _failure(address, "failed", f"{address.store} can't be used: obstore gave an error that is not known.")
    return _failure(address, reason, f"{address.store} {what}. {advice}", again=True)


def remote_error(message: str, url: str, reason: str, *, again: bool = False) -> RemoteError:
    """The error of a store; `again`: another try may do."""
    failure = RemoteError(message, url=url, reason=reason)
    failure.resumable = again
    return failure


def before_sending(
    error: RemoteError, problem: str = "", kind: type[AsyncSDKError] = ConfigurationError
) -> AsyncSDKError:
    """`error` as one from before anything was sent: again a RemoteError where another try may do, else of `kind`.

    `problem` goes before its text.
    """
    message = f"{problem}{error} Nothing was sent."
    return remote_error(message, error.url, error.reason, again=True) if error.resumable else kind(message)


def _failure(address: RemoteAddress, reason: str, message: str, *, again: bool = False) -> RemoteError:
    return remote_error(message, address.shown, reason, again=again)


_WORDED = {
    "missing": missing,
    "no bucket": no_bucket,
    "changed": changed,
    "exists": exists,
    "denied": _denied,
    "bad options": bad_options,
    "no TLS": _no_tls,
    "no ranges": _unsupported,
    "empty": _empty,
}
