"""The API's fields of an edit as options, for one and as defaults for many. Light: it is imported for --help too."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from attrs import fields, frozen
from cyclopts import Group, Parameter

from asyncsdk.cli.options import from_text

FIELDS, RUN = Group("Edit", sort_key=5), Group("Run", sort_key=4)


def _json_object(text: str) -> dict[str, Any]:
    found = json.loads(text) if text.lstrip().startswith("{") else None
    if not isinstance(found, dict):
        raise ValueError(f"{text!r} is no JSON object.")  # noqa: TRY004 - a converter's way to say no
    return found


JsonObject = Annotated[
    dict[str, Any], Parameter(converter=from_text(_json_object), accepts_keys=False, n_tokens=1, metavar="JSON")
]


@Parameter(name="*", group=FIELDS)
@frozen(kw_only=True)
class EditOptions:
    """What is not given is not sent."""

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
    """How many, how fast, and what becomes of those that did not go well."""

    prompt: Annotated[str | None, Parameter(help="For pictures, and jobs that have none.")] = None
    prompt_file: Annotated[str | None, Parameter(metavar="FILE", help="The same, from a file.")] = None
    concurrency: Annotated[int, Parameter(metavar="N", help="Edits in flight.")] = 8
    images_per_minute: Annotated[
        float | None, Parameter(metavar="N", help="Your rate limit; else learned from the server.")
    ] = None
    on_uncertain: Annotated[
        Literal["report", "retry", "stop"], Parameter(help="If an answer is lost: it may have been paid.")
    ] = "report"
    only: Annotated[
        Literal["failed", "refused", "uncertain"] | None, Parameter(help="Send only those that stand so.")
    ] = None
    redo: Annotated[
        str | None,
        Parameter(
            metavar="FILE", help="Ids to send and pay again, as a gallery saves them: once each time it is written."
        ),
    ] = None
    max_edits: Annotated[int | None, Parameter(metavar="N", help="Stop there; counts over reruns.")] = None
    max_tokens: Annotated[
        int | None, Parameter(metavar="N", help="The same in tokens; edits in flight, which are awaited, may pass it.")
    ] = None
    accept_damage: Annotated[
        bool, Parameter(help="Go on with what is intact of a damaged ledger: what it lost may be paid again.")
    ] = False
    dry_run: Annotated[bool, Parameter(help="Look at all, and tell what would be sent.")] = False
    yes: Annotated[bool, Parameter(help="Don't ask before many are sent.")] = False
    grace: Annotated[float, Parameter(metavar="SECONDS", help="How long Ctrl-C waits for those in flight.")] = 120.0
    gallery: Annotated[str | None, Parameter(metavar="FILE", help="A page of this run: before, after.")] = None
