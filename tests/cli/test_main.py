"""The command as its user meets it: a process, its output, its exit status."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachew.client.keys import digest
from tests.fakes.archives import framed, git, make_upstream, member, snapshot_members, tar
from tests.fakes.cachew_server import CachewServer, Stored, running_server


@pytest.fixture
def server() -> Iterator[CachewServer]:
    with running_server() as state:
        yield state


class Shell:
    """Runs the command."""

    def __init__(self, server: CachewServer, directory: Path) -> None:
        self.directory = directory
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CACHEW", "GIT_"))}
        self.environment = {
            **kept,
            "CACHEW_URL": server.url,
            "PYTHONPATH": os.getcwd(),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def __call__(self, *arguments: str, stdin: bytes = b"", status: int = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [sys.executable, "-m", "cachew.cli.main", *arguments],
            cwd=self.directory,
            env=self.environment,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == status, done.stderr.decode()
        return done


@pytest.fixture
def cachew(server: CachewServer, tmp_path: Path) -> Shell:
    return Shell(server, tmp_path)


def test_help_is_complete_and_cheap(cachew: Shell) -> None:
    """The help names every command, and neither it nor any command loads Twisted."""
    text = cachew("--help").stdout.decode()
    for word in ("git", "get", "put", "stat", "delete", "namespaces", "stats", "save", "restore", "CACHEW_URL"):
        assert word in text
    code = "import cachew.cli.main, sys; print(*{'twisted', 'http.client', 'rich', 'zstandard'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=cachew.environment, capture_output=True, check=True)
    assert done.stdout == b"\n"
    code = (
        "import cachew.cli.main, cachew.client.restore, cachew.client.merge, sys; assert 'twisted' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=cachew.environment, check=True)


def test_objects(cachew: Shell, server: CachewServer, tmp_path: Path) -> None:
    """Objects are put, shown, fetched and deleted."""
    (tmp_path / "file").write_bytes(b"content")
    cachew("put", "ns", "key", "file", "--ttl", "1h", "-H", "X-Mine=1")
    seen = server.requests("POST")[0]
    assert seen.path == f"/api/v1/object/ns/{digest('key')}"
    assert (seen.headers["Time-To-Live"], seen.headers["X-Mine"]) == ("1h", "1")
    assert seen.headers["Content-Disposition"] == 'attachment; filename="file"'
    assert b"Content-Length: 7\n" in cachew("stat", "ns", "key").stdout
    got = cachew("get", "ns", "key")
    assert got.stdout == b"content"
    assert b"ETag: " in got.stderr
    cachew("get", "ns", "key", "-o", "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "file"]
    cachew("delete", "ns", "key")
    assert b"404" in cachew("get", "ns", "key", status=1).stderr


@pytest.mark.parametrize("name", ["two\nlines", "tab\t", "ünlich"])
def test_files_whose_names_fit_no_header(cachew: Shell, server: CachewServer, tmp_path: Path, name: str) -> None:
    """They are put without their names."""
    (tmp_path / name).write_bytes(b"content")
    cachew("put", "ns", "key", name)
    assert server.requests("POST")[0].headers["Content-Disposition"] == "attachment"


def test_standard_input_and_prefixes(cachew: Shell, server: CachewServer) -> None:
    """Standard input is uploaded; prefixes and authorization are taken from the global options."""
    cachew("--authorization", "Bearer t", "--platform", "put", "ns", "key", stdin=b"in")
    assert cachew("--platform", "get", "ns", "key").stdout == b"in"
    assert server.seen[0].headers["Authorization"] == "Bearer t"
    assert server.seen[0].path.rpartition("/")[2] != digest("key")


def test_namespaces_and_stats(cachew: Shell, server: CachewServer) -> None:
    """Namespaces and numbers are printed line by line."""
    server.answers["/api/v1/namespaces"] = (200, ["a", "b"])
    server.answers["/api/v1/stats"] = (200, {"objects": 3, "size": 12_000_000, "capacity": 0})
    assert cachew("namespaces").stdout == b"a\nb\n"
    assert cachew("stats").stdout == b"objects: 3\nsize: 12000000 (12.0 MB)\ncapacity: 0 (0 B)\n"


def test_save_and_restore(cachew: Shell, server: CachewServer, tmp_path: Path) -> None:
    """A directory is saved under a key made of files and restored; exit statuses tell hit, miss and failure."""
    (tmp_path / "modules/a").mkdir(parents=True)
    (tmp_path / "modules/a/file").write_text("x")
    (tmp_path / "lock").write_text("1")
    assert b"Cache miss" in cachew("restore", "node", "again", "-H", "lock", status=2).stderr
    cachew("save", "node", "modules", "-H", "lock")
    assert server.requests("POST")[0].headers["Content-Type"] == "application/zstd"
    cachew("restore", "node", "again", "-H", "lock")
    assert (tmp_path / "again/a/file").read_text() == "x"
    for wrong in (["--key", "k", "-H", "lock"], [], ["-H", "*.none"], ["--no-such-option"]):
        cachew("restore", "node", "again", *wrong, status=1)
    (stored,) = server.objects.values()
    stored.body = framed(tar([member("../evil", b"x")]))
    assert b"refused" in cachew("restore", "node", "again", "-H", "lock", status=1).stderr


def test_git_restore(cachew: Shell, server: CachewServer, tmp_path: Path) -> None:
    """A repository is restored; the lines say how much, and how to go on."""
    upstream = make_upstream(tmp_path / "upstream")
    members = snapshot_members(upstream, tmp_path / "scratch", origin="https://git.example/org/repo")
    server.objects["/git/git.example/org/repo/snapshot.tar.zst"] = Stored(framed(tar(members)))
    done = cachew("git", "restore", "https://git.example/org/repo", "copy")
    assert git(tmp_path / "copy", "status", "--short", "--branch") == "## trunk...origin/trunk"
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("Downloading: ")
    assert lines[-1].strip().startswith("git config --global url.")
    failed = cachew("git", "restore", "https://git.example/org/repo", "copy", status=1).stderr.decode()
    assert failed == "cachew: copy exists and is not empty\n  Remove it, or choose another directory.\n"


def test_credentials_stay_at_home(cachew: Shell, server: CachewServer) -> None:
    """A repository's URL on another server than --url does not get the credentials meant for that one."""
    url = f"{server.url}/git/git.example/org/repo"
    cachew("--url", "http://127.0.0.1:1", "--authorization", "Bearer t", "git", "restore", url, "copy", status=1)
    assert {seen.headers.get("Authorization") for seen in server.seen} == {None}


def test_an_interrupted_restore_leaves_nothing(cachew: Shell, server: CachewServer, tmp_path: Path) -> None:
    """SIGTERM ends the command at once, with nothing left behind, also where a shell has turned SIGINT off."""
    path = "/git/git.example/org/repo/snapshot.tar.zst"
    child: list[subprocess.Popen[bytes]] = []

    def interrupt(count: int) -> None:
        if count == 3:
            child[0].terminate()
            child[0].wait()

    body = framed(tar([member("./dir", type=tarfile.DIRTYPE, mode=0o755), member("./big", os.urandom(20_000_000))]))
    server.objects[path] = Stored(body, before=interrupt)
    arguments = [sys.executable, "-m", "cachew.cli.main", "git", "restore", "https://git.example/org/repo", "copy"]
    arguments = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *arguments]
    with subprocess.Popen(arguments, cwd=tmp_path, env=cachew.environment, stderr=subprocess.PIPE) as process:
        child.append(process)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130
    assert b"interrupted" in said
    assert list(tmp_path.iterdir()) == []
