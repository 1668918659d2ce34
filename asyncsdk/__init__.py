"""Uploads of large files and edits of many images through the OpenAI API: the public names, loaded at first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from asyncsdk.version import __version__

if TYPE_CHECKING:
    from asyncsdk import api
    from asyncsdk.api import ImageFile, ImageRef
    from asyncsdk.batches import Batch, BatchProblem, BatchProblems, BatchRequestCounts
    from asyncsdk.client import Client
    from asyncsdk.error_details import LedgerDamage
    from asyncsdk.errors import (
        APIConnectionError,
        APIError,
        APIResponseValidationError,
        APIStatusError,
        APITimeoutError,
        AsyncSDKError,
        AuthenticationError,
        BadRequestError,
        CertificateError,
        ChargeUnknownError,
        CompletionUnknownError,
        ConfigurationError,
        ConflictError,
        CredentialError,
        EditError,
        FileProcessingError,
        InternalServerError,
        InvalidEditError,
        InvalidRequestError,
        JournalError,
        JournalVersionError,
        LedgerBusyError,
        LedgerDamagedError,
        LedgerError,
        LedgerRewoundError,
        LimitReachedError,
        ModerationBlockedError,
        NotFoundError,
        NotTheAPIError,
        PayloadTooLargeError,
        PermissionDeniedError,
        QuotaExceededError,
        RateLimitError,
        RedirectError,
        RemoteError,
        ResponseMismatchError,
        SaveError,
        SourceChangedError,
        SourceError,
        StorageError,
        UnprocessableEntityError,
        UnusableClientError,
        UploadBusyError,
        UploadError,
        UploadExpiredError,
        UploadNotFoundError,
        UploadTooSlowError,
    )
    from asyncsdk.events import Progress, RequestEvent, UploadPhase
    from asyncsdk.file_filter import FileFilter
    from asyncsdk.file_jobs import DeletedFile, FilesDeleted
    from asyncsdk.http.connection import create_ssl_context
    from asyncsdk.images.batch.outcomes import BatchOutcomes
    from asyncsdk.images.batch.progress import BatchProgress
    from asyncsdk.images.bulk.outcomes import Outcomes
    from asyncsdk.images.bulk.preview import EditPlan
    from asyncsdk.images.costs.money import CostRange
    from asyncsdk.images.costs.prices import ModelPrice, PriceTable
    from asyncsdk.images.edit import ImageEdit
    from asyncsdk.images.editor import ImageEditor
    from asyncsdk.images.ledger.postgres import PostgresLedger
    from asyncsdk.images.outcome import EditOutcome, Problem
    from asyncsdk.images.result import EditResult
    from asyncsdk.images.stream import CompletedImage, PartialImage
    from asyncsdk.keys import CachedKey
    from asyncsdk.models import (
        EditedImage,
        File,
        FileDeleted,
        ImagesResponse,
        Page,
        UnreadableImage,
        Upload,
        UploadPart,
        Usage,
    )
    from asyncsdk.uploads.job import UploadJob, UploadOutcome, UploadResult
    from asyncsdk.uploads.journal import Journal
    from asyncsdk.uploads.journal.file import FileJournal
    from asyncsdk.uploads.journal.memory import MemoryJournal
    from asyncsdk.uploads.journal.postgres import PostgresJournal
    from asyncsdk.uploads.outcomes import UploadOutcomes
    from asyncsdk.uploads.uploader import AsyncUploader

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncSDKError",
    "AsyncUploader",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchOutcomes",
    "BatchProblem",
    "BatchProblems",
    "BatchProgress",
    "BatchRequestCounts",
    "CachedKey",
    "CertificateError",
    "ChargeUnknownError",
    "Client",
    "CompletedImage",
    "CompletionUnknownError",
    "ConfigurationError",
    "ConflictError",
    "CostRange",
    "CredentialError",
    "DeletedFile",
    "EditError",
    "EditOutcome",
    "EditPlan",
    "EditResult",
    "EditedImage",
    "File",
    "FileDeleted",
    "FileFilter",
    "FileJournal",
    "FileProcessingError",
    "FilesDeleted",
    "ImageEdit",
    "ImageEditor",
    "ImageFile",
    "ImageRef",
    "ImagesResponse",
    "InternalServerError",
    "InvalidEditError",
    "InvalidRequestError",
    "Journal",
    "JournalError",
    "JournalVersionError",
    "LedgerBusyError",
    "LedgerDamage",
    "LedgerDamagedError",
    "LedgerError",
    "LedgerProgress",
    "LedgerRewoundError",
    "LimitReachedError",
    "MemoryJournal",
    "ModelPrice",
    "ModerationBlockedError",
    "NotFoundError",
    "NotTheAPIError",
    "Outcomes",
    "Page",
    "PartialImage",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PostgresJournal",
    "PostgresLedger",
    "PriceTable",
    "Problem",
    "Progress",
    "QuotaExceededError",
    "RateLimitError",
    "RedirectError",
    "RemoteError",
    "RequestEvent",
    "ResponseMismatchError",
    "SaveError",
    "SourceChangedError",
    "SourceError",
    "StorageError",
    "UnprocessableEntityError",
    "UnreadableImage",
    "UnusableClientError",
    "Upload",
    "UploadBusyError",
    "UploadError",
    "UploadExpiredError",
    "UploadJob",
    "UploadNotFoundError",
    "UploadOutcome",
    "UploadOutcomes",
    "UploadPart",
    "UploadPhase",
    "UploadResult",
    "UploadTooSlowError",
    "Usage",
    "__version__",
    "api",
    "create_ssl_context",
]

_HOMES = {
    "batches": ("Batch", "BatchProblem", "BatchProblems", "BatchRequestCounts"),
    "client": ("Client",),
    "keys": ("CachedKey",),
    "file_filter": ("FileFilter",),
    "file_jobs": ("DeletedFile", "FilesDeleted"),
    "http.connection": ("create_ssl_context",),
    "errors": (
        "APIConnectionError",
        "APIError",
        "APIResponseValidationError",
        "APIStatusError",
        "APITimeoutError",
        "AsyncSDKError",
        "AuthenticationError",
        "BadRequestError",
        "CertificateError",
        "ChargeUnknownError",
        "CompletionUnknownError",
        "ConfigurationError",
        "ConflictError",
        "CredentialError",
        "EditError",
        "FileProcessingError",
        "InternalServerError",
        "InvalidEditError",
        "InvalidRequestError",
        "JournalError",
        "JournalVersionError",
        "LedgerBusyError",
        "LedgerDamagedError",
        "LedgerError",
        "LedgerRewoundError",
        "LimitReachedError",
        "ModerationBlockedError",
        "NotFoundError",
        "NotTheAPIError",
        "PayloadTooLargeError",
        "PermissionDeniedError",
        "QuotaExceededError",
        "RateLimitError",
        "RedirectError",
        "RemoteError",
        "ResponseMismatchError",
        "SaveError",
        "SourceChangedError",
        "SourceError",
        "StorageError",
        "UnprocessableEntityError",
        "UnusableClientError",
        "UploadBusyError",
        "UploadError",
        "UploadExpiredError",
        "UploadNotFoundError",
        "UploadTooSlowError",
    ),
    "events": ("Progress", "RequestEvent", "UploadPhase"),
    "images.edit": ("ImageEdit",),
    "images.costs.money": ("CostRange",),
    "images.costs.prices": ("ModelPrice", "PriceTable"),
    "images.editor": ("ImageEditor",),
    "api": ("ImageRef", "ImageFile"),
    "images.ledger.postgres": ("PostgresLedger",),
    "images.ledger.progress": ("LedgerProgress",),
    "images.outcome": ("EditOutcome", "Problem"),
    "error_details": ("LedgerDamage",),
    "images.batch.outcomes": ("BatchOutcomes",),
    "images.batch.progress": ("BatchProgress",),
    "images.bulk.outcomes": ("Outcomes",),
    "images.bulk.preview": ("EditPlan",),
    "images.result": ("EditResult",),
    "images.stream": ("PartialImage", "CompletedImage"),
    "uploads.journal": ("Journal",),
    "uploads.journal.file": ("FileJournal",),
    "uploads.journal.memory": ("MemoryJournal",),
    "uploads.journal.postgres": ("PostgresJournal",),
    "models": (
        "EditedImage",
        "File",
        "FileDeleted",
        "ImagesResponse",
        "Page",
        "UnreadableImage",
        "Upload",
        "UploadPart",
        "Usage",
    ),
    "uploads.job": (
        "UploadJob",
        "UploadOutcome",
        "UploadResult",
    ),
    "uploads.outcomes": ("UploadOutcomes",),
    "uploads.uploader": ("AsyncUploader",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker sees the imports above, and misspelt names

    def __getattr__(name: str) -> Any:  # PEP 562: `asyncsdk --version` and a service's start need no aiohttp
        if name not in __all__:
            raise AttributeError(f"module 'asyncsdk' has no attribute {name!r}")
        value = (
            import_module("asyncsdk.api")
            if name == "api"
            else getattr(import_module(f"asyncsdk.{_HOME_OF[name]}"), name)
        )
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
