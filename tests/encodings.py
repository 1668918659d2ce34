"""How a text may stand in another: as JSON, URLs, HTML, base64 and hexadecimal write it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from html import escape
from urllib.parse import quote, quote_plus

ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, each character": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "JSON, each character in capitals": lambda text: "".join(f"\\u{ord(c):04X}" for c in text),
    "JSON, the first character": lambda text: f"\\u{ord(text[0]):04x}{text[1:]}",
    "JSON, slashes": lambda text: text.replace("/", "\\/"),
    "JSON, as .NET has it": lambda text: text.replace("+", "\\u002B").replace("&", "\\u0026").replace("'", "\\u0027"),
    "JSON in JSON": lambda text: json.dumps("".join(f"\\u{ord(c):04x}" for c in text))[1:-1],
    "URL": lambda text: quote(text, safe=""),
    "URL, slashes kept": quote,
    "URL, form": quote_plus,
    "URL, in lower case": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "URL, each character": lambda text: "".join(f"%{ord(c):02x}" for c in text),
    "URL, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "HTML": escape,
    "HTML, each character": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "HTML, each character in hexadecimal": lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    "HTML, by name": lambda text: text.replace("+", "&plus;").replace("/", "&sol;").replace("&c0", "&amp;c0"),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 behind a name": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64 behind a scheme": lambda text: base64.b64encode(f"Bearer {text}".encode()).decode(),
    "base64 within more": lambda text: base64.b64encode(f"ab{text}cd".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 in a URL": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "base64 in JSON": lambda text: base64.b64encode(text.encode()).decode().replace("/", "\\/"),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal in capitals": lambda text: text.encode().hex().upper(),
}


def forms_of(secret: str) -> set[str]:
    """What shows `secret` in a file or a log, wherever it begins in base64."""
    whole = {encode(secret) for name, encode in ENCODINGS.items() if not name.startswith("base64")}
    encoded = {base64.b64encode(bytes(start) + secret.encode()).decode()[4:-4] for start in range(3)}
    encoded |= {form.translate(str.maketrans("+/", "-_")) for form in encoded}
    return whole | encoded | {quote(form, safe="") for form in encoded} | {form.replace("/", "\\/") for form in encoded}
