"""New ids in the real server's form: `upload_`, `part_`, `batch_`, `req_` and 32 hex digits, `file-` and more."""

from __future__ import annotations

import secrets
import string

_ALPHANUMERIC = string.ascii_letters + string.digits


def new_upload_id() -> str:
    return f"upload_{secrets.token_hex(16)}"


def new_part_id() -> str:
    return f"part_{secrets.token_hex(16)}"


def new_file_id() -> str:
    return f"file-{_letters_or_digits(22)}"


def new_batch_id() -> str:
    return f"batch_{secrets.token_hex(16)}"


def new_batch_request_id() -> str:
    return f"batch_req_{secrets.token_hex(16)}"


def new_picture_name() -> str:
    """A name that cannot be guessed: it is all that a caller needs to get the picture."""
    return f"img-{_letters_or_digits(24)}.png"


def new_request_id() -> str:
    return f"req_{secrets.token_hex(16)}"


def _letters_or_digits(count: int) -> str:
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(count))
