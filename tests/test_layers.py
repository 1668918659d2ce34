"""The laws of the package's shape, read off its source: what is pure, who may import whom, who may do what.

An import counts wherever it is: at the top of a module, inside a function, under `TYPE_CHECKING`. Each law has a list
of exceptions with their reasons; the lists are meant to be empty, and an exception that is not needed fails.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "asyncsdk"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 400, 50  # lines; of a function those below its signature and docstring

# fmt: off
FLOORS = [  # the highest first: a module imports from its own floor and from those below
    {"__init__", "__main__", "pytest_plugin"},
    {"cli"},
    {"images", "uploads"},
    {"client", "file_jobs"},
    {"http"},
    {"remote"},
    {"files", "keys", "limiter", "loops", "open_files", "paging", "postgres", "tasks", "threads", "wal"},
    {"suggestions"},
    {
        "api", "clock", "file_filter", "file_match", "mime", "ratelimit", "ratepool", "redaction", "retry", "safe_json",
        "settings",
    },
    {
        "batches", "counts", "error_details", "errors", "events", "extras", "given", "models", "pickling", "timing",
        "unique", "version",
    },
]
INPUT_OUTPUT = {
    "aiofiles", "aiohttp", "anyio", "asyncio", "asyncpg", "concurrent", "filelock", "http", "multiprocessing",
    "obstore", "selectors", "shutil", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading",
}
EXECUTOR = {"concurrent.futures.Executor", "concurrent.futures.Future"}  # the contract alone
DISK = {"aiofiles", "filelock", "shutil", "sqlite3", "tempfile"}
DISK_CALLS = {
    "fdatasync", "fstat", "fsync", "ftruncate", "hardlink_to", "iterdir", "listdir", "lstat", "makedirs", "mkdir",
    "pread", "preadv", "pwrite", "read_bytes", "read_text", "rmdir", "rmtree", "scandir", "stat", "symlink_to",
    "touch", "truncate", "unlink", "write_bytes", "write_text",
}
# fmt: on
TASK_STARTERS = {"create_task", "ensure_future", "create_task_group", "TaskGroup", "gather", "run_coroutine_threadsafe"}
SENDERS = {"request", "get", "post", "put", "patch", "delete", "ws_connect"}
BLOCKERS = {"run_in_executor", "set_default_executor", "to_thread", "run_sync", "ThreadPoolExecutor"}
ASYNC = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)

Arrows = dict[tuple[str, str], str]  # who imports whom, and why that may be

_SOURCE = "the types of sources are beside the code that reads them"
IMPURE_IMPORTS: Arrows = {
    ("cli/edits/typed.py", "cli/edits/options.py"): "the values of a command are beside the command",
    ("cli/edits/costs.py", "images/bulk/preview.py"): "EditPlan is beside the code that counts it",
    ("cli/edits/forecast.py", "images/bulk/preview.py"): "EditPlan is beside the code that counts it",
    ("images/outcome.py", "images/result.py"): "an outcome holds a result, which can fetch and save",
    ("server/edits/responses.py", "server/edits/painting.py"): "Painted is beside the code that paints",
    ("server/page/view.py", "server/edits/history.py"): "the page shows values of the running server",
    ("server/page/view.py", "server/log.py"): "the page shows values of the running server",
    ("server/page/view.py", "server/repository.py"): "the page shows values of the running server",
    ("uploads/advice.py", "http/errors.py"): "has_no_address is beside the translation of errors",
    ("uploads/advice.py", "threads.py"): "errors of the pools are beside the pools",
    ("uploads/job.py", "uploads/sources/source.py"): _SOURCE,
    ("uploads/parts/session.py", "uploads/sources/source.py"): _SOURCE,
}
CLOSES_A_CIRCLE: Arrows = {}
RUNS_UP: Arrows = {}
KNOW_EACH_OTHER: Arrows = {}
NAMED_TWICE: dict[str, str] = {}
TOUCHES_THE_DISK: dict[str, str] = {
    "postgres/machine.py": "reads /proc, which is not on a disk",
    "open_files.py": "counts what the process has open",
    "remote/ending.py": "reads /proc, which is not on a disk",
    "server/incoming.py": "where the server puts the bodies of parts",
    "uploads/pacing/busy.py": "reads /proc, which is not on a disk",
    "uploads/sources/spool.py": "where streams of unknown size are kept until they are sent",
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def first_line(module: str) -> str:
    return (ast.get_docstring(tree(module)) or "").partition("\n")[0]


def is_pure(module: str) -> bool:
    return "(pure)" in first_line(module)


def code_of(node: ast.AST) -> Iterator[ast.AST]:
    """All that may run: not the protocols, which are signatures."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.ClassDef) and "Protocol" in {ast.unparse(base) for base in child.bases}):
            yield child
            yield from code_of(child)


