"""The options that commands share, and how their text becomes values. Imported for --help: keep it light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

from attrs import field, frozen
from cyclopts import Group, Parameter, Token

from asyncsdk.cli.units import (
    parse_dollars,
    parse_duration,
    parse_number,
    parse_rate,
    parse_size,
    parse_whole,
    parse_whole_or_auto,
)
from asyncsdk.errors import ConfigurationError
from asyncsdk.timing import STALL_SECONDS

T = TypeVar("T")

CONNECTION = Group("Connection", sort_key=10)
OUTPUT = Group("Output", sort_key=11)


def from_text(read: Callable[[str], T]) -> Callable[[object, Sequence[Token]], T]:
    """A converter of an option's text; a ValueError of `read` is reported with the option's name."""

    def convert(_: object, tokens: Sequence[Token]) -> T:
        return read(tokens[0].value)

    return convert


def _pair(separator: str) -> Callable[[object, Sequence[Token]], tuple[str, ...]]:
    def convert(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
        for token in tokens:
            if not token.value.partition(separator)[1]:
                raise ValueError(f"write it as NAME{separator}VALUE.")  # the value may be a secret
        return tuple(token.value for token in tokens)

    return convert


def _life(text: str) -> int:
    from asyncsdk.uploads.job import LONGEST_LIFE, SHORTEST_LIFE  # loads the library, which --help does without

    seconds = parse_duration(text)
    if not SHORTEST_LIFE <= seconds <= LONGEST_LIFE:
        raise ValueError(f"{text} is out of range: from {SHORTEST_LIFE // 3600}h to {LONGEST_LIFE // 86400}d.")
    return seconds


def _files_per_minute(text: str) -> int:
    if (number := parse_whole(text)) == 0:
        raise ValueError("0 files a minute would send none. Write 1 or more.")
    return number


def _part_size(text: str) -> int:
    from asyncsdk.uploads.chunking import LARGEST_PART, MIB

    size = parse_size(text)
    if not 0 < size <= LARGEST_PART:
        raise ValueError(f"{text} is out of range: from 1 byte to {LARGEST_PART // MIB}MiB.")
    return size


Whole = Annotated[int, Parameter(converter=from_text(parse_whole))]
Number = Annotated[float, Parameter(converter=from_text(parse_number))]
Dollars = Annotated[float, Parameter(converter=from_text(parse_dollars), metavar="USD")]
Size = Annotated[int, Parameter(converter=from_text(parse_size), metavar="SIZE")]
Rate = Annotated[int, Parameter(converter=from_text(parse_rate), metavar="RATE")]
Duration = Annotated[int, Parameter(converter=from_text(parse_duration), metavar="TIME")]
Connections = Annotated[
    int | None,
    Parameter(
        alias="-c",
        converter=from_text(parse_whole_or_auto),
        metavar="N|auto",
        show_default=False,
        help="Parts in flight, over all files; auto, the default: as many as pay, 4 to 32.",
    ),
]
DEFAULT_STALL = int(STALL_SECONDS)
StallTimeout = Annotated[
    int,
    Parameter(
        converter=from_text(parse_duration),
        metavar="TIME",
        show_default=False,
        help=f"Try again when the server confirms no byte for so long; {DEFAULT_STALL}s unless set.",
    ),
]
JournalPlace = Annotated[
    str | None,
    Parameter(name="--journal", metavar="DIR|memory|postgresql://…", help="Where the journal of uploads is kept."),
]


@Parameter(name="*", group=CONNECTION)
@frozen(kw_only=True)
class Connection:
    """Which server, and how to connect to it. Keys come from the environment or a command, never as an option."""

    base_url: Annotated[str | None, Parameter(metavar="URL", help="The API's address; else OPENAI_BASE_URL.")] = None
    auth: Annotated[Literal["bearer", "api-key"] | None, Parameter(help="The header that carries the key.")] = None
    key_command: Annotated[
        str | None,
        Parameter(metavar="CMD", help="A command that prints the key; run again when the server refuses that (401)."),
    ] = field(default=None, repr=False)
    query: Annotated[
        tuple[str, ...], Parameter(converter=_pair("="), metavar="K=V", help="Added to the URL of each request.")
    ] = ()
    header: Annotated[
        tuple[str, ...], Parameter(converter=_pair(":"), metavar="K:V", help="Added to each request.")
    ] = ()
    ca_file: Annotated[
        str | None, Parameter(metavar="PEM", help="A CA certificate to trust besides the usual ones.")
    ] = None
    proxy: Annotated[
        str | None, Parameter(metavar="URL", help="The proxy to use; else by HTTPS_PROXY or the system's settings.")
    ] = None
    max_retries: Annotated[
        Whole | None, Parameter(metavar="N", help="How often a request is repeated after a failure that may pass.")
    ] = None


@Parameter(name="*", group=OUTPUT)
@frozen(kw_only=True)
class Output:
    """The shape of standard output, and how much goes to standard error."""

    json: Annotated[bool, Parameter(help="Write JSON to standard output, one object a line.")] = False
    quiet: Annotated[bool, Parameter(alias="-q", help="Write only ids to standard output.")] = False
    verbose: Annotated[
        bool, Parameter(alias="-v", help="Log every request to standard error; list what was done before.")
    ] = False

    def __attrs_post_init__(self) -> None:
        if self.json and self.quiet:
            raise ConfigurationError("--json and --quiet exclude each other; choose one.")


Mode = Literal["auto", "bar", "lines", "json", "none"]
ShownAs = Annotated[Mode, Parameter(name="--progress", group=OUTPUT, help="How progress is shown on standard error.")]


@Parameter(name="*")
@frozen(kw_only=True)
class UploadOptions:
    """What the files are for, and how they are sent."""

    purpose: Annotated[
        str,
        Parameter(alias="-p", help="What the files are for: fine-tune, batch, assistants, vision, user_data, evals."),
    ]
    filename: Annotated[str | None, Parameter(help="The name to store it under, if there is one file.")] = None
    size: Annotated[
        int | None,
        Parameter(
            converter=from_text(parse_size),
            metavar="N",
            help="The bytes that come through standard input; unknown, they are kept on disk first.",
        ),
    ] = None
    mime_type: Annotated[str | None, Parameter(help="Their MIME type; else by each file's suffix.")] = None
    expires_after: Annotated[
        int | None,
        Parameter(converter=from_text(_life), metavar="TIME", help="When the server deletes them: after 1h to 30d."),
    ] = None
    method: Annotated[
        Literal["uploads", "files", "auto"],
        Parameter(help="In parts (uploads), each by one request (files), or auto: small ones by one request."),
    ] = "uploads"
    files_per_minute: Annotated[
        int | None,
        Parameter(
            converter=from_text(_files_per_minute),
            metavar="N",
            help="The limit on files sent by one request; else learned from the server.",
        ),
    ] = None
    md5: Annotated[
        Literal["hex", "base64", "off"] | None,
        Parameter(
            help="How the MD5 of the file is sent to be checked; hex unless set. With it auto sends parts alone."
        ),
    ] = None
    part_size: Annotated[
        int | None,
        Parameter(
            converter=from_text(_part_size),
            metavar="SIZE",
            help="Size of a part, at most 64MiB; else chosen by the file's size.",
        ),
    ] = None
    concurrency: Connections = None
    limit_rate: Annotated[Rate | None, Parameter(help="At most so fast, over all files: 2MB/s.")] = None
    journal: JournalPlace = None
    key: Annotated[
        str | None,
        Parameter(
            metavar="NAME",
            help="Your name for one file, or for one directory: it is resumed by that from any path, if its file is "
            "called the same or --filename is given.",
        ),
    ] = None
    stall_timeout: StallTimeout = DEFAULT_STALL
    no_resume: Annotated[bool, Parameter(help="Start from the beginning, even if a part was sent.")] = False
    no_lock: Annotated[bool, Parameter(help="For a journal on a file system without file locks.")] = False
    on_busy: Annotated[
        Literal["wait", "fail"], Parameter(help="What to do if another process is sending the file.")
    ] = "wait"
    if_uploaded: Annotated[Literal["reuse", "again"], Parameter(help="What to do if the file was uploaded before.")] = (
        "reuse"
    )
    include: Annotated[
        tuple[str, ...],
        Parameter(metavar="GLOB", help="Of directories and lists only these: '*.jsonl', 'new/**'. May be repeated."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Parameter(metavar="GLOB", help="Of directories and lists not these, also where included.")
    ] = ()
    files_from: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="LIST",
            allow_leading_hyphen=True,
            help="A file with a path a line, or NUL between them; - is standard input.",
        ),
    ] = ()
    follow_links: Annotated[bool, Parameter(help="Look through folders that directories link to, too.")] = False
    check: Annotated[
        Literal["none", "ends", "full"],
        Parameter(help="How much of .jsonl for fine-tune and batch is looked at before it is sent."),
    ] = "ends"
    split: Annotated[
        bool,
        Parameter(help="Cut a file for a batch that has more than 200 MB or 50,000 lines, each piece its own upload."),
    ] = False
    wait: Annotated[bool, Parameter(help="Wait until the server has processed each file.")] = False
