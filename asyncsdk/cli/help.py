"""What the help pages say besides options: the first page, examples, topics, and other names of commands (pure).

Imported whenever the program starts: keep it light.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

START = """\
asyncsdk sends large files and edits many images through the OpenAI API.

See it work; that needs no account:
  asyncsdk demo

With your key:
  export OPENAI_API_KEY=…
  asyncsdk upload train.jsonl --purpose fine-tune
  asyncsdk edit-many photos/ -p 'remove the scratches' -m gpt-image-2 -o out/

All commands: asyncsdk help. The options of one: asyncsdk help upload"""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "asyncsdk demo",
        "asyncsdk upload train.jsonl --purpose fine-tune",
        "asyncsdk edit-many photos/ -p 'remove the scratches' -m gpt-image-2 -o out/",
    ),
    "upload": (
        "asyncsdk upload train.jsonl -p fine-tune",
        "asyncsdk upload notes/ -p assistants --include '*.md' --method auto",
        "asyncsdk upload s3://bucket/talks/ -p user_data -c 4 --limit-rate 2MB/s",
    ),
    "uploads": ("asyncsdk uploads list", "asyncsdk uploads resume --all"),
    "uploads list": ("asyncsdk uploads list", "asyncsdk uploads list --json"),
    "uploads show": ("asyncsdk uploads show upload_abc123",),
    "uploads resume": ("asyncsdk uploads resume", "asyncsdk uploads resume --all --limit-rate 2MB/s"),
    "uploads cancel": ("asyncsdk uploads cancel upload_abc123",),
    "uploads prune": ("asyncsdk uploads prune",),
    "uploads schema": ("asyncsdk uploads schema",),
    "files": ("asyncsdk files list", "asyncsdk files content file-abc123 -o train.jsonl"),
    "files list": ("asyncsdk files list -p fine-tune", "asyncsdk files list --order asc --limit 20"),
    "files show": ("asyncsdk files show file-abc123",),
    "files content": (
        "asyncsdk files content file-abc123 -o train.jsonl",
        "asyncsdk files content file-abc123 -o s3://bucket/train.jsonl",
    ),
    "files wait": ("asyncsdk files wait file-abc123 file-def456 --timeout 10m",),
    "files delete": ("asyncsdk files delete file-abc123 file-def456",),
    "files prune": (
        "asyncsdk files prune --purpose batch --older-than 30d --dry-run",
        "asyncsdk files prune --larger-than 1GB --name '*.jsonl' --yes",
    ),
    "edit": (
        "asyncsdk edit otter.png -p 'add a beret' -m gpt-image-2 -o out/",
        "asyncsdk edit otter.png --mask mask.png -p beret -m gpt-image-2 -n 3 -o out/",
        "asyncsdk edit shoe.jpg --reference logo.png -p 'add the logo' -o shoe-2.png",
    ),
    "edit-many": (
        "asyncsdk edit-many photos/ -p retouch -m gpt-image-2 -o out/ --dry-run",
        "asyncsdk edit-many jobs.csv -m gpt-image-2 -o out/ --gallery out/index.html",
        "asyncsdk edit-many jobs.csv -m gpt-image-2 -o out/ --redo rejects.jsonl",
    ),
    "ledger": (
        "asyncsdk ledger show out/",
        "asyncsdk ledger uncertain out/",
        "asyncsdk ledger release 'Row 7' --ledger postgresql://db/edits",
    ),
    "ledger show": ("asyncsdk ledger show out/", "asyncsdk ledger show postgresql://db/edits"),
    "ledger failed": ("asyncsdk ledger failed out/", "asyncsdk ledger failed out/ --json"),
    "ledger uncertain": ("asyncsdk ledger uncertain out/",),
    "ledger release": (
        "asyncsdk ledger release 'Row 7' --ledger postgresql://db/edits",
        "asyncsdk ledger release --all --force --ledger postgresql://db/edits",
    ),
    "ledger export": ("asyncsdk ledger export out/",),
    "ledger copy": ("asyncsdk ledger copy out/ postgresql://db/edits",),
    "ledger accept": ("asyncsdk ledger accept postgresql://db/edits",),
    "ledger schema": ("asyncsdk ledger schema",),
    "prices": ("asyncsdk prices", "asyncsdk prices --json", "asyncsdk prices --prices mine.json"),
    "serve": ("asyncsdk serve", "asyncsdk serve --port 0 --data server/", "asyncsdk serve --faults faults.json"),
    "demo": ("asyncsdk demo", "asyncsdk demo talk.mp4"),
    "schema": ("asyncsdk schema job", "asyncsdk schema edit"),
    "completion": ("asyncsdk completion bash", "asyncsdk completion zsh", "asyncsdk completion fish"),
}

TOPICS = {
    "exit-codes": """\
