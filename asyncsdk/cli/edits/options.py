"""The options of the edit commands: fields of an edit, and how a run goes. Imported for --help: keep it light."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from attrs import fields, frozen
from cyclopts import Group, Parameter

from asyncsdk.cli.options import from_text

FIELDS, RUN = Group("Edit", sort_key=5), Group("Run", sort_key=4)


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text) if text.lstrip().startswith("{") else None
    if not isinstance(value, dict):
        raise ValueError(f"{text!r} is not a JSON object.")  # noqa: TRY004 - converters raise ValueError
    return value


JsonObject = Annotated[
    dict[str, Any], Parameter(converter=from_text(_json_object), accepts_keys=False, n_tokens=1, metavar="JSON")
]


@Parameter(name="*", group=FIELDS)
@frozen(kw_only=True)
class EditOptions:
    """The fields of an edit; what is None is not sent."""

    mask: Annotated[
        str | None,
        Parameter(metavar="PNG", help="Where it is transparent the picture is edited. Its header alone is looked at."),
    ] = None
    markup: Annotated[str | None, Parameter(metavar="PNG", help="A transparent PNG laid over the picture.")] = None
    model: Annotated[str | None, Parameter(help="Such as gpt-image-2; else the server's own choice.")] = None
    n: Annotated[int | None, Parameter(metavar="N", help="How many pictures, 1 to 10.")] = None
    size: Annotated[str | None, Parameter(help="auto, or WIDTHxHEIGHT.")] = None
    quality: Annotated[str | None, Parameter(help="low, medium, high, xhigh, max, auto.")] = None
    background: Annotated[str | None, Parameter(help="transparent, opaque, auto.")] = None
    output_format: Annotated[str | None, Parameter(help="png, jpeg, webp, gif, svg.")] = None
    output_compression: Annotated[int | None, Parameter(metavar="N", help="0 to 100, for webp and jpeg.")] = None
    input_fidelity: Annotated[str | None, Parameter(help="high, low.")] = None
    complexity: Annotated[str | None, Parameter(help="low, medium, high.")] = None
    moderation: Annotated[str | None, Parameter(help="auto, low.")] = None
    response_format: Annotated[str | None, Parameter(help="url or b64_json, for older models.")] = None
    user: Annotated[str | None, Parameter(help="Who it is for.")] = None
    safety_identifier: Annotated[str | None, Parameter(help="Who it is for, hashed.")] = None
    stream: Annotated[bool | None, Parameter(help="Let the answer come in pieces.")] = None
    partial_images: Annotated[
        int | None, Parameter(metavar="N", help="0 to 3, with --stream; the final picture alone is saved.")
    ] = None
    frame_count: Annotated[int | None, Parameter(metavar="N", help="2 to 16, for gif.")] = None
    frame_duration_ms: Annotated[int | None, Parameter(metavar="N", help="For gif.")] = None
    svg: Annotated[JsonObject | None, Parameter(help='For svg: {"model": …, "reasoning": {"effort": …}}.')] = None
    extra: Annotated[JsonObject | None, Parameter(help="Fields that this version does not know.")] = None

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are set."""
        named = {a.name: getattr(self, a.name) for a in fields(type(self))}
        return {name: value for name, value in named.items() if value is not None}


@Parameter(name="*", group=RUN)
@frozen(kw_only=True)
class RunOptions:
    """What a run sends, how fast, and what it does about failures."""

    prompt: Annotated[str | None, Parameter(help="The prompt for pictures, and for jobs without one.")] = None
    prompt_file: Annotated[str | None, Parameter(metavar="FILE", help="A file with that prompt.")] = None
    concurrency: Annotated[int, Parameter(metavar="N", help="Edits in flight.")] = 8
    images_per_minute: Annotated[
        float | None, Parameter(metavar="N", help="Your rate limit; else it is learned from the server.")
    ] = None
    on_uncertain: Annotated[
        Literal["report", "retry", "stop"],
        Parameter(help="What to do if a response is lost: the edit may have been paid."),
    ] = "report"
    only: Annotated[
        Literal["failed", "refused", "uncertain"] | None, Parameter(help="Send only edits of this status.")
    ] = None
    redo: Annotated[
        str | None,
        Parameter(
            metavar="FILE", help="Ids to send and pay again, as saved by a gallery: once each time the file is written."
        ),
    ] = None
    max_edits: Annotated[int | None, Parameter(metavar="N", help="Stop after N edits, counting earlier runs.")] = None
    max_tokens: Annotated[
        int | None, Parameter(metavar="N", help="Stop after N tokens; edits in flight may exceed it.")
    ] = None
    accept_damage: Annotated[
        bool, Parameter(help="Use the intact part of a damaged ledger: what is lost may be paid again.")
    ] = False
    dry_run: Annotated[bool, Parameter(help="Check everything, report what would be sent, and send nothing.")] = False
    yes: Annotated[bool, Parameter(help="Don't ask before sending many edits.")] = False
    grace: Annotated[float, Parameter(metavar="SECONDS", help="How long Ctrl-C waits for edits in flight.")] = 120.0
    gallery: Annotated[
        str | None, Parameter(metavar="FILE", help="Write an HTML page of this run: before and after.")
    ] = None
