"""The part of the page of errors that is made of their tree: what each means, and what to do."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

import asyncsdk
from asyncsdk import errors
from asyncsdk.cli.exits import exit_code
from docs.making.docstrings import docstring_of, grouped
from docs.making.public import SINCE

# what to do about each; an error that is not here has the advice of the one that it derives from
TO_DO: Mapping[str, str] = {
    "AsyncSDKError": "Read the message, and `advice` where there is one. Where `resumable` is true, repeat the call.",
    "ConfigurationError": "Correct the setting that the message names. Repeating it won't help.",
    "UnusableClientError": (
        "Make a client for each event loop, or one for each call: [which client "
        "where](configuration.md#which-client-where)."
    ),
    "InvalidRequestError": "Correct what the message names, then repeat the call.",
    "SourceError": "Give another file, or mend this one. A line that is named is of the file itself.",
    "InvalidEditError": (
        "Correct the picture or the field that the message names. `check=False` leaves it to the server."
    ),
    "APIError": "See the message, and `request` for the call that failed.",
    "APIConnectionError": "Repeat the call; it was tried several times already. An upload goes on where it was.",
    "APITimeoutError": (
        "Repeat the call. If the server is only slow, raise `timeout=`, or `stall_timeout=` of uploads."
    ),
    "CertificateError": (
        'Trust the server\'s certificate: `ssl=create_ssl_context("corp.pem")`, `--ca-file` or '
        "`SSL_CERT_FILE`. There is no switch that trusts everybody."
    ),
    "CredentialError": "See why your key function or `--key-command` fails; then repeat the call.",
    "RedirectError": "Set `base_url` to where the message says that it points, if that server is yours.",
    "APIResponseValidationError": (
        "Repeat the call later; if it stays, report the `request_id` to the server's operator. Something "
        "on the way may have changed the response."
    ),
    "NotTheAPIError": "Correct `base_url`: it ends with `/v1`. A login page of a network looks like this too.",
    "ResponseMismatchError": (
        "Repeat the call. If it comes again, a gateway on the way mixes responses up: leave it out."
    ),
    "APIStatusError": "See `code`, `param` and the message. Repeating it won't help, unless `resumable` is true.",
    "BadRequestError": "Correct the field that `param` or the message names.",
    "ModerationBlockedError": "Change the prompt or the picture; `stage` says which of input and output was refused.",
    "AuthenticationError": "Set a valid key. A `CachedKey` or a key function was asked once more already.",
    "PermissionDeniedError": "Use a key of the right project, or ask its owner for the right.",
    "NotFoundError": "Check the id, and that the key is of the same project.",
    "ConflictError": "Repeat the call after a while.",
    "PayloadTooLargeError": (
        "Send smaller parts (`part_size=`) or a smaller picture: a proxy on the way may set the limit."
    ),
    "UnprocessableEntityError": "Correct the field that `param` or the message names.",
    "RateLimitError": "Repeat the call after a while; `edit_many` and `upload_many` pace themselves.",
    "QuotaExceededError": "Add credit or raise the budget of the account, then repeat the call.",
    "InternalServerError": "Repeat the call after a while; report the `request_id` if it stays.",
    "UploadError": "See `advice`.",
    "SourceChangedError": "Repeat the call once nobody writes the file any more: only what changed is sent.",
    "UploadBusyError": 'Wait for the other process (`on_busy="wait"`, the default, does so), or stop it.',
    "UploadNotFoundError": "Repeat the call: it begins a new upload.",
    "UploadExpiredError": (
        "Repeat the call: it begins a new upload. It has an hour, so a faster line is needed for a file as "
        "large as this."
    ),
    "UploadTooSlowError": "Use a faster line, or more connections (`concurrency=`): it can't be done in its hour.",
    "CompletionUnknownError": "Repeat the call in a while: it looks for the file before it sends anything.",
    "FileProcessingError": (
        "See the message of the server. Mend the file and upload it, or wait again where `resumable`."
    ),
    "EditError": "See the message.",
    "ChargeUnknownError": (
        "Look at the account's usage before you send it again: it may be paid twice. `edit_many` keeps such"
        " edits apart as *uncertain*."
    ),
    "SaveError": "Save what is in `result`, now: `await error.result.save(elsewhere)`. URLs hold for 60 minutes.",
    "LimitReachedError": "Raise the limit and repeat the call, if you want to pay for more.",
    "RemoteError": (
        "See `reason` and `url`: credentials, the region, or the name of the bucket. Then repeat the call."
    ),
    "StorageError": "Make room on the disk, or mend the right to write there; then repeat the call.",
    "JournalError": ("Make room, or set another place: `journal=`, `ASYNCSDK_JOURNAL`. Then repeat the call."),
    "JournalVersionError": "Update asyncsdk, or use another journal.",
    "LedgerError": "Make room, or mend the right to write there; then repeat the call. What is paid is recorded.",
    "LedgerBusyError": (
        "Wait for the other process, or use another `out=`. Many at once need a ledger in a database: [many"
        " machines](many-machines.md)."
    ),
    "LedgerRewoundError": "Compare the ledger with the pictures, then run `asyncsdk ledger accept`.",
    "LedgerDamagedError": (
        "Put a good copy in its place. Or go on with `accept_damage=True`: what was lost may be paid again."
    ),
}


def errors_part() -> str:
    """The tree, then each error."""
    tree = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2]
    sections = [_section(error) for error in in_order()]
    return "\n\n".join([f"```text\n{inspect.cleandoc(tree)}\n```", *sections])


def in_order() -> Iterator[type[errors.AsyncSDKError]]:
    """All errors that can be caught, each after the one that it derives from."""
    yield from _below(errors.AsyncSDKError)


def to_do(error: type[BaseException]) -> str:
    """What to do about an error."""
    return next(TO_DO[kind.__name__] for kind in error.__mro__ if kind.__name__ in TO_DO)


def _below(error: type[errors.AsyncSDKError]) -> Iterator[type[errors.AsyncSDKError]]:
    if error.__name__ in asyncsdk.__all__:
        yield error
    for kind in error.__subclasses__():
        yield from _below(kind)


def _section(error: type[errors.AsyncSDKError]) -> str:
    docstring = docstring_of(error)
    parent = error.__mro__[1].__name__
    facts = [f"Derives from [`{parent}`](#{parent.lower()})."] if parent in asyncsdk.__all__ else []
    facts += ["The same call resumes." if error.resumable else "", _exit_codes(error.__new__(error))]
    facts += [f"Since {SINCE[error.__name__]}."]
    attributes = [
        f"- {', '.join(f'**`{name}`**' for name in names)}: {text}" for names, text in grouped(docstring.parameters)
    ]
    parts = [f"### {error.__name__}", docstring.text, f"**What to do:** {to_do(error)}", " ".join(filter(None, facts))]
    return "\n\n".join([*parts, *(["\n".join(attributes)] if attributes else [])])


def _exit_codes(error: errors.AsyncSDKError) -> str:
    at_once, later = int(exit_code(error)), int(exit_code(error, sent=True))
    return f"Exit code {at_once}." if at_once == later else f"Exit code {at_once}; {later} once something was sent."
