"""Reads the header of a picture: its kind, size and alpha, and whether bytes are a whole picture (pure).

Nothing is decoded, whatever size the header claims. PNG 3rd edition (W3C 2025), 11.2 and 11.3; JPEG ITU T.81, B.2;
EXIF 2.32, 4.6; WebP RFC 9649; GIF89a.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Literal, TypeVar

from attrs import frozen

Section = TypeVar("Section")
Kind = Literal["png", "jpeg", "webp", "gif"]

MIME_TYPES: dict[Kind, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}

_PNG, _GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")
_PNG_ALPHA = {4, 6}  # colour types: grey with alpha, RGB with alpha
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn, but for DHT, JPG and DAC
_JPEG_END = b"\xff\xd9"
_JPEG_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_HEIC, _ANY_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}, {b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}
_FOREIGN = {
    b"II*\0\x10\0\0\0CR": "camera raw", b"FUJIFILMCCD-RAW": "camera raw", b"IIU\0": "camera raw", b"IIRO": "camera raw",
    b"IIRS": "camera raw", b"MMOR": "camera raw", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF",
    b"MM\0+": "TIFF", b"BM": "BMP", b"%PDF-": "PDF", b"8BPS": "PSD", b"\0\0\1\0": "an icon", b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL", b"\0\0\0\x0cjP  ": "JPEG 2000",
}  # fmt: skip
_LONGEST_BRANDS = 256  # bytes
_EXTENTS = re.compile(rb"ispe\0{4}(.{4})(.{4})", re.DOTALL)
_FILL = re.compile(rb"\xff+")
_MOST_SECTIONS = 10_000  # before the pixels; real pictures have tens, and a hostile one could have millions
_TURNED = {5, 6, 7, 8}  # EXIF orientations that swap width and height


class BadPicture(ValueError):  # noqa: N818 - it is about a picture
    """Bytes that begin like a picture and are cut off or damaged; the message has where."""


@frozen
class Header:
    """The header of a picture. `orientation` is EXIF's, 1 for upright."""

    kind: Kind
    width: int
    height: int
    has_alpha: bool = False
    animated: bool = False
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as it is shown, after EXIF's orientation."""
        return (self.height, self.width) if self.orientation in _TURNED else (self.width, self.height)


def kind_of(data: bytes) -> Kind | None:
    """The kind of `data` by its first bytes; None for anything else."""
    if data.startswith(_PNG):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return "gif" if data.startswith(_GIF) else None


def foreign_kind(data: bytes) -> str | None:
    """The kind of a file that edits do not take, by its first bytes; None where it is unknown."""
    if data[4:8] == b"ftyp":
        return _kind_of_brands(data)
    foreign = next((name for start, name in _FOREIGN.items() if data.startswith(start)), None)
    return foreign or ("SVG" if is_svg(data) else None)


def _kind_of_brands(data: bytes) -> str | None:
    """The kind of an ISO media file (ISO 14496-12, 4.3), by its major brand, then by those that it goes along with."""
    major, end = data[8:12], min(int.from_bytes(data[:4]), _LONGEST_BRANDS)
    others = {data[start : start + 4] for start in range(16, end, 4)} if major in _ANY_HEIF else set()
    if major in _AVIF or (others & _AVIF and not others & _HEIC):
        return "AVIF"
    if major in _HEIC | _ANY_HEIF:
        return "HEIC"
    return "camera raw" if major == b"crx " else None


def heic_pixels(data: bytes) -> int:
    """How many pixels the largest image in a HEIC has, by its header; 0 where there is none (ISO 23008-12, 6.5.3)."""
    position = 0
    while position + 16 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        size = struct.unpack_from(">Q", data, position + 8)[0] if size == 1 else size or len(data)
        if name == b"meta":
            extents = _EXTENTS.finditer(data, position, position + size)
            return max((int.from_bytes(each[1]) * int.from_bytes(each[2]) for each in extents), default=0)
        position += max(size, 8)
    return 0


def heic_is_cut(data: bytes) -> bool:
    """Whether a box of a HEIC, such as the one with its pixels, ends after the data does (ISO 14496-12, 4.2)."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4])
        if size == 0:  # the last one, to the end
            return False
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16])
        position += max(size, 8)
    return position > len(data)


def look(data: bytes) -> Header | None:
    """Read the header of a whole picture; None for what is not a picture. Raises BadPicture."""
    kind = kind_of(data)
    if kind is None:
        return None
    try:
        header = {"png": _png, "jpeg": _jpeg, "webp": _webp, "gif": _gif}[kind](data)
    except (struct.error, IndexError) as error:
        raise BadPicture("it is cut off within its header") from error
    if not (header.width and header.height):
        raise BadPicture("its header gives it no size")
    return header


def _sections(sections: Iterator[Section]) -> Iterator[Section]:
    """As many as a picture may have. Raises BadPicture above that: reading a header must be cheap."""
    for number, section in enumerate(sections):
        if number >= _MOST_SECTIONS:
            raise BadPicture(f"it has more than {_MOST_SECTIONS} sections before its pixels")
        yield section


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise BadPicture("its first chunk is not IHDR")
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    chunks = {name: (start, end) for name, start, end in _sections(_png_chunks(data))}
    orientation = _exif_orientation(data, *chunks[b"eXIf"]) if b"eXIf" in chunks else 1
    if b"IDAT" not in chunks or data.rfind(b"IEND\xaeB`\x82", chunks[b"IDAT"][0]) < 0:
        raise BadPicture("it is cut off: a whole PNG ends with IEND")
    return Header("png", width, height, colour in _PNG_ALPHA or b"tRNS" in chunks, b"acTL" in chunks, orientation)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Chunk types with where their content begins and ends, up to the first of the pixels."""
    position = len(_PNG)
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        yield name, position + 8, min(position + 8 + length, len(data))
        if name in {b"IDAT", b"IEND"}:
            return
        position += 12 + length


