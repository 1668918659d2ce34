"""New ids in the real server's form: `upload_`, `part_`, `req_` and 32 hex digits, `file-` and 22 letters or digits."""

from __future__ import annotations

import secrets
import string

_ALPHANUMERIC = string.ascii_letters + string.digits


def new_upload_id() -> str:
    return f"upload_{secrets.token_hex(16)}"


def new_part_id() -> str:
    return f"part_{secrets.token_hex(16)}"


def new_file_id() -> str:
    return "file-" + "".join(secrets.choice(_ALPHANUMERIC) for _ in range(22))


def new_request_id() -> str:
    return f"req_{secrets.token_hex(16)}"
