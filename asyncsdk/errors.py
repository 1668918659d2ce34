"""Everything a caller can catch (pure). Names that openai-python has too mean the same thing there.

::

    AsyncSDKError
    ├─ ConfigurationError            a setting or argument is wrong; nothing was sent
    ├─ UnusableClientError           a client is closed, or used on two event loops at once
    ├─ InvalidRequestError           a file, an image or a field breaks a rule; nothing was sent
    │  ├─ SourceError                the file itself can't be uploaded
    │  └─ InvalidEditError           an image or a field of an edit breaks a rule
    ├─ APIError                      a request and what became of it
    │  ├─ APIConnectionError         no response came
    │  │  ├─ APITimeoutError         … within its limit, or no byte moved for too long
    │  │  ├─ CertificateError        the server could not prove its identity
    │  │  └─ CredentialError         the function that returns the key failed, or took too long; nothing was sent
    │  ├─ RedirectError              a response pointed elsewhere; keys are not sent there, and no POST is repeated
    │  ├─ APIResponseValidationError a response came that can't be read
    │  │  ├─ NotTheAPIError          a web page or the like: the address is not the API's
    │  │  └─ ResponseMismatchError   the response to another request, such as a gateway that swapped two
    │  └─ APIStatusError             the server refused
    │     ├─ BadRequestError           400
    │     │  └─ ModerationBlockedError   the safety system refused the prompt, an image or the result
    │     ├─ AuthenticationError       401
    │     ├─ PermissionDeniedError     403
    │     ├─ NotFoundError             404
    │     ├─ ConflictError             409
    │     ├─ PayloadTooLargeError      413
    │     ├─ UnprocessableEntityError  422
    │     ├─ RateLimitError            429
    │     │  └─ QuotaExceededError       out of money or credit: waiting won't help
    │     └─ InternalServerError       500 and above
    ├─ UploadError                   the upload as a whole
    │  ├─ SourceChangedError         the file changed while it was uploaded; nothing was completed
    │  ├─ UploadBusyError            another process is uploading the same file
    │  ├─ UploadNotFoundError        the server does not know an upload that it accepted in this run
    │  ├─ UploadExpiredError         the server dropped the upload when its time ran out
    │  ├─ UploadTooSlowError         at the measured rate it can't finish before the server drops it
    │  └─ CompletionUnknownError     complete was sent, its response lost, the file not found yet
    ├─ FileProcessingError           a file is on the server, and is not processed
    ├─ EditError                     an image edit, or a run of them
    │  ├─ ChargeUnknownError         it was sent and its response lost: it may have been paid
    │  ├─ SaveError                  it was paid and done, and its images can't be saved
    │  └─ LimitReachedError          a limit that you set stopped the run
    ├─ RemoteError                   a bucket or web server, not the API, can't be read or written
    └─ StorageError                  the local record of what was done can't be written or read
       ├─ JournalError               the journal of uploads
       │  └─ JournalVersionError     a newer asyncsdk wrote it
       └─ LedgerError                the ledger of edits, beside their images
          ├─ LedgerBusyError         another process is editing into the same directory
          ├─ LedgerRewoundError      the database that holds it has lost what it had acknowledged
          └─ LedgerDamagedError      some of it is not as it was written: what it recorded may be paid again
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from asyncsdk import pickling
from asyncsdk.error_details import LedgerDamage, PaidImages, shortened, wrong_address
from asyncsdk.events import Progress


class AsyncSDKError(pickling.PicklableError):
    """The root of the tree. All fields but the first are set where the error ended an upload.

    Attributes:
        resumable: Whether the same call may be repeated: it goes on, or begins again, and nothing is made twice. Of a
            bare request of `Client.send`: whether it may pass later.
        progress, upload_id, advice: How far the upload was, the server's id of it, and what to do next.
        bytes_done, expires_in: How many bytes of it the journal holds; for how many seconds the server keeps them.
    """

    resumable: bool = False
    progress: Progress | None = None
    upload_id: str | None = None
    bytes_done: int = 0
    expires_in: float | None = None
    advice: str = ""


class ConfigurationError(AsyncSDKError, ValueError):
    """A setting or an argument is wrong. Nothing was sent."""


class UnusableClientError(AsyncSDKError, RuntimeError):
    """A client is closed, or used on a second event loop. Nothing was sent, but of an upload that was under way."""


class InvalidRequestError(AsyncSDKError, ValueError):
    """What should be sent breaks a rule. Nothing was sent."""


class SourceError(InvalidRequestError):
    """The source can't be uploaded: missing, empty, too large, unreadable or not a regular file. Nothing was sent."""