Exit codes

  0    done, also if it was done before
  1    failed, and repeating won't help
  2    wrong usage or refused: nothing was sent
  3    some of several failed, or are uncertain; edit: it may be paid, or not all of it is saved; edit-many: also if
       all failed, though for now: the same command sends those again
  4    stopped at a limit that you set (--max-edits, --max-tokens, --max-cost)
  75   failed for now, or in batches that have not ended: run the same command again
  129  the terminal was closed
  130  stopped by Ctrl-C
  143  stopped by SIGTERM

Of copies of edit-many that share a ledger each ends once every row of its list has ended, whichever copy did it, and
its code tells of all of them: 3 where one failed or is uncertain, here or elsewhere.
After 75, 129, 130 and 143 the same upload, uploads resume or edit-many goes on where it stopped.
After 75 an edit is not paid, or in a batch. After a signal it may be, and only edit-many keeps a record of that.
129, 130 and 143 are how serve ends.""",
    "environment": """\
Environment

  OPENAI_API_KEY          the key; it is never taken on the command line
  OPENAI_BASE_URL         the API's address; --base-url goes before it
  OPENAI_ORG_ID           the organization
  OPENAI_PROJECT_ID       the project
  OPENAI_CUSTOM_HEADERS   more headers, one a line: "Name: value"
  AZURE_OPENAI_ENDPOINT   an Azure resource, with AZURE_OPENAI_API_KEY or AZURE_OPENAI_AD_TOKEN; used without the above
  OPENAI_API_VERSION      the version of Azure's API
  ASYNCSDK_JOURNAL        the journal of uploads: a directory, memory, or postgresql://…; --journal goes before it
  ASYNCSDK_LEDGER         the ledger of edit-many: a directory, or postgresql://…; --ledger goes before it
  ASYNCSDK_SPOOL          the directory for standard input of unknown size; else that of the journal
  ASYNCSDK_SERVE_KEY      the only key that `asyncsdk serve` takes
  AWS_…, GOOGLE_…, AZURE_…  for s3://, gs:// and az://, as obstore reads them: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL
  HTTPS_PROXY, NO_PROXY   a proxy, and the hosts to reach without it
  SSL_CERT_FILE           certificates to trust; a directory of them: SSL_CERT_DIR; one more: --ca-file
  NO_COLOR                shows no colours""",
}
MORE = "Exit codes: asyncsdk help exit-codes. Settings: asyncsdk help environment."

OTHER_NAMES = {  # what people type, and what it is called; none is shown in help
    "files download": "content",
    "files get": "content",
    "files ls": "list",
    "files rm": "delete",
    "uploads ls": "list",
}
LONG = {"-c": "--concurrency", "-m": "--model", "-n": "--n", "-o": "--out"}  # -p is a purpose or a prompt
_COLUMN = re.compile(r"  \S+(?:, \S+)* {2,}")
HELP, VERSION = ("--help", "-h"), ("--version", "-V")
NEAR = 0.7  # of 1: a guess that is further off misleads


def canonical(arguments: Sequence[str]) -> list[str]:
    """The command line with `help` and `version` as options, and commands by the names that they have."""
    words = list(arguments)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if words[:1] == ["version"]:
        words = ["--version"]
    name = OTHER_NAMES.get(" ".join(words[:2]))
    return words if name is None else [words[0], name, *words[2:]]


def topic_of(arguments: Sequence[str]) -> str | None:
    """The page that `help NAME` asks for, where NAME is a topic or nearly one; else None."""
    if len(arguments) != 2 or arguments[0] != "help":
        return None
    name = near(arguments[1].replace("_", "-"), TOPICS)
    return None if name is None else TOPICS[name]


def epilogue(chain: Sequence[str]) -> str:
    """The end of a command's help page: examples, and where to read on."""
    examples = EXAMPLES.get(" ".join(chain), ())
    lines = ["", "Examples:" if len(examples) > 1 else "Example:", *(f"  {example}" for example in examples), "", MORE]
    return "\n".join(lines)


def fitted(text: str, width: int) -> str:
    """`text` with lines of `width` at most; what is in a column stays in it."""
    from textwrap import wrap

    lines: list[str] = []
    for line in text.splitlines():
        column = _COLUMN.match(line)
        indent = " " * (column.end() if column and column.end() < width // 2 else 2 * line.startswith(" "))
        lines += wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(lines)


def near(word: str, known: Sequence[str] | dict[str, str]) -> str | None:
    """The one of `known` that `word` nearly is; None if there is none."""
    from difflib import get_close_matches  # only mistakes need it

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=NEAR)), None)


def typed_value(option: str, arguments: Sequence[str]) -> str | None:
    """What was typed for `option`; None if it was not given."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if option in {name, LONG.get(name)}:
            return value if equals else following
    return None
