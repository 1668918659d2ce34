"""`python -m docs [DIR]`: the site with its search, each page as Markdown beside it, and `llms.txt`; needs no network.

Pages are gathered in `DIR/markdown`, those that are made of the code among them; Sphinx makes `DIR/html` of that. Ends
with 1 for a warning of Sphinx, a dead link, and a page that loads something from elsewhere.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from docs.making.checking import problems_of
from docs.making.forms import llms_txt, plain_forms
from docs.making.gathering import gather

HERE = Path(__file__).parent


def build(folder: Path) -> int:
    """Make the site in `folder`; 0 if there was nothing to warn of."""
    from sphinx.cmd.build import build_main

    markdown, html = folder / "markdown", folder / "html"
    shutil.rmtree(folder, ignore_errors=True)
    gather(HERE.parent, markdown)
    options = ["-q", "-W", "--keep-going", "-E", "-j", "2", "-d", str(folder / "cache"), "-c", str(HERE)]
    code: int = build_main([*options, str(markdown), str(html)])
    for page, text in plain_forms(markdown).items():
        (html / page).write_text(text)
    (html / "llms.txt").write_text(llms_txt(markdown))
    for file in markdown.rglob(
        "*.*"
    ):  # what pieces of HTML, or the pages as Markdown, lead to, is not Sphinx's to copy
        if file.suffix != ".md" and file.is_file():
            (html / file.relative_to(markdown)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, html / file.relative_to(markdown))
    problems = list(problems_of(html))
    print(*problems, sep="\n", end="\n" if problems else "")
    return code or int(bool(problems))


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "build/site")
    code = build(target)
    print(f"{target / 'html' / 'index.html'}" if code == 0 else "The site has problems.")
    raise SystemExit(code)
