"""What the files of an edit's pictures are called, so that every file system takes the name (pure)."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from itertools import accumulate

from attrs import frozen

from asyncsdk.images.header import picture_kind

LONGEST_NAME = 200  # bytes of one name; file systems take 255, and what sets it apart, a number and a suffix follow
LONGEST_PATH = 1000
_LONGEST_RAW = 40  # characters; a number follows
_UNSAFE = re.compile(r"[^\w.-]+")

_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif", "svg": ".svg"}
_FORMATS = {suffix: kind for kind, suffix in _SUFFIXES.items()} | {".jpeg": "jpeg"}
# what Windows does not take, control characters, line separators, what turns the text around, half characters
_REFUSED = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\\u2028-\u202e\u2066-\u2069\ud800-\udfff]|%(?=[0-9A-Fa-f]{2})')
# Windows keeps these for devices, with any suffix; a picture of that name could not be copied there
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# most names are all right as they are, which is seen at once
_PLAIN_PART = r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:[./]|$))[\w-](?:[\w .-]{0,198}[\w-])?"
_PLAIN = re.compile(f"{_PLAIN_PART}(?:/{_PLAIN_PART})*", re.IGNORECASE | re.ASCII)


def suffix_of(content: bytes) -> str:
    """The suffix of a file with these bytes."""
    return _SUFFIXES.get(picture_kind(content) or "", ".bin")


def format_of(suffix: str) -> str | None:
    """The format of a file that ends with `suffix`: `jpeg` for `.JPG`; None if it is not one that edits have."""
    return _FORMATS.get(suffix.lower())


def suffix_for(content: bytes, wanted: str) -> str:
    """The suffix of a file with these bytes, as it is written in `wanted` (`.jpeg`, `.PNG`) if that is its format."""
    return wanted if wanted and format_of(wanted) == picture_kind(content) else suffix_of(content)


def stems(name: str, pictures: int) -> list[str]:
    """The names of `pictures` images, without suffix: `name`, `name.1`, `name.2`."""
    return [name] if pictures <= 1 else [stem_of(name, number) for number in range(pictures)]


def stem_of(name: str, number: int) -> str:
    """The name of one of several pictures, without suffix; they are numbered from 0."""
    return f"{name}.{number}" if number else name


def raw_stem(name: str) -> str:
    """A name for what came in the place of an edit's pictures: it stays within its directory and is never hidden."""
    return _UNSAFE.sub("_", name)[:_LONGEST_RAW].lstrip(".") or "edit"


def casefolded(stem: str) -> str:
    """A form that is equal for two names that some file system takes for one."""
    if stem.isascii():  # most are, and a run has many
        return stem.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())


def name_digest(stem: str) -> bytes:
    """A name in few bytes: equal for two names that some file system takes for one, and in practice for no others."""
    return blake2b(casefolded(stem).encode(errors="surrogatepass"), digest_size=15).digest()


def safe_name(name: str) -> str:
    """`name` as every file system takes it: what some refuse is percent-encoded, and what is too long is cut.

    No two names become one but for those that are cut, which end with a digest. `/` makes folders; what leads out of
    the directory stays as it is, for `stem_problem` to name.
    """
    return name if _PLAIN.fullmatch(name) else "/".join(map(_safe_part, name.split("/")))


def _safe_part(part: str) -> str:
    if part in {"", ".", ".."}:
        return part
    safe = _REFUSED.sub(_encoded, part)
    if _DEVICE.fullmatch(safe) or safe.startswith(" "):
        safe = _encode(safe[0]) + safe[1:]
    if safe.endswith((" ", ".")):
        safe = safe[:-1] + _encode(safe[-1])
    encoded = safe.encode()
    if len(encoded) <= LONGEST_NAME:
        return safe
    digest = blake2b(encoded, digest_size=8).hexdigest()
    return f"{encoded[: LONGEST_NAME - 1 - len(digest)].decode(errors='ignore')}~{digest}"


def _encoded(match: re.Match[str]) -> str:
    return _encode(match[0])


def _encode(character: str) -> str:
    """As `%3A`; a byte of a file's name that is not text is that byte."""
    is_byte = "\udc80" <= character <= "\udcff"
    return "".join(
        f"%{byte:02X}" for byte in character.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    )


@frozen
class NameProblem:
    """Why a name can't name a picture: in full, and in a few words for who counts them."""

    text: str
    reason: str


def stem_problem(name: str) -> NameProblem | None:
    """Why `name` can't name a picture below a directory; None if it can. `/` makes folders."""
    if len(name) <= LONGEST_PATH and _PLAIN.fullmatch(name):  # it has no part that begins with a dot
        return None
    if len(name.encode(errors="replace")) > LONGEST_PATH:
        return NameProblem(f"the id {name[:40]!r}… is longer than {LONGEST_PATH} bytes", "with an id that is too long")
    for part in name.split("/"):
        if part in {"", ".", ".."}:
            leads = _where_it_leads(name)
            return NameProblem(f"the id {name!r} {leads}", f"with an id that {leads}")
        if casefolded(_seen(part)).startswith(".asyncsdk"):
            return NameProblem(f"the id {name!r} is kept for the ledger", "with an id that is kept for the ledger")
    return None


def _where_it_leads(name: str) -> str:
    parts = name.split("/")
    steps = accumulate({"..": -1, ".": 0, "": 0}.get(part, 1) for part in parts)
    if name.startswith("/") or min(steps) < 0:
        return "leads out of the directory"
    return "goes back with '..'" if ".." in parts else "leads nowhere"


def why_refused(name: str, otherwise: str) -> str:
    """In a few words, why an edit can't have `name`; `otherwise` where others of the run are what is in the way."""
    problem = stem_problem(safe_name(name))
    return otherwise if problem is None else problem.reason


def _seen(part: str) -> str:
    """Without invisible characters, such as joiners, which older Mac disks ignore in names."""
    return part if part.isascii() else "".join(char for char in part if unicodedata.category(char) != "Cf")
