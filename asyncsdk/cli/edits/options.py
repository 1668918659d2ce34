"""The options of the edit commands: fields of an edit, and how a run goes. Imported for --help: keep it light."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from attrs import field, fields, frozen, make_class
from cyclopts import Group, Parameter

from asyncsdk.api import ImageFile
from asyncsdk.cli.options import Dollars, Duration, Number, Whole, from_text
from asyncsdk.images.edit import EDIT_FIELDS, EditField

SHORT = {"model": "-m", "n": "-n"}  # -n is a number in both commands: what is paid never hangs on which of them it is
FIELDS, RUN, BATCHES = Group("Edit", sort_key=6), Group("Run", sort_key=4), Group("Batches", sort_key=5)


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text) if text.lstrip().startswith("{") else None
    if not isinstance(value, dict):
        raise ValueError(f"{text!r} is not a JSON object.")  # noqa: TRY004 - converters raise ValueError
    return value


JsonObject = Annotated[
    dict[str, Any], Parameter(converter=from_text(_json_object), accepts_keys=False, n_tokens=1, metavar="JSON")
]


PricesFile = Annotated[
    str | None, Parameter(metavar="FILE", help="What models cost, in the form of: asyncsdk prices --json.")
]


_KINDS: dict[type, Any] = {str: str, int: Whole, bool: bool, ImageFile: str, Mapping: JsonObject}


def _option(name: str, about: EditField) -> Any:
    metavar: Any = {} if about.metavar is None else {"metavar": about.metavar}
    short: Any = {"alias": SHORT[name]} if name in SHORT else {}
    kind: Any = Annotated[_KINDS[about.kind] | None, Parameter(help=about.help, **metavar, **short)]
    return field(default=None, type=kind)


_OPTIONS = {name: _option(name, about) for name, about in EDIT_FIELDS.items() if about.help is not None}
_Fields: Any = make_class("_Fields", _OPTIONS, frozen=True, kw_only=True)


@Parameter(name="*", group=FIELDS)
class EditOptions(_Fields):  # type: ignore[misc]  # its attributes are those of `EDIT_FIELDS`
    """The fields of an edit; what is None is not sent."""

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are set."""
        named = {a.name: getattr(self, a.name) for a in fields(type(self))}
        return {name: value for name, value in named.items() if value is not None}


@Parameter(name="*", group=RUN)
@frozen(kw_only=True)
class RunOptions:
    """What a run sends, how fast, and what it does about failures."""

    prompt: Annotated[str | None, Parameter(alias="-p", help="The prompt for pictures, and for jobs without one.")] = (
        None
    )
    prompt_file: Annotated[str | None, Parameter(metavar="FILE", help="A file with that prompt.")] = None
    concurrency: Annotated[Whole, Parameter(alias="-c", metavar="N", help="Edits in flight.")] = 8
    images_per_minute: Annotated[
        Number | None, Parameter(metavar="N", help="Your rate limit; else it is learned from the server.")
    ] = None
    rate_pool: Annotated[
        str | None,
        Parameter(
            metavar="NAME", help="One rate limit for all copies that give NAME and share a ledger in a database."
        ),
    ] = None
    on_uncertain: Annotated[
        Literal["report", "retry", "stop"],
        Parameter(help="What to do if a response is lost: the edit may have been paid."),
    ] = "report"
    only: Annotated[
        Literal["failed", "refused", "uncertain", "redo"] | None,
        Parameter(help="Send only edits of this status; redo: only those that --redo names, also with a new prompt."),
    ] = None
    redo: Annotated[
        str | None,
        Parameter(
            metavar="FILE",
            help="Ids to send and pay again, as saved by the gallery: once for each time that FILE is saved.",
        ),
    ] = None
    max_edits: Annotated[Whole | None, Parameter(metavar="N", help="Stop after N edits, counting earlier runs.")] = None
    max_tokens: Annotated[
        Whole | None, Parameter(metavar="N", help="Stop after N tokens; edits in flight may exceed it.")
    ] = None
    max_cost: Annotated[
        Dollars | None,
        Parameter(help="Stop before more dollars are spent, counting earlier runs; see asyncsdk prices."),
    ] = None
    prices: PricesFile = None
    idempotency_header: Annotated[
        str | None,
        Parameter(
            metavar="NAME", help="For a gateway that makes an edit once for each key in this header; not OpenAI."
        ),
    ] = None
    ledger: Annotated[
        str | None,
        Parameter(
            metavar="DIR|postgresql://…",
            help="The ledger's directory, required if --out is a URL; or a database, for many machines at once.",
        ),
    ] = None
    dask: Annotated[
        str | None,
        Parameter(metavar="ADDRESS", help="The scheduler of a Dask cluster, each of whose workers runs a copy."),
    ] = None
    stop_all: Annotated[
        bool,
        Parameter(name="--all", help="Ctrl-C stops all copies of this command that share the ledger."),
    ] = False
    accept_damage: Annotated[
        bool, Parameter(help="Use the intact part of a damaged ledger: what is lost may be paid again.")
    ] = False
    verify: Annotated[
        bool, Parameter(help="Read the pictures of what is done too; with a database it is known without.")
    ] = False
    dry_run: Annotated[bool, Parameter(help="Check everything, report what would be sent, and send nothing.")] = False
    yes: Annotated[bool, Parameter(help="Don't ask before sending many edits.")] = False
    grace: Annotated[Number, Parameter(metavar="SECONDS", help="How long Ctrl-C waits for edits in flight.")] = 120.0
    gallery: Annotated[
        str | None, Parameter(metavar="FILE|URL", help="Write an HTML page of this run: before and after.")
    ] = None


@Parameter(name="*", group=BATCHES)
@frozen(kw_only=True)
class BatchRunOptions:
    """Whether edits go in batches, and how these are made and awaited."""

    batch: Annotated[
        bool,
        Parameter(help="In batches: half the price of most models, done within a day. The same command goes on."),
    ] = False
    detach: Annotated[
        bool, Parameter(help="Don't wait for batches: the same command, also without this, collects what has ended.")
    ] = False
    batch_size: Annotated[Whole | None, Parameter(metavar="N", help="The most edits of a batch, up to 50000.")] = None
    poll: Annotated[
        Duration | None, Parameter(help="How long to wait between two looks at a batch; else 5s, growing to 1m.")
    ] = None
    keep_files: Annotated[
        bool, Parameter(help="Leave pictures, requests and results of batches in the files on the server.")
    ] = False
