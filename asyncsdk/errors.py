"""Everything a caller can catch. Names that openai-python has too mean the same thing there.

::

    AsyncSDKError
    ├─ ConfigurationError            a setting or argument is wrong; nothing was sent
    │  ├─ SourceError                the file itself can't be uploaded; nothing was sent
    │  └─ InvalidEditError           a picture or a field of an edit breaks a rule; nothing was sent
    ├─ APIError                      a request and what became of it
    │  ├─ APIConnectionError         no answer came
    │  │  ├─ APITimeoutError         … within its limit, or no byte moved for too long
    │  │  └─ CertificateError        the server could not prove who it is
    │  ├─ RedirectError              an answer pointed elsewhere; keys are not carried there, and no POST repeated
    │  ├─ APIResponseValidationError an answer came that we can't read
    │  │  ├─ NotTheAPIError          a web page or the like: the address is not the API's
    │  │  └─ ResponseMismatchError   the answer to another request, such as a gateway that crossed two
    │  └─ APIStatusError             the server said no
    │     ├─ BadRequestError           400
    │     │  └─ ModerationBlockedError   the safety system refused the prompt, a picture or what came of them
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
    │  ├─ SourceChangedError         the file changed while it went up; nothing was completed
    │  ├─ UploadBusyError            another process is sending this very file
    │  ├─ UploadNotFoundError        the server does not know an upload that it took in this run
    │  ├─ UploadExpiredError         its hour ran out
    │  ├─ UploadExpiresError         at the measured rate its hour won't do
    │  └─ CompletionUnknownError     complete was asked, its answer lost, the file not found yet
    ├─ EditError                     an image edit, or a run of them
    │  ├─ ChargeUnknownError         it was sent and its answer lost: it may have been paid
    │  ├─ SaveError                  it was paid and done, and its pictures can't be saved
    │  └─ LimitReachedError          a limit that you set stopped the run
    └─ JournalError                  the local memory of uploads can't be written or read
       ├─ JournalVersionError        it was written by a newer asyncsdk
       └─ LedgerError                the memory of edits, beside their pictures, can't be written or read
          ├─ LedgerBusyError         another process is editing into this very directory
          └─ LedgerDamagedError      some of it is not as it was written: what it recorded may be paid again
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Self

from asyncsdk.pickling import picklable_fields, with_args

if TYPE_CHECKING:
    from asyncsdk.images.ledger.damage import LedgerDamage
    from asyncsdk.images.result import EditResult
    from asyncsdk.uploads.progress import Progress

LONGEST_TEXT = 8192  # characters of a server's text that an error keeps


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """`text` as an error keeps it: a longer one is cut, and its end is a note of how long it was."""
    if len(text) <= longest:
        return text
    note = f"… ({len(text):,} characters)"
    return text[: longest - len(note)] + note


class AsyncSDKError(Exception):
    """The root of the tree. `resumable` tells whether the same call, made again, goes on.

    What ended an upload tells how far that was (`progress`), its `upload_id`, how many bytes of it the journal holds
    (`bytes_done`), for how many seconds the server keeps them (`expires_in`), and what to do next (`advice`).
    """

    resumable: bool = False
    progress: Progress | None = None
    upload_id: str | None = None
    bytes_done: int = 0
    expires_in: float | None = None
    advice: str = ""

    def __copy__(self) -> Self:
        copy = with_args(type(self), self.args)
        vars(copy).update(vars(self))
        copy.__cause__, copy.__context__, copy.__traceback__ = self.__cause__, self.__context__, self.__traceback__
        copy.__suppress_context__ = self.__suppress_context__
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker pools: rebuilt with its fields and cause, without `__init__`; what can't be pickled is left out.

        Else the pool would fail with an error about pickling, and this one would be gone.
        """
        state = {**vars(self), "__cause__": self.__cause__, "__suppress_context__": self.__suppress_context__}
        return with_args, (type(self), self.args), picklable_fields(state, of=type(self), root=AsyncSDKError)


class ConfigurationError(AsyncSDKError, ValueError):
    """A setting or an argument is wrong. Nothing was sent."""


class SourceError(ConfigurationError):
    """The source can't be uploaded: missing, empty, too large, unreadable or no regular file. Nothing was sent."""


class InvalidEditError(ConfigurationError):
    """A picture or a field of an edit breaks a rule: the message names all three. Nothing was sent."""


class APIError(AsyncSDKError):
    """A request and what became of it. `request` names it as `POST /uploads/{upload_id}/parts`.

    Its texts are a server's: each is cut at 8,192 characters, with a note of how long it was.
    """

    def __init__(self, message: str, *, request: str = "") -> None:
        self.message = shortened(message)
        super().__init__(self.message)
        self.request = request


class APIConnectionError(APIError):
    """No answer came: no connection was made, or it was lost. `sent`: the server may have seen the request."""

    resumable = True

    def __init__(self, message: str, *, request: str = "", sent: bool = True) -> None:
        super().__init__(message, request=request)
        self.sent = sent


class APITimeoutError(APIConnectionError):
    """No answer came within the request's limit, or no byte was acknowledged for too long."""


class CertificateError(APIConnectionError):
    """The server's TLS certificate is not trusted. Nothing was sent."""

    resumable = False


class RedirectError(APIError):
    """The answer points elsewhere and was not followed. `may_have_acted`: the server may have done what was asked."""

    def __init__(self, message: str, *, request: str = "", may_have_acted: bool = False) -> None:
        super().__init__(message, request=request)
        self.may_have_acted = may_have_acted


