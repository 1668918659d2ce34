"""What pictures are called, and which name an edit's pictures get (pure): its own, or one like it where that is taken.

An `id` is what a person wrote. It is refused where another edit of the run has it, and an earlier picture of that id
is moved aside, as long as it may have been made of the same source. A name that was only made, of a path or a line's
number, always gives way itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import count
from pathlib import PurePath

from attrs import define, field, frozen

from asyncsdk.images.edit import ImageEdit, file_name
from asyncsdk.images.header import picture_kind
from asyncsdk.images.ledger.states import ItemState

LONGEST_NAME = 200  # bytes of one name; file systems take 255, and what sets it apart, a number and a suffix follow
LONGEST_PATH = 1000
_LONGEST_RAW = 40  # characters; a number follows
_UNSAFE = re.compile(r"[^\w.-]+")

_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif", "svg": ".svg"}
# what Windows does not take, control characters, line separators, what turns the text around, half characters
_REFUSED = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\\u2028-\u202e\u2066-\u2069\ud800-\udfff]|%(?=[0-9A-Fa-f]{2})')
# Windows keeps these for devices, with any suffix; a picture of that name could not be copied there
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# most names are all right as they are, which is seen at once
_PLAIN_PART = r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:[./]|$))[\w-](?:[\w .-]{0,198}[\w-])?"
_PLAIN = re.compile(f"{_PLAIN_PART}(?:/{_PLAIN_PART})*", re.IGNORECASE | re.ASCII)


def suffix_of(content: bytes) -> str:
    """What a file with these bytes is to end with."""
    return _SUFFIXES.get(picture_kind(content) or "", ".bin")


def stems(name: str, pictures: int) -> list[str]:
    """The names of so many pictures, without suffix: `name`, `name.1`, `name.2`."""
    return [stem_of(name, number) for number in range(pictures)] or [name]


def stem_of(name: str, number: int) -> str:
    """The name of one of several pictures, without suffix; they are numbered from 0."""
    return f"{name}.{number}" if number else name


def raw_stem(name: str) -> str:
    """A name for what came in the place of an edit's pictures: it stays within its directory and is never hidden."""
    return _UNSAFE.sub("_", name)[:_LONGEST_RAW].lstrip(".") or "edit"


def casefolded(stem: str) -> str:
    """What two names have in common if some file system takes them for one."""
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


def stem_problem(name: str) -> str | None:
    """Why `name` can't name a picture below a directory; None if it can. `/` makes folders."""
    if len(name.encode(errors="replace")) > LONGEST_PATH:
        return f"the id {name[:40]!r}… is longer than {LONGEST_PATH} bytes"
    for part in name.split("/"):
        if part in {"", ".", ".."}:
            return f"the id {name!r} leads out of the directory, or nowhere"
        if casefolded(_seen(part)).startswith(".asyncsdk"):
            return f"the id {name!r} is kept for the ledger"
    return None


def _seen(part: str) -> str:
    """Without what nobody sees, such as joiners, which a Mac's older disks don't tell names apart by."""
    return part if part.isascii() else "".join(char for char in part if unicodedata.category(char) != "Cf")


@define
class Names:
    """The names that a run has given away: each as its mark, and the place of the edit that has it.

    A place is the line of a job file, or below 0 the number of the edit in the run.
    """

    _taken: dict[bytes, int] = field(factory=dict)

    def __contains__(self, stem: str) -> bool:
        return name_digest(stem) in self._taken

    def reserve(self, name: str, pictures: int, place: int) -> str | None:
        """Take the names of so many pictures for the edit at `place`; else say why not, and take none."""
        safe = safe_name(name)
        problem = stem_problem(safe)
        if problem is not None:
            return f"{problem}. Nothing was sent."
        wanted = [name_digest(stem) for stem in stems(safe, pictures)]
        taken = next((self._taken[stem] for stem in wanted if stem in self._taken), None)
        if taken is not None:
            return (
                f"{_told(place)} has the id {name!r}, which would save over the pictures of {_told(taken)}: ids must "
                "differ, in more than upper and lower case, and 'a' with n=2 takes 'a.1' too. Nothing was sent."
            )
        self._taken.update(dict.fromkeys(wanted, place))
        return None


def _told(place: int) -> str:
    return f"line {place}" if place > 0 else f"edit {-place}"


DIGITS = 8  # of the digest that sets one name apart from another


@frozen
class Named:
    """An edit that wants a name for so many `pictures`; `number` is its name if it has neither `id` nor `name`.

    `source` is a digest of where its first picture comes from, None if that is not known. `item` is what the ledger
    knows it by, and `state` how it is there; an edit whose pictures could not be read has none.
    """

    edit: ImageEdit
    number: str
    source: str | None
    pictures: int = 1
    item: str | None = None
    state: ItemState | None = None

    @property
    def wanted(self) -> str:
        """What it is called unless another one has that name."""
        return self.edit.id or self._derived or self.number

    @property
    def called(self) -> str | None:
        """What it is called already: by a person, or by an earlier run."""
        return self.edit.id or (None if self.state is None else self.state.id)

    @property
    def _derived(self) -> str | None:
        return self.edit.name if isinstance(self.edit.name, str) else None  # before it is read, it may be anything

    def candidates(self) -> Iterator[str]:
        """Names to be tried in turn: the wanted one, that with the source's suffix, that with a piece of its digest."""
        if not self.edit.id and self.state is not None:
            yield self.state.id
        yield self.wanted
        suffix = PurePath(file_name(self.edit.image[0]) or "").suffix if self._derived and self.edit.image else ""
        if suffix:
            yield f"{self.wanted}-{suffix[1:]}"
        apart = f"{self.wanted}-{(self.item or self.source or '')[:DIGITS]}".removesuffix("-")
        yield apart
        yield from (f"{apart}-{number}" for number in count(2))


@define
class Naming:
    """The names that one run gives, held against those that earlier runs gave."""

    owner_of: Callable[[str], str | None]
    state_of: Callable[[str], ItemState | None]
    names: Names = field(factory=Names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and safe_name(name) in self.names

    def free(self, named: Named) -> str:
        """The first of its names that no other edit has, in this run or by an earlier one."""
        return next(name for name in named.candidates() if self._is_free(name, named))

    def is_another(self, owner: str, named: Named) -> bool:
        """Whether the item `owner` was surely made of another source than `named`."""
        state = self.state_of(owner)
        source = None if state is None else state.source
        return owner != named.item and None not in {source, named.source} and source != named.source

    def _is_free(self, name: str, named: Named) -> bool:
        wanted = stems(safe_name(name), named.pictures)
        return not any(stem in self.names for stem in wanted) and all(
            self._gives_way(owner, named) for stem in wanted if (owner := self.owner_of(stem)) is not None
        )

    def _gives_way(self, owner: str, named: Named) -> bool:
        """Whether `named` may have the name of the item `owner`: that is the same, or was made of the same picture."""
        if owner == named.item:
            return True
        state = self.state_of(owner) if named.edit.name is not None else None
        return state is not None and named.source is not None and state.source == named.source
