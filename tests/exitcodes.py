"""Every status that the programs end with, read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cachew"
_FOR_CLICK = "plainclick.py"


def exit_codes() -> set[tuple[int, str]]:
    """Return each status and the program that ends with it; what git's own helper ends with is git's to tell."""
    found = {(code, "twistd cachew") for code in _of_server(ast.parse((PACKAGE / "tap.py").read_text()))}
    for path in (PACKAGE / "cli").glob("*.py"):
        if path.name != _FOR_CLICK:
            program = "git-remote-cachew" if path.name == "remote.py" else "cachew"
            found |= {(code, program) for code in _of_command(ast.parse(path.read_text()))}
    return found


def _of_server(tree: ast.Module) -> Iterator[int]:
    """Yield what ``SystemExit`` is given, 1 for words, and what the process is ended with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("SystemExit", "os._exit"):
            yield next(_numbers(node.args[0], tree), 1)


def _of_command(tree: ast.Module) -> Iterator[int]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        ends = function.returns is not None and ast.unparse(function.returns) == "int"
        ends = ends and (function.name == "run" or bool(function.decorator_list))
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and ends and node.value is not None:
                yield from _numbers(node.value, tree)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "os._exit"):
                yield from _numbers(node.args[0], tree)
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "status":
                yield from _numbers(node.value, tree)


def _numbers(value: ast.expr, tree: ast.Module) -> Iterator[int]:
    """Yield the numbers that an expression may be: constants, either side of a choice, constants of the module."""
    if isinstance(value, ast.Constant) and type(value.value) is int:
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from _numbers(value.body, tree)
        yield from _numbers(value.orelse, tree)
    elif isinstance(value, ast.Name):
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == value.id:
                yield from _numbers(node.value, tree)