class APIResponseValidationError(APIError):
    """The answer is not what the API promises, such as HTML, cut JSON, or an object without an id."""

    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        status_code: int = 200,
        body: object = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request=request)
        self.status_code = status_code
        self.body = body
        self.request_id = request_id


class NotTheAPIError(APIResponseValidationError):
    """A success whose body is not the API's, such as a web page.

    `may_have_acted` is False where nothing at `base_url` has answered as the API so far: it is another server's
    address, most likely one without a path like /v1, and nothing was done.
    """

    may_have_acted: bool = True
    base_url: str = ""

    def __str__(self) -> str:
        if self.may_have_acted:
            return self.message
        return (
            f"{self.message}\n  Nothing at {self.base_url} has answered as the API: most likely the address is wrong, "
            "and nothing was done. Does it lack a path, such as /v1 (OpenAI) or /openai/v1 (Azure)?"
        )


class ResponseMismatchError(APIResponseValidationError):
    """The answer belongs to another request: something on the way crossed two. It is not believed."""

    resumable = True


class APIStatusError(APIError):
    """The server said no: `type`, `code`, `param` in its words. `body` is its `error` object, else all it sent.

    Of a body of more than 8,192 characters, `body` holds these three and the `message`, else its beginning.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        request: str = "",
        type: str | None = None,  # noqa: A002 - the API's own name
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, request=request)
        self.status_code = status_code
        self.type = type
        self.code = code
        self.param = param
        self.request_id = request_id
        self.body = body
        self.headers: Mapping[str, str] = headers or {}


class BadRequestError(APIStatusError):
    """400: the request is wrong as it stands."""


class ModerationBlockedError(BadRequestError):
    """The safety system refused the edit, at `stage` "input" or "output"; sending it again won't help."""

    stage: str | None = None
    categories: tuple[str, ...] = ()


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or revoked."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this."""


class NotFoundError(APIStatusError):
    """404: no such object, or one that belongs to another project."""


class ConflictError(APIStatusError):
    """409: something else is happening to the object."""

    resumable = True


class PayloadTooLargeError(APIStatusError):
    """413: the server, or something before it, takes smaller requests only."""


class UnprocessableEntityError(APIStatusError):
    """422: understood and refused."""


class RateLimitError(APIStatusError):
    """429: too much for now."""

    resumable = True


class QuotaExceededError(RateLimitError):
    """The account is out of quota or credit: waiting won't help."""

    resumable = False


class InternalServerError(APIStatusError):
    """500 and above: the server's own trouble."""

    resumable = True


class UploadError(AsyncSDKError):
    """An upload as a whole can't go on. `upload_id` names it once there is one."""

    def __init__(self, message: str, *, upload_id: str | None = None) -> None:
        super().__init__(message)
        self.upload_id = upload_id


class SourceChangedError(UploadError):
    """The file changed while it went up. Nothing was completed; the same call sends what changed."""

    resumable = True


class UploadBusyError(UploadError):
    """Another process is sending this very file. `pid` and `host` tell which, where known."""

    resumable = True
    pid: int | None = None
    host: str | None = None


class UploadNotFoundError(UploadError):
    """The server does not know an upload that it took in this very run: it was cancelled, or lost there."""

    resumable = True


class UploadExpiredError(UploadError):
    """The server forgot the upload: its time ran out. The same call starts a new one."""

    resumable = True


class UploadTooSlowError(UploadError):
    """At the measured rate the upload can't be done before the server forgets it."""


class CompletionUnknownError(UploadError):
    """Complete was asked and its answer lost; whether the file was made can't be told yet. Call again later."""

    resumable = True


class EditError(AsyncSDKError):
    """An image edit, or a run of many, can't go on."""


class ChargeUnknownError(EditError):
    """The edit was sent and its answer lost: it may have been paid, and sending it again may pay twice.

    `raw` is what the server sent in the place of images, where something came that can't be used; `raw_files` are the
    files that hold it.
    """

    request_id: str | None = None
    status_code: int | None = None
    raw: tuple[bytes, ...] = ()
    raw_files: tuple[PurePath, ...] = ()


class SaveError(EditError):
    """The edit is done and paid, and not all of its pictures are kept. `result` still has what came.

    `files` are the pictures on disk, `urls` are where the server keeps others (for 60 minutes), `raw` is what came in
    the place of a picture, and `raw_files` are the files that hold it. `in_memory` tells whether a picture came that is
    nowhere but in `result`.
    """

    result: EditResult | None = None
    in_memory: bool = False
    files: tuple[PurePath, ...] = ()
    urls: tuple[str, ...] = ()
    raw: tuple[bytes, ...] = ()
    raw_files: tuple[PurePath, ...] = ()


class LimitReachedError(EditError):
    """`max_edits` or `max_tokens` is reached. Nothing beyond it was sent; with a higher limit the same call goes on."""


class JournalError(AsyncSDKError):
    """The journal can't be written or read. What the server holds is not lost."""

    resumable = True


class JournalVersionError(JournalError):
    """The journal was written by a newer asyncsdk, whose words we don't know. Nothing was sent."""

    resumable = False


class LedgerError(JournalError):
    """The ledger of edits can't be written or read. Pictures that are saved are safe."""


class LedgerBusyError(LedgerError):
    """Another process is editing into this very directory. `pid` and `host` tell which, where known."""

    pid: int | None = None
    host: str | None = None


class LedgerDamagedError(LedgerError):
    """Some of the ledger is not as it was written. Nothing was sent; `accept_damage=True` goes on with what is intact.

    `damage` names the files, and the lines in them.
    """

    resumable = False
    damage: tuple[LedgerDamage, ...] = ()
