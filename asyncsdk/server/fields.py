"""Reads and checks the fields of requests for uploads and files (pure); fields that are left over are unknown ones.

Limits and names are those of the OpenAPI document; the purposes are those that POST /files takes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from asyncsdk.server.errors import invalid, missing, mistyped, unknown
from asyncsdk.server.objects import StoredUpload

UPLOAD_LIMIT = 8 * 2**30
LIST_LIMIT = 10_000
FILE_SECONDS = (3600, 2_592_000)
PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")

Fields = dict[str, Any]


@frozen
class CompleteFields:
    """The body of complete: the parts in the order of their bytes, and the md5 of the whole, if sent."""

    part_ids: tuple[str, ...]
    md5: bytes | None


@frozen
class ListQuery:
    """The query of a list of files."""

    purpose: str | None
    limit: int
    order: str
    after: str | None


def read_upload(fields: Fields, *, upload_id: str, file_id: str, created_at: int, ttl: int) -> StoredUpload:
    """Read the body of POST /uploads. Raises ApiError."""
    upload = StoredUpload(
        id=upload_id,
        file_id=file_id,
        created_at=created_at,
        expires_at=created_at + ttl,
        bytes=take_integer(fields, "bytes", 1, UPLOAD_LIMIT),
        filename=take_text(fields, "filename"),
        mime_type=take_text(fields, "mime_type"),
        purpose=take_purpose(fields),
        expires_after=take_expires_after(fields),
    )
    refuse_unknown(fields)
    return upload


def read_completion(fields: Fields) -> CompleteFields:
    """Read the body of POST /uploads/{upload_id}/complete. Raises ApiError."""
    part_ids = take(fields, "part_ids")
    if not isinstance(part_ids, list):
        raise mistyped("part_ids", "an array of strings", part_ids)
    for index, part_id in enumerate(part_ids):
        if not isinstance(part_id, str):
            raise mistyped(f"part_ids[{index}]", "a string", part_id)
    md5 = read_md5(take_text(fields, "md5")) if "md5" in fields else None
    refuse_unknown(fields)
    return CompleteFields(tuple(part_ids), md5)


def read_md5(text: str) -> bytes:
    """Read an md5 as 32 hex digits or as base64; the document does not define which."""
    try:
        digest = bytes.fromhex(text) if len(text) == 32 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise invalid("md5", "it is neither hexadecimal nor base64") from error
    if len(digest) != 16:
        raise invalid("md5", "it is not 16 bytes long")
    return digest


def read_listing(query: Mapping[str, str]) -> ListQuery:
    """Read the query of GET /files; unknown names, such as `api-version`, are ignored. Raises ApiError."""
    limit = integer("limit", query.get("limit", str(LIST_LIMIT)))
    order = query.get("order", "desc")
    if not 1 <= limit <= LIST_LIMIT:
        raise invalid("limit", f"{limit} is not between 1 and {LIST_LIMIT}")
    if order not in ("asc", "desc"):
        raise invalid("order", f"'{order}' is not one of ['asc', 'desc']")
    return ListQuery(query.get("purpose"), limit, order, query.get("after"))


def unflatten(fields: Mapping[str, str]) -> Fields:
    """Nest a form's `expires_after[seconds]` as JSON does."""
    anchor, seconds = "expires_after[anchor]", "expires_after[seconds]"
    nested: Fields = {name: value for name, value in fields.items() if name not in (anchor, seconds)}
    policy: Fields = {}
    if anchor in fields:
        policy["anchor"] = fields[anchor]
    if seconds in fields:
        policy["seconds"] = integer(seconds, fields[seconds])
    return {**nested, "expires_after": policy} if policy else nested


def take(fields: Fields, name: str, *, inside: str = "") -> Any:
    """Remove and return a field; `inside` names the object that `fields` is, for the message."""
    if name not in fields:
        raise missing(_full_name(name, inside))
    return fields.pop(name)


def take_text(fields: Fields, name: str, *, inside: str = "") -> str:
    value = take(fields, name, inside=inside)
    if not isinstance(value, str):
        raise mistyped(_full_name(name, inside), "a string", value)
    if not value:
        raise invalid(_full_name(name, inside), "it is empty")
    return value


def take_integer(fields: Fields, name: str, low: int, high: int, *, inside: str = "") -> int:
    value = take(fields, name, inside=inside)
    if not isinstance(value, int) or isinstance(value, bool):
        raise mistyped(_full_name(name, inside), "an integer", value)
    if not low <= value <= high:
        raise invalid(_full_name(name, inside), f"it is not between {low} and {high}")
    return value


def take_purpose(fields: Fields) -> str:
    purpose = take_text(fields, "purpose")
    if purpose not in PURPOSES:
        raise invalid("purpose", f"'{purpose}' is not one of {list(PURPOSES)}")
    return purpose


def take_expires_after(fields: Fields, name: str = "expires_after") -> int | None:
    """Remove and return an optional policy such as `expires_after`, in seconds from `created_at`."""
    if name not in fields:
        return None
    policy = fields.pop(name)
    if not isinstance(policy, dict):
        raise mistyped(name, "an object", policy)
    if take_text(policy, "anchor", inside=name) != "created_at":
        raise invalid(f"{name}[anchor]", "it is not 'created_at'")
    seconds = take_integer(policy, "seconds", *FILE_SECONDS, inside=name)
    refuse_unknown(policy, inside=name)
    return seconds


def refuse_unknown(fields: Fields, *, inside: str = "") -> None:
    for name in fields:
        raise unknown(_full_name(name, inside))


def _full_name(name: str, inside: str) -> str:
    return f"{inside}[{name}]" if inside else name


def integer(name: str, text: str) -> int:
    """Read an integer from text. Raises ApiError."""
    if not re.fullmatch(r"-?[0-9]{1,18}", text):  # int() accepts "1_0", " 1" and digits of any script
        raise mistyped(name, "an integer", text)
    return int(text)
