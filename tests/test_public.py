"""The public names: pinned, each in one place, and light to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import asyncsdk
from asyncsdk import errors

NAMES = """
APIConnectionError APIError APIResponseValidationError APIStatusError APITimeoutError AsyncSDKError AsyncUploader
AuthenticationError BadRequestError Batch BatchOutcomes BatchProblem BatchProblems BatchProgress BatchRequestCounts
CachedKey CertificateError ChargeUnknownError Client CompletedImage CompletionUnknownError ConfigurationError
ConflictError CostRange CredentialError DeletedFile EditError EditOutcome EditPlan EditResult EditedImage File
FileDeleted FileFilter FileJournal FileProcessingError FilesDeleted ImageEdit ImageEditor ImageFile ImageRef
ImagesResponse InternalServerError InvalidEditError InvalidRequestError Journal JournalError JournalVersionError
LedgerBusyError LedgerDamage LedgerDamagedError LedgerError LedgerProgress LedgerRewoundError LimitReachedError
MemoryJournal ModelPrice ModerationBlockedError NotFoundError NotTheAPIError Outcomes Page PartialImage
PayloadTooLargeError PermissionDeniedError PostgresJournal PostgresLedger PriceTable Problem Progress
QuotaExceededError RateLimitError RedirectError RemoteError RequestEvent ResponseMismatchError SaveError
SourceChangedError SourceError StorageError UnprocessableEntityError UnreadableImage UnusableClientError Upload
UploadBusyError UploadError UploadExpiredError UploadJob UploadNotFoundError UploadOutcome UploadOutcomes UploadPart
UploadPhase UploadResult UploadTooSlowError Usage __version__ api create_ssl_context
"""
PINNED = NAMES.split()


def test_the_public_names_are_these_and_no_others() -> None:
    assert asyncsdk.__all__ == PINNED == sorted(PINNED)
    assert dir(asyncsdk) == asyncsdk.__all__


@pytest.mark.parametrize("name", PINNED)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(asyncsdk, name) is not None


def test_a_name_that_is_none_of_ours_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Uploader'"):
        getattr(asyncsdk, "Uploader")  # noqa: B009 - a type checker would refuse it


def test_every_error_can_be_caught_by_its_public_name() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert defined <= set(asyncsdk.__all__)


def test_every_error_stands_in_the_tree_that_the_docstring_draws() -> None:
    drawn = errors.__doc__ or ""
    assert all(name in drawn for name in PINNED if name.endswith("Error"))


@pytest.mark.parametrize("library", ["aiohttp", "asyncsdk.server", "asyncsdk.cli", "cyclopts", "rich", "PIL"])
def test_importing_the_package_loads_nothing_heavy(library: str) -> None:
    program = f"import sys, asyncsdk; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_library_needs_neither_the_server_nor_the_command_line() -> None:
    program = (
        "import sys; from asyncsdk import *; "
        "sys.exit(bool({'asyncsdk.server', 'asyncsdk.cli', 'cyclopts', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
