"""Puts the client into one file that any Python from 3.9 on runs (pure, but for reading the package's own sources).

The same sources give the same bytes: names in order, one time, nothing compressed. Annotations of a newer Python are
only text in it, so that an older one reads them.
"""

import ast
import io
import zipfile
from pathlib import Path

_TIME = (1980, 1, 1, 0, 0, 0)
_INTERPRETER = b"#!/usr/bin/env python3\n"
_MAIN = '''"""Runs the client; this much every Python understands."""

import sys

if sys.version_info < (3, 9):
    sys.exit("cachew needs Python 3.9 or newer")

from cachew.cli.standalone import main

main()
'''
_VERSION = '"""The version of this client."""\n\n\ndef version() -> str:\n    """Return it."""\n    return {0!r}\n'
_LATER = "from __future__ import annotations\n"


def client_archive(package: Path, *, version: str) -> bytes:
    """Return the client as an executable archive (zipapp).

    :param package: the directory of the ``cachew`` package.
    :param version: what it says that it is.
    """
    modules = {**_sources(package), "cachew/version.py": _VERSION.format(version)}
    sources = {"__main__.py": _MAIN} | {name: for_older_pythons(text) for name, text in modules.items()}
    file = io.BytesIO()
    file.write(_INTERPRETER)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, sources[name])
    return file.getvalue()


def _sources(package: Path) -> dict[str, str]:
    """Return the modules of the client, and of the rest of the package what they import."""
    found = dict[str, str]()
    wanted = ["cachew/__init__.py", "cachew/plumbing/__init__.py"]
    for directory in ("cli", "client"):
        wanted += [f"cachew/{directory}/{path.name}" for path in sorted((package / directory).glob("*.py"))]
    while wanted:
        name = wanted.pop()
        path = package.parent / name
        if name in found or not path.is_file():
            continue
        found[name] = path.read_text("utf-8")
        wanted += [place for place in _imported(found[name]) if place.startswith("cachew/plumbing/")]
    return found


def _imported(source: str) -> list[str]:
    modules = list[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [f"{module.replace('.', '/')}.py" for module in modules]


def for_older_pythons(source: str) -> str:
    """Return a module whose annotations are not evaluated (PEP 563)."""
    lines = source.splitlines(keepends=True)
    first = next(iter(ast.parse(source).body), None)
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    at = first.end_lineno or 0 if documented and first is not None else 0
    return "".join([*lines[:at], _LATER, *lines[at:]])
