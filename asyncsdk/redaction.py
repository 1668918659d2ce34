r"""Which secrets a request carries, and texts without them, however they are encoded (pure).

A secret is the API key, what opens the proxy, and each value of a header or of the query, unless its name is known
to be open, or it consists of plain words and nothing calls it a key, a token or the like. Each is searched for as it
is, in base64 at any alignment, and in hexadecimal; and all of these within escapes of JSON (`\u002B`, `\/`), URLs
(`%2B`) and HTML (`&#43;`), mixed and nested.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from html.entities import html5
from typing import Any

from attrs import field, frozen

KEY, SECRET = "[key]", "[secret]"
SHORTEST = 6  # characters of what is searched for
_GUESSABLE = re.compile(r".{1,5}|[a-z]{1,8}")  # would blank words and ids; it is only searched for beside its name
_LONGEST_TANGLE = 1 << 18  # characters of one text that are searched for escapes
_MOST_LAYERS = 4  # of escapes within escapes
_KEYS = frozenset({"authorization", "api-key"})
_SCHEMES = frozenset({"bearer", "basic", "token", "apikey", "digest", "negotiate"})
_BETWEEN_PIECES = re.compile(r"[\s;,]+")
# Headers and parameters of the query whose values are no secrets: those of HTTP and of the API, and names for tracing.
_OPEN = re.compile(
    r"((accept|content|cache|openai|x-stainless)(-.*)?|user-agent|host|connection|date|expect|transfer-encoding|"
    r"(.*-)?(request|correlation|trace|span)-id|traceparent|tracestate|"
    r"api-version|after|before|limit|order|purpose)",
    re.IGNORECASE,
)
_SECRETIVE = re.compile(r"auth|key|token|secret|pass|pwd|cookie|cred|session|sig|jwt|^code$", re.IGNORECASE)
_WORD = r"(?:[A-Za-z][a-z]{0,11}+\d{0,4}+|\d{1,8}+)"
_PLAIN = re.compile(rf"{_WORD}(?:[-_.:/+;=, ]++{_WORD})*+|[A-Z_]*+")  # `us-east-1`, `2026-01-31`, `text/plain`
_ESCAPE = re.compile(
    r"""\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\([\\/"'])|%([0-9a-fA-F]{2})|"""
    r"&#x([0-9a-fA-F]{1,6});|&#([0-9]{1,7});|&([a-zA-Z]{2,8};)"
)
_HEXADECIMAL = frozenset({1, 2, 4, 5})  # those of its groups


@frozen
class Redactor:
    """Takes the secrets of one request out of texts. It shows none of them itself."""

    _marks: Mapping[str, str] = field(repr=False)  # by what a text may show of a secret, the longest first

    def clean(self, text: str) -> str:
        """`text`, which may be JSON, with a mark in the place of each secret."""
        if not _is_tangled(text) and not self._is_shown_in(text):
            return text
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self._cleaned(text)
        cleaned = self.clean_json(value)
        return text if cleaned == value else json.dumps(cleaned)

    def clean_json(self, value: Any) -> Any:
        """Decoded JSON with a mark in the place of each secret, in names too."""
        if isinstance(value, str):
            return self._cleaned(value)
        if isinstance(value, list):
            return [self.clean_json(item) for item in value]
        if isinstance(value, dict):
            return {self._cleaned(name): self.clean_json(item) for name, item in value.items()}
        return value

    def clean_end(self, text: str) -> str:
        """`text`, which may have been cut, without the beginning of a secret at its end."""
        for shown, mark in self._marks.items():
            for size in range(len(shown) - 1, SHORTEST - 1, -1):
                if text.endswith(shown[:size]):
                    return text[:-size] + mark
        return text

    def _cleaned(self, text: str) -> str:
        for shown, mark in self._marks.items():
            text = text.replace(shown, mark)
        if not _is_tangled(text):
            return text
        plain = _disentangled(text[:_LONGEST_TANGLE])
        if not self._is_shown_in(plain):
            return text
        for shown, mark in self._marks.items():
            plain = plain.replace(shown, mark)
        return plain + text[_LONGEST_TANGLE:]

    def _is_shown_in(self, text: str) -> bool:
        return any(shown in text for shown in self._marks)


def redactor(headers: Mapping[str, str], query: Mapping[str, str], proxy: Mapping[str, str]) -> Redactor:
    """The redactor of a request with these `headers` and `query`, and `proxy`, which only a proxy is sent."""
    marks: dict[str, str] = {}
    for given in (headers, query, proxy):
        for name, value in given.items():
            for secret in dict.fromkeys(_secrets_of(name, value)):
                forms = (form for form in _forms_of(secret) if len(form) >= SHORTEST)
                marks = dict.fromkeys(forms, KEY if name.lower() in _KEYS else SECRET) | marks
    return Redactor(dict(sorted(marks.items(), key=lambda item: -len(item[0]))))


def text_of(body: bytes) -> str:
    """The text of a body, which may be JSON in UTF-16 or UTF-32, where a secret would be hidden between zeros."""
    return body.decode(json.detect_encoding(body) if b"\0" in body else "utf-8", "replace")


def _secrets_of(name: str, value: str) -> Iterator[str]:
    """What of a header or parameter is secret: all of it, and each piece that may be shown by itself."""
    if _OPEN.fullmatch(name):
        return
    scheme, _, rest = value.partition(" ")
    credentials = rest.strip() if scheme.lower() in _SCHEMES else value
    if _SECRETIVE.search(name):
        yield f"{name}: {value}" if _GUESSABLE.fullmatch(credentials) else credentials
    elif not _is_plain(credentials):
        yield credentials
    if scheme.lower() == "basic":
        login = _decoded(credentials)
        credentials, _, password = login.partition(":")
        yield from (login, *([] if _GUESSABLE.fullmatch(password) else [password]))
    for piece in _BETWEEN_PIECES.split(credentials):
        for part in (piece, piece.partition("=")[2]):
            if not _is_plain(part):
                yield part


def _is_plain(value: str) -> bool:
    """Whether it consists of words and short numbers, as secrets don't: an answer may show such words by itself."""
    return _PLAIN.fullmatch(value) is not None and not _SECRETIVE.search(value)


def _decoded(text: str) -> str:
    try:
        return b64decode(text.strip()).decode("utf-8", "replace")
    except ValueError:
        return ""


def _forms_of(secret: str) -> Iterator[str]:
    """How a text may show `secret` once its escapes are resolved."""
    octets = secret.encode("utf-8", "surrogateescape")
    yield secret
    yield from {_disentangled(secret), secret.replace(" ", "+"), octets.decode("latin-1")}
    encoded = b64encode(octets).decode()
    yield from {encoded, encoded.translate(_URL_SAFE)}
    for start in range(3):
        encoded = b64encode(bytes(start) + octets).decode().rstrip("=")
        inner = encoded[(0, 2, 3)[start] : len(encoded) - bool((start + len(octets)) % 3)]  # what no neighbour changes
        yield from {inner, inner.translate(_URL_SAFE)}
    yield from (octets.hex(), octets.hex().upper())


_URL_SAFE = str.maketrans("+/", "-_")


def _is_tangled(text: str) -> bool:
    return "%" in text or "\\" in text or "&" in text


def _disentangled(text: str) -> str:
    """`text` with all its escapes resolved, also those within others."""
    for _ in range(_MOST_LAYERS):
        if not _is_tangled(text):
            break
        plain = _ESCAPE.sub(_meant, text)
        if plain == text:
            break
        text = plain
    return text


def _meant(match: re.Match[str]) -> str:
    kind = match.lastindex or 0
    written = match[kind]
    if kind == 3:
        return written
    if kind == 7:
        return html5.get(written, match[0])
    code = int(written, 16 if kind in _HEXADECIMAL else 10)
    return chr(code) if code <= 0x10FFFF else match[0]
