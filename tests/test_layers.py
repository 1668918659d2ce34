"""The laws of the package's shape, read off its source: what is pure, who may import whom, who may do what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent / "asyncsdk"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

# fmt: off
INPUT_OUTPUT = {
    "aiofiles", "aiohttp", "anyio", "asyncio", "concurrent", "filelock", "http", "multiprocessing", "selectors",
    "shutil", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading",
}
DISK = {"aiofiles", "filelock", "shutil", "sqlite3", "tempfile"}
DISK_CALLS = {
    "fdatasync", "fstat", "fsync", "ftruncate", "hardlink_to", "iterdir", "listdir", "lstat", "makedirs", "mkdir",
    "pread", "preadv", "pwrite", "read_bytes", "read_text", "rmdir", "rmtree", "scandir", "stat", "symlink_to",
    "touch", "truncate", "unlink", "write_bytes", "write_text",
}
# fmt: on
TASK_STARTERS = {"create_task", "ensure_future", "create_task_group", "TaskGroup", "gather", "run_coroutine_threadsafe"}
ASYNC = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
VALUES = {"api", "clock", "decode", "errors", "events", "models", "multipart", "retry", "settings", "version"}
ACTORS = {"client", "files", "response", "tasks", "transport", "wal"}
FEATURES = {"cli", "images", "server", "uploads"}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def first_line(module: str) -> str:
    return (ast.get_docstring(tree(module)) or "").partition("\n")[0]


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All of it, but for what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from at_run_time(child)


def imported(module: str, *, when_loaded: bool = False) -> set[str]:
    """Dotted names of everything it imports, or of what it needs just to be loaded."""
    names: set[str] = set()
    for node in tree(module).body if when_loaded else at_run_time(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(module: str, *, when_loaded: bool = False) -> set[str]:
    """The modules of this package that it imports, as paths."""
    found = set()
    for name in imported(module, when_loaded=when_loaded):
        parts = name.split(".")[1:] if name.startswith("asyncsdk.") else []
        for end in range(len(parts), 0, -1):
            stem = "/".join(parts[:end])
            there = [path for path in (f"{stem}.py", f"{stem}/__init__.py") if path in MODULES]
            if there:
                found.add(there[0])
                break
    return found


def area(module: str) -> str:
    """The package or the top module it belongs to; what speaks HTTP counts by its own name, wherever it is kept."""
    return module.removeprefix("http/").partition("/")[0].removesuffix(".py")


def calls(module: str) -> set[str]:
    """What it calls, as it is written: `os.open`, `transport.abort`."""
    return {ast.unparse(node.func) for node in ast.walk(tree(module)) if isinstance(node, ast.Call)}


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
    assert [module for module in MODULES if len((ROOT / module).read_text().splitlines()) > 400] == []
    functions = [
        (module, node.name, (node.end_lineno or 0) - node.lineno)
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [(module, name) for module, name, lines in functions if lines > 60] == []


def test_what_is_called_pure_waits_for_nothing_and_touches_nothing() -> None:
    pure = [module for module in MODULES if "(pure)" in first_line(module)]
    assert {"api", "clock", "decode", "models", "retry", "settings"} <= {area(module) for module in pure}
    for module in pure:
        assert not any(isinstance(node, ASYNC) for node in ast.walk(tree(module))), module
        assert packages(module).isdisjoint(INPUT_OUTPUT), module
        assert not opens_files(module), module
        assert not calls_any(module, TASK_STARTERS), module


def test_there_is_no_circle() -> None:
    # a command loads what does its work when it runs, so that `--help` is quick
    arrows = {module: ours(module, when_loaded=area(module) == "cli") - {module} for module in MODULES}
    assert list(TopologicalSorter(arrows).static_order())


def test_arrows_run_down() -> None:
    not_below: dict[str, set[str]] = {
        "__init__": {"cli", "server"},
        "__main__": set(),
        "cli": set(),
        "pytest_plugin": FEATURES - {"server"} | ACTORS,
        "server": FEATURES - {"server"} | ACTORS | VALUES - {"models"},
        "uploads": {"cli", "images", "server"},
        "images": {"cli", "uploads", "server"},
        "wal": FEATURES | ACTORS - {"wal"},
    } | dict.fromkeys(VALUES, FEATURES | ACTORS)
    for module in MODULES:
        forbidden = not_below.get(area(module), FEATURES)
        up = {(area(module), area(other)) for other in ours(module)}
        assert {arrow for arrow in up if arrow[1] in forbidden} == set(), module


def test_a_wrong_name_can_not_be_wrong_on_both_sides() -> None:
    for module in MODULES:
        if area(module) == "server":
            assert {area(other) for other in ours(module)} <= {"server", "models"}, module


def test_one_module_sends_and_one_opens_connections() -> None:
    methods = {"request", "get", "post", "put", "patch", "delete", "ws_connect"}
    for module in MODULES:
        sends = {call for call in calls_any(module, methods) if "session" in call.partition(".")[0]}
        assert not sends or area(module) == "transport", module
        assert not calls_any(module, {"ClientSession"}) or area(module) == "connection", module


def test_tasks_start_in_one_place() -> None:
    # the server knows nothing of the client, so it has a place of its own
    starters = {module for module in MODULES if calls_any(module, TASK_STARTERS)}
    assert {module for module in starters if area(module) != "server"} == {"tasks.py"}


def test_no_blocking_call_runs_on_an_executor_that_the_interpreter_waits_for_at_its_end() -> None:
    # asyncio's own threads and anyio's: a disk that hangs would keep a program that is over alive
    for module in MODULES:
        if area(module) == "server":
            continue
        assert not calls_any(module, {"run_in_executor", "to_thread", "run_sync", "ThreadPoolExecutor"}), module
        assert not any(name.startswith(("concurrent", "anyio.to_thread")) for name in imported(module)), module
        wrapped = [
            node
            for node in ast.walk(tree(module))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Call) and ast.unparse(node.func.func) == "wrap"
        ]
        assert all("executor" in {keyword.arg for keyword in call.keywords} for call in wrapped), module


def test_the_disk_is_touched_where_it_is_said() -> None:
    touching = {module for module in MODULES if opens_files(module) and area(module) not in {"cli", "wal"}}
    assert touching <= {
        "descriptors.py",
        "files.py",
        "server/spool.py",
        "server/store.py",
        "uploads/readers.py",
        "uploads/source.py",
    }


def test_importing_the_package_brings_neither_server_nor_command_line() -> None:
    unwanted = ["asyncsdk.server", "asyncsdk.cli", "aiohttp.web", "rich", "cyclopts", "PIL", "openai"]
    program = f"import sys, asyncsdk; print([name for name in {unwanted} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
