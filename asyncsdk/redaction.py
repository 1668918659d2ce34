r"""Removes the secrets of a request from texts, however they are encoded (pure).

A secret is the API key, the credentials of the proxy, and each value of a header or of the query, unless its name is
known to be public, or it consists of plain words and no name calls it a key, a token or the like. Each is searched for
as it is, in base64 at any alignment, and in hexadecimal; and all of these within escapes of JSON (`\u002B`, `\/`), URLs
(`%2B`) and HTML (`&#43;`), mixed and nested.

There are two strengths. Texts of errors lose all secrets. Successful responses lose credentials: the API key, those of
the proxy, and what a name calls a key, a token or the like. Ids and URLs in them lose the API key alone: they are used.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from html.entities import html5
from typing import Any

from attrs import field, frozen

from asyncsdk.safe_json import json_value

KEY, SECRET = "[key]", "[secret]"
SHORTEST = 6  # characters of what is searched for
_GUESSABLE = re.compile(r".{1,5}|[a-z]{1,8}")  # would hide words and ids; it is only searched for beside its name
SMALL = 256 << 10  # bytes of an error or of one object, and how much of one text is searched for escapes
_SHORTEST_BEGINNING = 12  # characters of the API key, which an error may quote in part
_MOST_LAYERS = 4  # of escapes within escapes
_KEYS = frozenset({"authorization", "api-key"})
_SCHEMES = frozenset({"bearer", "basic", "token", "apikey", "digest", "negotiate"})
_BETWEEN_PIECES = re.compile(r"[\s;,]+")
# Headers and parameters of the query whose values are not secret: those of HTTP and of the API, and names for tracing.
_OPEN = re.compile(
    r"((accept|content|cache|openai|x-stainless)(-.*)?|user-agent|host|connection|date|expect|transfer-encoding|"
    r"(.*-)?(request|correlation|trace|span)-id|traceparent|tracestate|"
    r"api-version|after|before|limit|order|purpose)",
    re.IGNORECASE,
)
_SECRETIVE = re.compile(r"auth|key|token|secret|pass|pwd|cookie|cred|session|sig|jwt|^code$", re.IGNORECASE)
_WORD_OF_NAME = re.compile(r"[A-Z]++(?![a-z])|[A-Z]?[a-z]++|[A-Z]")
# fmt: off
_CREDENTIALS = frozenset({
    "accesstoken", "apikey", "auth", "authentication", "authorization", "authtoken", "cookie", "cookies", "cred",
    "credential", "credentials", "creds", "jwt", "key", "keys", "pass", "passphrase", "passwd", "password", "pwd",
    "secret", "secrets", "session", "sessionid", "sig", "signature", "token", "tokens",
})
# fmt: on
_OF_USE = re.compile(r"(?:.*_)?(?:id|url)", re.DOTALL)  # members whose values are sent or fetched again
_WORD = r"(?:[A-Za-z][a-z]{0,11}+\d{0,4}+|\d{1,8}+)"
_PLAIN = re.compile(rf"{_WORD}(?:[-_.:/+;=, ]++{_WORD})*+|[A-Z_]*+")  # `us-east-1`, `2026-01-31`, `text/plain`
_ESCAPE = re.compile(
    r"""\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\([\\/"'])|%([0-9a-fA-F]{2})|"""
    r"&#x([0-9a-fA-F]{1,6});|&#([0-9]{1,7});|&([a-zA-Z]{2,8};)"
)
_HEXADECIMAL = frozenset({1, 2, 4, 5})  # those of its groups


@frozen
class _Marks:
    """The forms in which texts may show secrets, the longest first, each with the mark for it.

    Of `keys` a prefix is enough, unencoded.
    """

    by_form: Mapping[str, str] = field(factory=dict)
    keys: tuple[str, ...] = ()

    def are_needed_in(self, text: str) -> bool:
        return any(form in text for form in self.by_form) or any(key[:_SHORTEST_BEGINNING] in text for key in self.keys)

    def put_into(self, text: str) -> str:
        """`text` with a mark in the place of each secret; its escapes are resolved if they hide a secret."""
        text = self.replaced(text)
        if not _is_tangled(text):
            return text
        plain = _disentangled(text[:SMALL])
        return self.replaced(plain) + text[SMALL:] if self.are_needed_in(plain) else text

    def replaced(self, text: str) -> str:
        for form, mark in self.by_form.items():
            text = text.replace(form, mark)
        for key in self.keys:
            before, *pieces = text.split(key[:_SHORTEST_BEGINNING])
            rest = key[_SHORTEST_BEGINNING:]
            text = before + "".join(f"{KEY}{piece[_common(piece, rest) :]}" for piece in pieces)
        return text


@frozen
class Redactor:
    """Removes the secrets of one request from texts. Its repr shows none of them."""

    _all: _Marks = field(factory=_Marks, repr=False)
    _credentials: _Marks = field(factory=_Marks, repr=False)  # what successful responses lose
    _api_key: _Marks = field(factory=_Marks, repr=False)  # what ids and URLs in them lose

    def clean(self, text: str) -> str:
        """`text` of an error, which may be JSON, with a mark in the place of each secret."""
        if not self.may_be_in(text):
            return text
        try:
            value = json_value(text)
        except ValueError:
            return self._all.put_into(text)
        cleaned = _marked(value, self._all, self._all, with_numbers=True)
        return self._all.replaced(text if cleaned == value else json.dumps(cleaned))  # quotes may belong to a secret

    def clean_answer(self, value: Any) -> Any:
        """Decoded JSON of a successful response with a mark in the place of each credential, in names too."""
        return _marked(value, self._credentials, self._api_key)

    def clean_url(self, url: str) -> str:
        """A URL of a successful response with a mark in the place of the API key."""
        return self._api_key.put_into(url) if self._api_key.by_form else url

    def clean_end(self, text: str) -> str:
        """`text`, which may have been cut, with a mark for the beginning of a secret at its end."""
        for form, mark in self._all.by_form.items():
            for size in range(len(form) - 1, SHORTEST - 1, -1):
                if text.endswith(form[:size]):
                    return text[:-size] + mark
        return text

    def may_be_in(self, text: str) -> bool:
        """Whether `text` may show a secret, by a quick test."""
        return _is_tangled(text) or self._all.are_needed_in(text)


NO_SECRETS = Redactor()


def redactor(
    headers: Mapping[str, str], query: Mapping[str, str], proxy: Mapping[str, str], former_keys: Iterable[str] = ()
) -> Redactor:
    """The redactor of a request with these `headers` and `query`, and `proxy`, the headers that only a proxy is sent.

    It also removes the `former_keys` of the client, which a server may still show.
    """
    marks: dict[str, str] = {}
    credentials: set[str] = set()
    keys: list[str] = []
    for fields in (headers, query, proxy, *({"Authorization": f"Bearer {key}"} for key in former_keys)):
        for name, value in fields.items():
            mark = KEY if name.lower() in _KEYS else SECRET
            for secret in dict.fromkeys(_secrets_of(name, value)):
                forms = [form for form in _forms_of(secret) if len(form) >= SHORTEST]
                marks = dict.fromkeys(forms, mark) | marks
                credentials.update(forms if fields is proxy or _is_credential(name) else ())
                keys += [secret] if mark == KEY and len(secret) > _SHORTEST_BEGINNING and secret in value else []
    ordered = dict(sorted(marks.items(), key=lambda item: -len(item[0])))
    return Redactor(
        _Marks(ordered, tuple(keys)),
        _Marks({form: mark for form, mark in ordered.items() if form in credentials}),
        _Marks({form: mark for form, mark in ordered.items() if mark == KEY}),
    )


def text_of(body: bytes) -> str:
    """The text of a body, which may be JSON in UTF-16 or UTF-32, where zero bytes would hide a secret."""
    return body.decode(json.detect_encoding(body) if b"\0" in body else "utf-8", "replace")


def _marked(value: Any, marks: _Marks, in_use: _Marks, *, with_numbers: bool = False) -> Any:
    """Decoded JSON with `marks` for its secrets; those of `in_use` in its ids and URLs.

    Numbers are left alone unless `with_numbers`: a number of a successful response, such as its tokens, is counted.
    """
    if isinstance(value, str):
        return marks.put_into(value)
    if with_numbers and type(value) in {int, float}:  # as which a secret of digits alone may be shown
        shown = marks.put_into(text := repr(value))
        return value if shown == text else shown
    if isinstance(value, list):
        return [_marked(item, marks, in_use, with_numbers=with_numbers) for item in value]
    if isinstance(value, dict):
        return {
            marks.put_into(name): _marked(
                item, in_use if _OF_USE.fullmatch(name) else marks, in_use, with_numbers=with_numbers
            )
            for name, item in value.items()
        }
    return value


def _secrets_of(name: str, value: str) -> Iterator[str]:
    """The secrets in a header or parameter: all of it, and each piece that may be shown on its own."""
    if is_open(name):
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


@lru_cache(256)
def is_open(name: str) -> bool:
    """Whether the value of a header or parameter with this name is never secret."""
    return _OPEN.fullmatch(name) is not None and not _is_credential(name)


def _is_credential(name: str) -> bool:
    """Whether a word of `name`, such as the last one of `X-Gateway-Key` and `accessToken`, means a credential."""
    return name.lower() == "code" or any(word.lower() in _CREDENTIALS for word in _WORD_OF_NAME.findall(name))


def _common(one: str, other: str) -> int:
    """The length of the common prefix."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _is_plain(value: str) -> bool:
    """Whether it consists of words and short numbers, as secrets don't: a response may contain such words anyway."""
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
        inner = encoded[
            (0, 2, 3)[start] : len(encoded) - bool((start + len(octets)) % 3)
        ]  # all but what neighbours change
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