class InvalidEditError(InvalidRequestError):
    """An image or a field of an edit breaks a rule: the message names all three. Nothing was sent."""

    reason: str = ""  # in a word or two, such as "too large", for who counts them


class APIError(AsyncSDKError):
    """A request and what became of it. A server's text is cut at 8,192 characters, with a note of how long it was.

    Attributes:
        message: What happened.
        request: The call, such as `POST /uploads/{upload_id}/parts`.
    """

    def __init__(self, message: str, *, request: str = "") -> None:
        self.message, self.request = shortened(message), request
        super().__init__(self.message)


class APIConnectionError(APIError):
    """No response came: no connection was made, or it was lost. `sent`: the server may have seen the request."""

    resumable = True

    def __init__(self, message: str, *, request: str = "", sent: bool = True) -> None:
        super().__init__(message, request=request)
        self.sent = sent


class APITimeoutError(APIConnectionError):
    """No response came within the request's limit, or no byte was acknowledged for too long."""


class CertificateError(APIConnectionError):
    """The server's TLS certificate is not trusted. Nothing was sent."""

    resumable = False


class CredentialError(APIConnectionError):
    """The function that returns the key, or `--key-command`, failed or took too long. Nothing was sent."""


class RedirectError(APIError):
    """The response points elsewhere and was not followed. `may_have_acted`: the server may have done the request."""

    def __init__(self, message: str, *, request: str = "", may_have_acted: bool = False) -> None:
        super().__init__(message, request=request)
        self.may_have_acted = may_have_acted


class APIResponseValidationError(APIError):
    """The response is not what the API promises, such as HTML, cut JSON, or an object without an id."""

    def __init__(
        self, message: str, *, request: str = "", status_code: int = 200, body: object = None,
        request_id: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, request=request)
        self.status_code, self.body, self.request_id = status_code, body, request_id


class NotTheAPIError(APIResponseValidationError):
    """A success whose body is not the API's, such as a web page.

    `may_have_acted` is False where nothing at `base_url` has answered as the API so far: then nothing was done.
    """

    may_have_acted: bool = True
    base_url: str = ""

    def __str__(self) -> str:
        return self.message if self.may_have_acted else f"{self.message}\n  {wrong_address(self.base_url)}"


class ResponseMismatchError(APIResponseValidationError):
    """The response belongs to another request: something on the way swapped two. It is not used."""

    resumable = True


class APIStatusError(APIError):
    """The server refused the request.

    Attributes:
        status_code, headers: The response's HTTP status and headers.
        type, code, param: The server's word for the kind of error, its code, and the field that is wrong.
        request_id: The server's name for the request.
        body: The response's `error` object, else all of it. Above 8,192 characters: its four texts, or its beginning.
        retry_after: Seconds that the server asked to wait, where it did (`Retry-After`, `retry-after-ms`).
    """

    def __init__(
        self, message: str, *, status_code: int, request: str = "", request_id: str | None = None, body: object = None,
        type: str | None = None, code: str | None = None, param: str | None = None,  # noqa: A002 - the API's own name
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, request=request)
        self.status_code, self.type, self.code, self.param = status_code, type, code, param
        self.request_id, self.body, self.headers = request_id, body, headers or {}
        self.retry_after: float | None = None


class BadRequestError(APIStatusError):
    """400: the request is wrong."""


class ModerationBlockedError(BadRequestError):
    """The safety system refused the edit, at `stage` "input" or "output"; repeating it won't help."""

    stage: str | None = None
    categories: tuple[str, ...] = ()


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or revoked. `renewable`: it is from a function, which is asked once more."""

    renewable: bool = False


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this."""


class NotFoundError(APIStatusError):
    """404: no such object, or one that belongs to another project."""


class ConflictError(APIStatusError):
    """409: something else is happening to the object."""

    resumable = True


class PayloadTooLargeError(APIStatusError):
    """413: the server, or something before it, accepts smaller requests only."""


class UnprocessableEntityError(APIStatusError):
    """422: understood and refused."""


