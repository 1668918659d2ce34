"""No key is in the repository: every tracked file is searched for what looks like one. Works offline."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KINDS = {
    "an OpenAI key": rb"sk-(proj-|svcacct-|admin-)?[A-Za-z0-9_]{24,}",
    "an AWS key": rb"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": rb"\b(gh[oprsu]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})",
    "a Google key": rb"\bAIza[0-9A-Za-z_-]{35}",
    "a Slack token": rb"\bxox[abeoprs]-[0-9A-Za-z-]{10,}",
    "a package index token": rb"\b(pypi-AgE|npm_)[0-9A-Za-z_-]{30,}",
    "a web token": rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in a URL": rb"\b[a-z]{3,6}://[^\s/:@'\"{}<>]{2,}:[^\s/:@'\"{}<>]{20,}@",
    "a hexadecimal key": rb"(?i)(api[-_]?key|token|secret|password)['\"]?\s*[:=]\s*['\"][0-9a-f]{32,}['\"]",
}


def found_in(content: bytes) -> list[str]:
    return [kind for kind, pattern in KINDS.items() if re.search(pattern, content)]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="no checkout, or no git")
def test_no_tracked_file_holds_what_looks_like_a_key() -> None:
    files = [path for path in tracked() if path.is_file()]
    assert Path(__file__) in files
    assert {str(path): found for path in files if (found := found_in(path.read_bytes()))} == {}


@pytest.mark.parametrize(
    "parts",
    [
        ("sk-", "proj-", "a1" * 20),
        ("AK", "IA", "ABCDEFGHIJKLMNOP"),
        ("ghp", "_", "a1" * 18),
        ("AI", "za", "a1b2c" * 7),
        ("xo", "xb-", "1234567890-abc"),
        ("npm", "_", "a1" * 18),
        ("ey", "J" + "a" * 12 + ".ey", "J" + "b" * 12 + "." + "c" * 12),
        ("-----BEGIN RSA ", "PRIVATE", " KEY-----"),
        ("https:/", "/user:", "correct-horse-battery@host"),
        ("api_key", " = '", "0123456789abcdef" * 2 + "'"),
    ],
)
def test_the_search_knows_a_key_when_it_sees_one(parts: tuple[str, ...]) -> None:
    assert len(found_in(f"x = {''.join(parts)} # y".encode())) == 1
