"""The options that commands share, and how their text becomes values. Light: it is imported for --help too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

from attrs import frozen
from cyclopts import Group, Parameter, Token

from asyncsdk.cli.units import parse_duration, parse_size
from asyncsdk.errors import ConfigurationError

T = TypeVar("T")

CONNECTION = Group("Connection", sort_key=10)
OUTPUT = Group("Output", sort_key=11)


def from_text(read: Callable[[str], T]) -> Callable[[object, Sequence[Token]], T]:
    """A converter of an option's text; ValueErrors of `read` become words about the option."""

    def convert(_: object, tokens: Sequence[Token]) -> T:
        return read(tokens[0].value)

    return convert


def _pair(separator: str) -> Callable[[object, Sequence[Token]], tuple[str, ...]]:
    def convert(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
        for token in tokens:
            if not token.value.partition(separator)[1]:
                raise ValueError(f"it is written as NAME{separator}VALUE.")  # the value may be a secret
        return tuple(token.value for token in tokens)

    return convert


Size = Annotated[int, Parameter(converter=from_text(parse_size), metavar="SIZE")]
Duration = Annotated[int, Parameter(converter=from_text(parse_duration), metavar="TIME")]
JournalPlace = Annotated[
    str | None, Parameter(name="--journal", metavar="DIR|memory", help="Where uploads are remembered.")
]


@Parameter(name="*", group=CONNECTION)
@frozen(kw_only=True)
class Connection:
    """Which server, and how to speak to it. Keys come from the environment alone."""

    base_url: Annotated[str | None, Parameter(metavar="URL", help="The API's address; else OPENAI_BASE_URL.")] = None
    auth: Annotated[Literal["bearer", "api-key"] | None, Parameter(help="The header that carries the key.")] = None
    query: Annotated[
        tuple[str, ...], Parameter(converter=_pair("="), metavar="K=V", help="Added to each request's URL.")
    ] = ()
    header: Annotated[
        tuple[str, ...], Parameter(converter=_pair(":"), metavar="K:V", help="Added to each request.")
    ] = ()
    ca_file: Annotated[str | None, Parameter(metavar="PEM", help="Certificates to trust besides the usual.")] = None


@Parameter(name="*", group=OUTPUT)
@frozen(kw_only=True)
class Output:
    """What standard output holds, and how much standard error tells."""

    json: Annotated[bool, Parameter(help="Standard output is JSON, one object a line.")] = False
    quiet: Annotated[bool, Parameter(help="Standard output is the ids alone.")] = False
    verbose: Annotated[bool, Parameter(help="Standard error tells of every request.")] = False

    def __attrs_post_init__(self) -> None:
        if self.json and self.quiet:
            raise ConfigurationError("--json and --quiet are two shapes of one output; choose one.")


Mode = Literal["auto", "bar", "lines", "json", "none"]
ShownAs = Annotated[Mode, Parameter(name="--progress", group=OUTPUT, help="How progress is shown on standard error.")]


@Parameter(name="*")
@frozen(kw_only=True)
class UploadOptions:
    """What becomes of the files, and how they are sent."""

    purpose: Annotated[
        str, Parameter(help="What they are for: fine-tune, batch, assistants, vision, user_data, evals.")
    ]
    filename: Annotated[str | None, Parameter(help="Another name for the one FILE.")] = None
    mime_type: Annotated[str | None, Parameter(help="Their type; else by each file's suffix.")] = None
    expires_after: Annotated[Duration | None, Parameter(help="How long the stored files live: 1h to 30d.")] = None
    md5: Annotated[Literal["hex", "base64", "off"], Parameter(help="How the digest goes along.")] = "hex"
    part_size: Annotated[Size | None, Parameter(help="At most 64MiB; else by the file's size.")] = None
    concurrency: Annotated[int, Parameter(metavar="N", help="Parts in flight, over all files.")] = 8
    limit_rate: Annotated[Size | None, Parameter(help="Bytes a second at most, over all files.")] = None
    journal: JournalPlace = None
    no_resume: Annotated[bool, Parameter(help="Leave behind what was sent in part.")] = False
    no_lock: Annotated[bool, Parameter(help="For a journal on a file system without locks.")] = False
    on_busy: Annotated[Literal["wait", "fail"], Parameter(help="If another process is sending the file.")] = "wait"
    if_uploaded: Annotated[Literal["reuse", "again"], Parameter(help="If the file is there already.")] = "reuse"
