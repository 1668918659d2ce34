"""What travels to a worker: the settings of a run, without a key or a password (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import asdict, frozen

from asyncsdk.errors import AsyncSDKError, ConfigurationError, EditError, LedgerError, LimitReachedError

_KINDS: dict[str, type[AsyncSDKError]] = {
    kind.__name__: kind for kind in (ConfigurationError, LimitReachedError, LedgerError, EditError)
}


@frozen(kw_only=True)
class CopyTask:
    """One copy of a run, as text: what a scheduler keeps of it, anyone who reaches the scheduler can read.

    `run` is the run of the ledger that the copy is part of, with its begin: another database has another one. `client`,
    `editor` and `request` are arguments of `Client`, `ImageEditor` and `edit_many`, `key` is the variable that has a
    worker's key, `terms` are those of the lease, `pages` the names of the pages of the list below `out`, `asyncsdk` is
    its version. `prices` is the caller's table, by `costs/travelling.py`; None: that of the package.
    """

    out: str
    pages: tuple[str, ...]
    ledger: str
    run: tuple[int, float]
    terms: tuple[float, float]
    options: Mapping[str, Any]
    key: str
    client: Mapping[str, Any]
    editor: Mapping[str, Any]
    request: Mapping[str, Any]
    asyncsdk: str
    prices: Mapping[str, Any] | None = None

    def as_text(self) -> str:
        """The task as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def of_text(cls, text: str) -> CopyTask:
        """The task that `as_text` wrote."""
        fields = json.loads(text)
        lists = {name: tuple(fields[name]) for name in ("pages", "run", "terms")}
        return cls(**{**fields, **lists})


@frozen(kw_only=True)
class CopyEnd:
    """How a copy ended: as text, since an exception would be kept by the scheduler with all that it holds.

    `kind` is the class of what ended it, None if it saw all edits end; `is_leaving`: its worker was to close.
    """

    kind: str | None = None
    message: str = ""
    resumable: bool = False
    is_leaving: bool = False

    def as_text(self) -> str:
        """The end as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> CopyEnd:
        """The end that `as_text` wrote."""
        return cls(**json.loads(text))

    @classmethod
    def of_error(cls, error: Exception) -> CopyEnd:
        """The end by an error: of one that is not ours the class alone, for its text may hold anything."""
        if not isinstance(error, AsyncSDKError):
            return cls(kind="EditError", message=f"an error that was not expected: {type(error).__name__}")
        kind = next((name for name, known in _KINDS.items() if isinstance(error, known)), type(error).__name__)
        return cls(kind=kind, message=str(error), resumable=error.resumable)

    def error(self, worker: str) -> AsyncSDKError:
        """What ended the copy on a worker, for the caller of the driver."""
        if self.kind == LimitReachedError.__name__:
            return LimitReachedError(self.message)
        error = _KINDS.get(self.kind or "", EditError)(f"{worker}: {self.message}")
        error.resumable = self.resumable
        return error
