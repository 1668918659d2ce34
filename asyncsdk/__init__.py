"""Send large files through the OpenAI Uploads API: parallel, checked, resumable."""

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.connection import trusting
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
    CompletionUnknownError,
    ConfigurationError,
    ConflictError,
    InternalServerError,
    JournalError,
    JournalVersionError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RedirectError,
    SourceChangedError,
    SourceError,
    UnprocessableEntityError,
    UploadBusyError,
    UploadError,
    UploadExpiredError,
    UploadExpiresError,
    UploadNotFoundError,
)
from asyncsdk.events import RequestEvent
from asyncsdk.journal import Journal
from asyncsdk.journal.file import FileJournal
from asyncsdk.journal.memory import MemoryJournal
from asyncsdk.models import File, FileDeleted, Page, Upload, UploadPart
from asyncsdk.uploads.job import UploadJob, UploadOutcome, UploadResult
from asyncsdk.uploads.progress import Progress, State
from asyncsdk.uploads.uploader import AsyncUploader
from asyncsdk.version import __version__

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
    "CertificateError",
    "Client",
    "CompletionUnknownError",
    "ConfigurationError",
    "ConflictError",
    "File",
    "FileDeleted",
    "FileJournal",
    "InternalServerError",
    "Journal",
    "JournalError",
    "JournalVersionError",
    "MemoryJournal",
    "NotFoundError",
    "Page",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "Progress",
    "QuotaExceededError",
    "RateLimitError",
    "RedirectError",
    "RequestEvent",
    "SourceChangedError",
    "SourceError",
    "State",
    "UnprocessableEntityError",
    "Upload",
    "UploadBusyError",
    "UploadError",
    "UploadExpiredError",
    "UploadExpiresError",
    "UploadJob",
    "UploadNotFoundError",
    "UploadOutcome",
    "UploadPart",
    "UploadResult",
    "__version__",
    "api",
    "trusting",
]
