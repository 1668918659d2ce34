"""`python -m docs [DIR]`: the site with its search, each page as Markdown beside it, and `llms.txt`; needs no network.

Pages are gathered in `DIR/markdown`, those that are made of the code among them; Sphinx makes `DIR/html` of that. What
an earlier build left there is replaced; a directory with anything else in it is refused. Ends with 1 for a warning of
Sphinx, a dead link, and a page that loads something from elsewhere.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from docs.making.finishing import finish, problems_of
from docs.making.gathering import gather

HERE = Path(__file__).parent
PARTS = ("markdown", "html", "cache")  # of the directory of a build


def build(folder: Path) -> int:
    """Make the site in `folder`; 0 if there was nothing to warn of."""
    make_room(folder)
    from sphinx.cmd.build import build_main

    markdown, html, cache = (folder / part for part in PARTS)
    gather(HERE.parent, markdown)
    options = ["-q", "-W", "--keep-going", "-E", "-j", "2", "-d", str(cache), "-c", str(HERE)]
    code: int = build_main([*options, str(markdown), str(html)])
    finish(markdown, html)
    problems = list(problems_of(html))
    print(*problems, sep="\n", end="\n" if problems else "")
    return code or int(bool(problems))


def make_room(folder: Path) -> None:
    """Remove what an earlier build left in `folder`. Raises SystemExit, and removes nothing, where it has more."""
    others = sorted(path.name for path in folder.iterdir() if path.name not in PARTS) if folder.exists() else []
    if others:
        raise SystemExit(
            f"{folder} contains {others[0]!r}, which no build made. Nothing was removed; name another one."
        )
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "build/site")
    code = build(target)
    print(f"{target / 'html' / 'index.html'}" if code == 0 else "The site has problems.")
    raise SystemExit(code)
