"""The public names, with all that a caller may call of them: the reference is made of these, and a test counts them."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal, get_origin

import attrs
from attrs import evolve, frozen

from docs.making.docstrings import Docstring, docstring_of

MODULES = ("asyncsdk", "asyncsdk.api", "asyncsdk.server")
# all names by the version that they came with; of a method or an argument that came later its docstring says so
NAMES_OF: Mapping[str, str] = {
    "0.1.0": """
        APIConnectionError APIError APIResponseValidationError APIStatusError APITimeoutError AT_URL AsyncSDKError
        AsyncUploader AuthenticationError Background BadRequestError Batch BatchEndpoint BatchOutcomes BatchProblem
        BatchProblems BatchProgress BatchRequestCounts BodyFactory CachedKey CertificateError ChargeUnknownError
        Client CompletedImage CompletionUnknownError CompletionWindow Complexity ConfigurationError ConflictError
        CostRange CredentialError DeletedFile EDIT_SECONDS EditError EditOutcome EditParams EditPlan EditResult
        EditedImage Fault File FileBodyFactory FileDeleted FileFilter FileJournal FileProcessingError FilesDeleted
        FormFile FormFrame ImageEdit ImageEditor ImageFile ImageRef ImagesResponse InputFidelity InternalServerError
        InvalidEditError InvalidRequestError Journal JournalError JournalVersionError LedgerBusyError LedgerDamage
        LedgerDamagedError LedgerError LedgerProgress LedgerRewoundError LimitReachedError LocalServer MemoryJournal
        ModelPrice Moderation ModerationBlockedError NotFoundError NotTheAPIError Outcomes OutputFormat Page
        PartialImage PayloadTooLargeError PermissionDeniedError PostgresJournal PostgresLedger PriceTable Problem
        Progress Purpose Quality QuotaExceededError RateLimitError RedirectError RemoteError Request RequestBody
        RequestEvent RequestRecord ResponseFormat ResponseMismatchError SaveError ServerProcess SourceChangedError
        SourceError StorageError StoredBatch StoredFile StoredUpload StreamedFile URL_ROUTE UnprocessableEntityError
        UnreadableImage UnusableClientError Upload UploadBusyError UploadError UploadExpiredError UploadJob
        UploadNotFoundError UploadOutcome UploadOutcomes UploadPart UploadPhase UploadResult UploadTooSlowError
        Usage __version__ add_upload_part cancel_batch cancel_upload complete_upload create_batch create_file
        create_ssl_context create_upload delete_file edit_image edit_image_by_reference faults_from_json
        file_content list_batches list_files retrieve_batch retrieve_file retrieve_model serve
    """,
}
SINCE: Mapping[str, str] = {name: version for version, names in NAMES_OF.items() for name in names.split()}

_STARS: Mapping[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
_ALIAS = re.compile(r"\b[A-Z][A-Za-z]+\b(?!['\"])")
_INHERITED = ("Args", "Raises")


@frozen
class Public:
    """A public name.

    Attributes:
        module: Where it is imported from.
        name: As it is written there.
        value: What it is.
    """

    module: str
    name: str
    value: Any

    @property
    def is_error(self) -> bool:
        """Whether it can be caught."""
        return isinstance(self.value, type) and issubclass(self.value, BaseException)


@frozen
class Parameter:
    """A parameter of a call, or an attribute, as it is written.

    Attributes:
        name: Its name.
        kind: Its type; empty for one without.
        default: Its default, as code; empty for one that is required.
        prefix: The stars of one that takes several.
        is_by_name: Whether it is given by name alone.
    """

    name: str
    kind: str
    default: str
    prefix: str = ""
    is_by_name: bool = False


def public_names() -> Iterator[Public]:
    """All public names, each once: that of the package before those of its modules."""
    seen: set[int] = set()
    for module in map(import_module, MODULES):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value) or (isinstance(value, type) and id(value) in seen):
                continue
            seen.add(id(value))
            yield Public(module.__name__, name, value)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """The methods and properties of a class that are its own, in their order, as functions."""
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function):
            yield name, member if isinstance(member, property) else function


def constant_docstring(public: Public) -> str:
    """The text below the assignment of a public name that is neither a class nor a function."""
    names = [name for name in sorted(sys.modules) if f"{name}.".startswith(f"{public.module}.")]
    return next((texts[public.name] for texts in map(_texts_of, names) if public.name in texts), "")


@cache
def _texts_of(module: str) -> dict[str, str]:
    try:
        body = ast.parse(inspect.getsource(sys.modules[module])).body
    except (OSError, TypeError):  # without a source of its own
        return {}
    texts: dict[str, str] = {}
    for statement, following in pairwise(body):
        match statement, following:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = text
    return texts


def documented(owner: type, name: str, member: Any) -> Docstring:
    """The docstring of a class's member, with what its bases, and the Protocols that the class keeps, say of it."""
    docstring = docstring_of(member)
    for base in (*owner.__mro__[1:], *_kept_by(owner)):
        if name in vars(base):
            inherited = docstring_of(vars(base)[name])
            entries = {key: {**inherited.entries.get(key, {}), **docstring.entries.get(key, {})} for key in _INHERITED}
            docstring = evolve(docstring, entries={**docstring.entries, **{k: v for k, v in entries.items() if v}})
    return docstring