class RateLimitError(APIStatusError):
    """429: too many requests for now."""

    resumable = True


class QuotaExceededError(RateLimitError):
    """The account is out of quota or credit: waiting won't help."""

    resumable = False


class InternalServerError(APIStatusError):
    """500 and above: the server failed."""

    resumable = True


class UploadError(AsyncSDKError):
    """An upload as a whole can't go on. `upload_id` names it once there is one."""

    def __init__(self, message: str, *, upload_id: str | None = None) -> None:
        super().__init__(message)
        self.upload_id = upload_id


class SourceChangedError(UploadError):
    """The file changed while it was uploaded. No file was made; the same call sends what changed."""

    resumable = True


class UploadBusyError(UploadError):
    """Another process is uploading the same file. `pid` and `host` name it, where known; `key` is the journal's."""

    resumable = True
    pid: int | None = None
    host: str | None = None
    key: str | None = None


class UploadNotFoundError(UploadError):
    """The server does not know an upload that it accepted in this run: it was cancelled, or lost there."""

    resumable = True


class UploadExpiredError(UploadError):
    """The server dropped the upload when its time ran out. The same call starts a new one."""

    resumable = True


class UploadTooSlowError(UploadError):
    """At the measured rate the upload can't finish before the server drops it."""


class CompletionUnknownError(UploadError):
    """Complete was sent and its response lost; whether the file was made is not known yet. Call again later."""

    resumable = True


class FileProcessingError(AsyncSDKError):
    """The server could not process a file (`file`), or not in time; then waiting again may help (`resumable`)."""

    file: object = None


class EditError(AsyncSDKError):
    """An image edit, or a run of many, can't go on."""


class ChargeUnknownError(EditError):
    """The edit was sent and its response lost: it may have been paid, and sending it again may pay twice.

    Attributes:
        request_id, status_code: The server's name for the request, and the HTTP status, where an answer came.
        raw, raw_files: What the server sent in place of images, where it can't be used, and the files that hold it.
    """

    request_id: str | None = None
    status_code: int | None = None
    raw: tuple[bytes, ...] = ()
    raw_files: tuple[PurePath, ...] = ()


class SaveError(EditError):
    """The edit is done and paid, and not all of its images are kept.

    Attributes:
        result: The EditResult, with the images that came; `in_memory` if one of them is there alone.
        files, urls: The images on disk; where the server keeps others, for 60 minutes.
        raw: What came in place of an image; `raw_files` hold it.
        code: "not_delivered" where the images wait on this machine for the way to their bucket.
    """

    result: PaidImages | None = None
    in_memory: bool = False
    files: tuple[PurePath, ...] = ()
    urls: tuple[str, ...] = ()
    raw: tuple[bytes, ...] = ()
    raw_files: tuple[PurePath, ...] = ()
    code: str | None = None


class LimitReachedError(EditError):
    """`max_edits`, `max_tokens` or `max_cost` is reached: no more was sent. With a higher one the same call resumes."""


class RemoteError(AsyncSDKError):
    """A bucket or a web server, not the API, can't be read or written: `url` without secrets, `reason` in two words."""

    def __init__(self, message: str, *, url: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.url, self.reason = url, reason


class StorageError(AsyncSDKError):
    """The local record of what was done can't be written or read."""

    resumable = True


class JournalError(StorageError):
    """The journal can't be written or read; what the server holds is safe. `is_taken_over`: another process goes on."""

    is_taken_over: bool = False


class JournalVersionError(JournalError):
    """A newer asyncsdk wrote the journal, in a format that this version can't read. Nothing was sent."""

    resumable = False


class LedgerError(StorageError):
    """The ledger of edits can't be written or read. Images that are saved are safe. `moved_to`: it was copied there."""

    moved_to: str | None = None
    copied_by: str | None = None  # the attempt that did


class LedgerBusyError(LedgerError):
    """Another process is editing into the same directory. `pid` and `host` name it, where known."""

    pid: int | None = None
    host: str | None = None


class LedgerRewoundError(LedgerError):
    """The ledger's database lost what it had acknowledged, or is another one. A person accepts that, or mends it."""

    resumable = False


class LedgerDamagedError(LedgerError):
    """Some of the ledger (`damage`) is not as written. Nothing was sent; `accept_damage=True` uses what is intact."""

    resumable = False
    damage: tuple[LedgerDamage, ...] = ()
