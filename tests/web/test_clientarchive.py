"""The client in one file."""

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cachew
from cachew.web.clientarchive import client_archive, for_older_pythons

PACKAGE = Path(cachew.__file__).parent


def test_the_same_sources_give_the_same_bytes() -> None:
    """So that replicas hand out one file, and whoever builds it again gets it; another version is another file."""
    made = client_archive(PACKAGE, version="1.2.3")
    assert made == client_archive(PACKAGE, version="1.2.3")
    assert made != client_archive(PACKAGE, version="1.2.4")


def test_it_has_the_client_and_nothing_of_the_server() -> None:
    """What the client imports is in it, and nothing that needs more than Python."""
    archive = zipfile.ZipFile(io.BytesIO(client_archive(PACKAGE, version="1")))
    names = archive.namelist()
    assert {"__main__.py", "cachew/cli/remote.py", "cachew/client/seeding.py", "cachew/plumbing/tarzst.py"} <= set(
        names
    )
    assert not [name for name in names if name.startswith(("cachew/server", "cachew/web", "cachew/mirrors"))]
    assert "'1'" in archive.read("cachew/version.py").decode()
    for name in names:
        ast.parse(archive.read(name), feature_version=(3, 9))


def test_it_runs_with_nothing_installed(tmp_path: Path) -> None:
    """Without click, rich and zstandard each command has its help, and mistakes are told as ever."""
    file = tmp_path / "cachew.pyz"
    file.write_bytes(client_archive(PACKAGE, version="1"))

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-I", "-S", str(file), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    assert "restore" in run("git", "--help").stdout
    assert "--ref NAME=SHA" in run("git", "restore", "--help").stdout
    wrong = run("git", "restore", "--nonsense", "x")
    assert (wrong.returncode, wrong.stderr) == (1, "Error: No such option: --nonsense\n")
    assert run("git", "restore", "https://h/o/r").stderr == "Error: Missing argument 'DIRECTORY'.\n"
    assert "cannot talk to the server" in run("--url=http://127.0.0.1:1", "stats").stderr


@pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 8)])
def test_a_python_that_is_too_old_is_told_so(version: tuple[int, int]) -> None:
    """By what comes first, which has nothing in it that such a one would not understand."""
    first = zipfile.ZipFile(io.BytesIO(client_archive(PACKAGE, version="1"))).read("__main__.py").decode()
    assert "__future__" not in first
    argv = [sys.executable, "-c", f"import sys; sys.version_info = {version}; exec(sys.argv[1])", first]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "cachew needs Python 3.9 or newer\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Says."""\nimport x\n', '"""Says."""\nfrom __future__ import annotations\nimport x\n'),
        ("import x\n", "from __future__ import annotations\nimport x\n"),
        ('"""a\n\nb\n"""\n', '"""a\n\nb\n"""\nfrom __future__ import annotations\n'),
        ("", "from __future__ import annotations\n"),
    ],
)
def test_annotations_are_not_evaluated(source: str, expected: str) -> None:
    """The line that says so comes after the module's own words and before everything else."""
    assert for_older_pythons(source) == expected