def _kept_by(owner: type) -> Iterator[type]:
    """The Protocols of the class's own package whose members it has."""
    package = ".".join(owner.__module__.split(".")[:2])
    modules = [module for name, module in sys.modules.items() if f"{name}.".startswith(f"{package}.")]
    values = {id(value): value for module in modules for value in vars(module).values()}.values()
    for kind in (value for value in values if isinstance(value, type) and getattr(value, "_is_protocol", False)):
        names = [name for name, _ in members(kind)]
        if kind is not owner and names and all(hasattr(owner, name) for name in names):
            yield kind


def class_docstring(kind: type) -> Docstring:
    """The docstring of a class, with what its bases say of its attributes."""
    docstring = docstring_of(kind)
    bases = (docstring_of(base).parameters for base in kind.__mro__[1:] if base.__module__.startswith("asyncsdk."))
    inherited = {name: text for parameters in bases for name, text in parameters.items()}
    args = {**inherited, **docstring.parameters}
    return evolve(docstring, entries={**docstring.entries, "Args": args} if args else docstring.entries)


def parameters(subject: Any) -> list[Parameter]:
    """The parameters of a function, or of the making of a class, less `self`."""
    if isinstance(subject, property) or (isinstance(subject, type) and getattr(subject, "_is_protocol", False)):
        return []
    if isinstance(subject, type) and not attrs.has(subject) and "__init__" not in vars(subject):
        return []
    shown = [each for each in inspect.signature(subject).parameters.values() if each.name not in {"self", "cls"}]
    if isinstance(subject, type) and attrs.has(
        subject
    ):  # of a private attribute, unless it is described, it is our own
        private = {a.alias for a in attrs.fields(subject) if a.name.startswith("_")}
        shown = [each for each in shown if each.name not in private - set(docstring_of(subject).parameters)]
    return [
        Parameter(
            each.name,
            _kind(each.annotation, subject),
            _default(each.default),
            _STARS.get(each.kind, ""),
            each.kind is each.KEYWORD_ONLY,
        )
        for each in shown
    ]


def returned(function: Callable[..., Any]) -> str:
    """The type of what a function returns."""
    return _kind(inspect.signature(function).return_annotation, function)


def _kind(annotation: Any, subject: Any) -> str:
    """A type as it is written, but with the values in the place of a name that is of a few values."""
    if annotation is inspect.Parameter.empty:
        return ""
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    names = vars(sys.modules[inspect.unwrap(subject).__module__])

    def values(match: re.Match[str]) -> str:
        value = names.get(match[0])
        return repr(value).removeprefix("typing.") if get_origin(value) is Literal else match[0]

    return _ALIAS.sub(values, written)


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if value is attrs.NOTHING:
        return "..."
    shown = repr(value)
    return shown if len(shown) <= 40 and "<" not in shown else "..."