@cache
def imported(module: str) -> frozenset[str]:
    """Dotted names of everything that it imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import is not seen by these laws"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


@cache
def ours(module: str) -> frozenset[str]:
    """The modules of this package that it imports, as paths."""
    return frozenset(path for path in map(path_of, imported(module)) if path is not None and path != module)


def path_of(name: str) -> str | None:
    """The module of this package that a dotted name is, or is in."""
    parts = name.split(".")[1:] if name.startswith("asyncsdk.") else []
    for end in range(len(parts), 0, -1):
        stem = "/".join(parts[:end])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in MODULES:
                return path
    return None


def area(module: str) -> str:
    """The package at the top, or the module there, that it belongs to."""
    return module.partition("/")[0].removesuffix(".py")


def floor(module: str) -> int:
    return next(number for number, areas in enumerate(FLOORS) if area(module) in areas)


def arrows(modules: Iterable[str] = MODULES) -> Iterator[tuple[str, str]]:
    return ((module, other) for module in modules for other in sorted(ours(module)))


@cache
def calls(module: str) -> frozenset[str]:
    """What it calls, as it is written: `os.open`, `transport.abort`."""
    return frozenset(ast.unparse(node.func) for node in ast.walk(tree(module)) if isinstance(node, ast.Call))


def calls_any(module: str, names: Collection[str]) -> set[str]:
    return {call for call in calls(module) if call.rpartition(".")[2] in names}


def packages(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(module)}


def opens_files(module: str) -> bool:
    return bool(
        calls_any(module, DISK_CALLS) or calls(module) & {"open", "os.open", "io.open"} or packages(module) & DISK
    )


def test_each_module_says_at_once_what_it_alone_is_for() -> None:
    assert [module for module in MODULES if not first_line(module)] == []
    assert [module for module in MODULES if not (ROOT / module).read_text().startswith(('"""', 'r"""'))] == []


def test_modules_and_functions_are_short() -> None:
    lengths = {module: len((ROOT / module).read_text().splitlines()) for module in MODULES}
    assert {module: lines for module, lines in lengths.items() if lines > LONGEST_MODULE} == {}
    functions = [
        (module, node.name, (node.end_lineno or 0) - below_docstring(node).lineno)
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [(module, name) for module, name, lines in functions if lines > LONGEST_FUNCTION] == []


def below_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.stmt:
    """Its first statement: what its arguments are takes as many lines as there are arguments."""
    return function.body[min(len(function.body) - 1, ast.get_docstring(function) is not None)]


def test_what_is_called_pure_waits_for_nothing_and_touches_nothing() -> None:
    pure = [module for module in MODULES if is_pure(module)]
    known = {"api/__init__.py", "clock.py", "errors.py", "http/decode.py", "models.py", "retry.py", "settings.py"}
    assert known <= set(pure)
    for module in pure:
        assert not any(isinstance(node, ASYNC) for node in code_of(tree(module))), module
        assert packages(module).isdisjoint(INPUT_OUTPUT), module
        assert not opens_files(module), module
        assert not calls_any(module, TASK_STARTERS), module


def test_what_is_called_pure_imports_only_what_is_pure() -> None:
    # by induction nothing that it imports, at any distance, does I/O
    assert {arrow for arrow in arrows(filter(is_pure, MODULES)) if not is_pure(arrow[1])} == IMPURE_IMPORTS.keys()


def test_there_is_no_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, other in arrows():
        if (module, other) not in CLOSES_A_CIRCLE:
            graph[module].add(other)
    assert list(TopologicalSorter(graph).static_order())


def test_each_exception_closes_a_circle() -> None:
    for start, end in CLOSES_A_CIRCLE:
        assert end in ours(start)
        reached, ahead = set[str](), [end]
        while ahead:
            module = ahead.pop()
            if module not in reached:
                reached.add(module)
                ahead += ours(module)
        assert start in reached, (start, end)


def test_arrows_run_down() -> None:
    # the server is apart, and has a law of its own
    up = {
        (module, other)
        for module, other in arrows(module for module in MODULES if area(module) != "server")
        if area(other) == "server" or floor(other) < floor(module)
        if (area(module), area(other)) not in {("cli", "server"), ("pytest_plugin", "server")}
    }
    assert up == RUNS_UP.keys()


def test_every_module_is_on_a_floor() -> None:
    assert {area(module) for module in MODULES} - {"server"} == set().union(*FLOORS)


def test_uploads_and_images_do_not_know_each_other() -> None:
    across = {(module, other) for module, other in arrows() if {area(module), area(other)} == {"images", "uploads"}}
    assert across == KNOW_EACH_OTHER.keys()


def test_a_wrong_name_can_not_be_wrong_on_both_sides() -> None:
    # a server that used the client's request builders would accept a field by a wrong name
    server = [module for module in MODULES if area(module) == "server"]
    assert {arrow for arrow in arrows(server) if area(arrow[1]) not in {"server", "models"}} == set()


def test_no_class_name_means_two_things() -> None:
    names = Counter(
        node.name for module in MODULES for node in ast.walk(tree(module)) if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == NAMED_TWICE.keys()


def test_one_module_sends_and_one_opens_connections() -> None:
    sending = {
        module
        for module in MODULES
        if any("session" in call.partition(".")[0] for call in calls_any(module, SENDERS))
        or "aiohttp.request" in calls(module)
    }
    assert sending == {"http/transport.py"}
    assert {module for module in MODULES if calls_any(module, {"ClientSession"})} == {"http/connection.py"}


def test_one_module_opens_stores() -> None:
    assert {module for module in MODULES if "obstore" in packages(module)} == {"remote/stores.py"}


def test_tasks_start_in_one_place() -> None:
    # the server knows nothing of the client, so it has a place of its own
    starters = {module for module in MODULES if calls_any(module, TASK_STARTERS)}
    assert {module for module in starters if area(module) != "server"} == {"tasks.py"}


def test_blocking_calls_run_in_pools_of_the_one_executor_class() -> None:
    # the interpreter waits at its end for asyncio's own threads and anyio's: a disk that hangs would keep it alive
    for module in MODULES:
        if area(module) == "server":
            continue
        assert not calls_any(module, BLOCKERS), module
        others = {name for name in imported(module) if name.startswith(("concurrent", "anyio.to_thread"))}
        assert others <= (EXECUTOR if module == "threads.py" else set()), module
        assert "aiofiles.open" not in calls(module), f"{module}: it closes on asyncio's executor"
        wrapped = [
            node
            for node in ast.walk(tree(module))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Call) and ast.unparse(node.func.func) == "wrap"
        ]
        assert all("executor" in {keyword.arg for keyword in call.keywords} for call in wrapped), module


def test_the_disk_is_touched_where_it_is_said() -> None:
    touching = {module for module in MODULES if opens_files(module) and area(module) not in {"cli", "wal"}}
    assert touching == {"files.py", "server/store.py", "uploads/sources/source.py", *TOUCHES_THE_DISK}


def loaded_by(program: str) -> set[str]:
    """The modules that a program has loaded at its end."""
    program = f"import sys; {program}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_package_brings_neither_server_nor_command_line() -> None:
    unwanted = {"asyncsdk.server", "asyncsdk.cli", "aiohttp", "rich", "cyclopts", "PIL", "openai"}
    assert loaded_by("import asyncsdk") & unwanted == set()


@pytest.mark.parametrize("name", ["ImageEdit", "ImageRef", "api", "APIStatusError", "Upload", "Progress"])
def test_a_value_is_imported_without_anything_that_does_input_and_output(name: str) -> None:
    assert loaded_by(f"from asyncsdk import {name}") & {"aiofiles", "aiohttp", "anyio", "asyncio", "ssl"} == set()


@pytest.mark.parametrize("name", ["errors", "events", "given", "models", "redaction", "retry", "safe_json", "settings"])
def test_a_module_of_values_loads_no_converters(name: str) -> None:
    assert loaded_by(f"import asyncsdk.{name}") & {"aiohttp", "anyio", "asyncio", "cattrs"} == set()
