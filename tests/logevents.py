"""Every event that the server's code can log, read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cachew"
LEVELS = ("critical", "failure", "error", "warn", "info", "debug")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def log_events() -> set[tuple[str, str]]:
    """Return the level and the format of every event of the package; ``failure`` is one with a traceback."""
    sources = [path.read_text() for path in sorted(PACKAGE.rglob("*.py"))]
    trees = [ast.parse(source) for source in sources if "log" in source.lower()]
    return {event for tree in trees for event in _of_module(tree, trees)}


def _of_module(tree: ast.Module, trees: list[ast.Module]) -> Iterator[tuple[str, str]]:
    for function in _functions(tree):
        for node in ast.walk(function):
            for level, format_ in _logged(node, function):
                texts = list(_texts(format_, function, trees))
                assert texts, f"{function.name} logs what can't be told from the source: {ast.unparse(node)}"
                yield from ((level, text) for text in texts)


def _functions(tree: ast.AST) -> Iterator[Function]:
    """Yield the functions that lie in no other; those inside of them belong to them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield node
        elif isinstance(node, ast.ClassDef | ast.If | ast.Try):
            yield from _functions(node)


def _logged(node: ast.AST, function: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield level and format of what a node logs: by a level's method, by one that was chosen, or as a whole event."""
    if isinstance(node, ast.Dict):
        event = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if _is_text(key)}  # type: ignore[union-attr]
        if "log_format" in event:
            yield ast.unparse(event["log_level"]).rpartition(".")[2], event["log_format"]
    elif isinstance(node, ast.Call) and node.args:
        called = node.func
        if isinstance(called, ast.Name) and called.id == "log_failure":
            yield "warn", ast.JoinedStr([*_parts(node.args[1]), ast.Constant(" failed: {error}")])
            yield "failure", ast.JoinedStr([*_parts(node.args[1]), ast.Constant(" failed")])
        elif isinstance(called, ast.Name) and called.id == "log":
            for value in _assigned("log", function):
                yield from ((name, node.args[0]) for name in _level_names(value))
        elif _is_level_of_log(called) and function.name != "log_failure":
            yield called.attr, node.args[0]  # type: ignore[attr-defined]


def _is_level_of_log(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and called.attr in LEVELS
        and ast.unparse(called.value).lower().endswith("log")
    )


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _parts(node: ast.expr) -> list[ast.expr]:
    return list(node.values) if isinstance(node, ast.JoinedStr) else [node]


def _level_names(value: ast.expr) -> list[str]:
    return [inner.attr for inner in ast.walk(value) if isinstance(inner, ast.Attribute) and inner.attr in LEVELS]


def _texts(format_: ast.expr, function: Function, trees: list[ast.Module]) -> Iterator[str]:
    """Yield what a format may be: constants, either side of a choice, what a name or a parameter is given."""
    if isinstance(format_, ast.Constant):
        yield str(format_.value)
    elif isinstance(format_, ast.JoinedStr):
        assert all(_is_text(part) for part in format_.values), ast.unparse(format_)
        yield "".join(part.value for part in format_.values)  # type: ignore[attr-defined]
    elif isinstance(format_, ast.IfExp):
        yield from _texts(format_.body, function, trees)
        yield from _texts(format_.orelse, function, trees)
    elif isinstance(format_, ast.Name):
        for value in (*_assigned(format_.id, function), *_given(format_.id, function, trees)):
            yield from _texts(value, function, trees)


def _assigned(name: str, function: Function) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            yield node.value


def _given(name: str, function: Function, trees: list[ast.Module]) -> Iterator[ast.expr]:
    """Yield the texts that callers hand to a function in a parameter."""
    names = [argument.arg for argument in function.args.args if argument.arg != "self"]
    if name not in names:
        return
    place = names.index(name)
    for tree in trees:
        for node in ast.walk(tree):
            called = getattr(node, "func", None)
            if isinstance(node, ast.Call) and getattr(called, "attr", getattr(called, "id", "")) == function.name:
                given = [*node.args[place : place + 1], *(word.value for word in node.keywords if word.arg == name)]
                yield from (value for value in given if _is_text(value) or isinstance(value, ast.IfExp))
