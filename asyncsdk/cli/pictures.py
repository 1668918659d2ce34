"""Which files of a folder are pictures, by their suffixes, and which of them a browser shows (pure)."""

from __future__ import annotations

from pathlib import PurePath

EDITABLE = frozenset({".png", ".jpg", ".jpeg", ".webp"})
# these are read, so that each is refused by what is in it, or converted
_HEIC = frozenset({".heic", ".heif", ".hif", ".heics", ".heifs"})
_SHOWN = frozenset({".gif", ".bmp", ".avif", ".svg", ".svgz", ".ico", ".jfif", ".jpe", ".apng"})
_NOT_SHOWN = frozenset(
    {
        ".tif", ".tiff", ".psd", ".psb", ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".tga", ".xcf", ".exr", ".hdr",
        ".eps", ".pcx", ".ppm", ".pgm", ".pbm", ".pnm", ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng",
        ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2",
        ".rwl", ".sr2", ".srf", ".srw", ".x3f",
    }
)  # fmt: skip


def is_editable(path: PurePath) -> bool:
    """Whether the file has the suffix of a picture that edits take as it is."""
    return path.suffix.lower() in EDITABLE


def is_picture(path: PurePath) -> bool:
    """Whether the file has the suffix of any picture."""
    return path.suffix.lower() in EDITABLE | _HEIC | _SHOWN | _NOT_SHOWN


def is_shown(path: PurePath) -> bool:
    """Whether browsers show the file, unless its content is not what its suffix says."""
    return path.suffix.lower() not in _HEIC | _NOT_SHOWN