def _jpeg(data: bytes) -> Header:
    exif: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    end = 0
    for marker, start, end in _sections(_jpeg_segments(data)):
        if size is not None:
            continue
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            exif = start + 6, end
        elif marker in _JPEG_FRAMES:
            size = struct.unpack_from(">HH", data, start + 1)
    if size is None:
        raise BadPicture("it is cut off: a JPEG's frame header is missing")
    # its pixels hold no such pair of bytes; before them a thumbnail may, and after it phones and cameras write more
    if data.find(_JPEG_END, end) < 0:
        raise BadPicture("it is cut off: a whole JPEG has an end-of-image marker (EOI)")
    height, width = size
    return Header("jpeg", width, height, orientation=1 if exif is None else _exif_orientation(data, *exif))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Markers with where their content begins and ends, up to the picture itself."""
    position = 2
    while position < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position = _FILL.search(data, position).end() - 1  # type: ignore[union-attr]  # it is there
            continue
        if marker in _JPEG_ALONE:
            yield marker, position + 2, position + 2
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if length < 2 or marker == 0xD9:
            raise BadPicture("a JPEG segment has no length")
        yield marker, position + 4, position + 2 + length
        if marker == 0xDA:
            return
        position += 2 + length


def _webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise BadPicture(f"it is cut off: {len(data)} of {size + 8} bytes are there")
    form = data[12:16]
    if form == b"VP8X":
        width, height = (int.from_bytes(data[start : start + 3], "little") + 1 for start in (24, 27))
        flags = data[20]
        orientation = _webp_orientation(data) if flags & 0x08 else 1
        return Header("webp", width, height, bool(flags & 0x10), bool(flags & 0x02), orientation)
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    if form == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("webp", width & 0x3FFF, height & 0x3FFF)
    raise BadPicture("it is a WebP of an unknown kind")


def _webp_orientation(data: bytes) -> int:
    for name, start, end in _sections(_webp_chunks(data)):
        if name == b"EXIF":
            return _exif_orientation(data, start + (6 if data[start : start + 6] == b"Exif\0\0" else 0), end)
    return 1


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        yield name, position + 8, position + 8 + length
        position += 8 + length + (length & 1)


def _gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("gif", width, height, has_alpha=True)


def _exif_orientation(data: bytes, start: int, end: int) -> int:
    """The orientation in a TIFF structure, 1 where there is none that can be read."""
    order = {b"II": "<", b"MM": ">"}.get(data[start : start + 2])
    if order is None:
        return 1
    tiff = memoryview(data)[start:end]
    try:
        (first,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, first)
        for entry in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if (tag, kind) == (0x0112, 3):
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_OTHERS = frozenset({"AVIF", "HEIC", "TIFF", "BMP", "an icon"})  # pictures too, though no edit takes them
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s+|<\?xml.*?\?>|<!--.*?-->|<!DOCTYPE\s+svg\b[^>\[]*(?:\[.*?\]\s*)?>)*+<(?:svg:)?svg[\s>/]",
    re.DOTALL | re.IGNORECASE,
)
_LONGEST_PROLOGUE = 1 << 16


def picture_problem(content: bytes) -> str | None:
    """Why `content` can't be used as a picture; None if it is one, and whole as far as can be seen."""
    if not content:
        return "it is empty"
    try:
        header = look(content)
    except BadPicture as error:
        return str(error)
    if header is not None or foreign_kind(content) in _OTHERS:
        return None
    if is_svg(content):
        end = content[-_LONGEST_PROLOGUE:].rstrip()
        return None if end.endswith(b"/>") or b"</svg" in end else "it is cut off: a whole SVG ends with </svg>"
    if content.lstrip()[:1] == b"<":
        return "it is a web page or other markup, not a picture"
    return "it is not a picture of a known kind"


def picture_kind(content: bytes) -> Kind | Literal["svg"] | None:
    """The kind of picture that `content` is, by its beginning; None for what an edit does not make."""
    return kind_of(content) or ("svg" if is_svg(content) else None)


def is_svg(content: bytes) -> bool:
    """Whether `content` is an SVG document: after what may come before it, it begins with `<svg`."""
    return _SVG.match(content, 0, _LONGEST_PROLOGUE) is not None
