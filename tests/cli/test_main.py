"""The command as its user meets it: its output, its exit status, and what it is as a process."""

import io
import json
import os
import signal
import socketserver
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cachew.cli.main import run
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
        """Run it here, with the streams, the directory and the environment that a process would have."""
        out, err = (io.TextIOWrapper(io.BytesIO(), errors="backslashreplace") for _ in range(2))
        with pytest.MonkeyPatch.context() as patch, _piped(stdin) as source:
            patch.chdir(self.directory)
            for name in {*os.environ} - {*self.environment}:
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            for name, stream in (("stdin", source), ("stdout", out), ("stderr", err)):
                patch.setattr(sys, name, stream)
            patch.setattr(time, "sleep", lambda seconds: None)
            code = run(list(arguments))
        told, complaints = (stream.detach().getvalue() for stream in (out, err))
        assert code == status, complaints.decode()
        return subprocess.CompletedProcess(arguments, code, told, complaints)

    def process(self, *arguments: str, stdin: bytes = b"", status: int = 0) -> subprocess.CompletedProcess[bytes]:
        """Run it as a process."""
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


@contextmanager
def _piped(data: bytes) -> Iterator[io.TextIOWrapper]:
    """Return a pipe's end out of which data come."""
    reading, writing = os.pipe()
    with open(writing, "wb") as file:
        file.write(data)
    with open(reading) as source:
        yield source


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


def test_a_restore_waits_for_few_libraries(cachew: Shell) -> None:
    """What takes as long to import as all the rest is left to those who need it."""
    slow = {"twisted", "email", "http.client", "ssl", "dataclasses", "tempfile", "random", "zstandard", "json"}
    code = (
        "import sys; before = set(sys.modules)\n"
        "from cachew.cli import plainclick; sys.modules['click'] = plainclick\n"
        "import cachew.cli.main, cachew.cli.progressbar, cachew.client.restore, cachew.client.gitcredentials\n"
        "import cachew.client.lfssnapshots, cachew.client.deltabundle, cachew.client.download, cachew.client.merge\n"
        f"print(*{slow} & set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=cachew.environment, capture_output=True, check=True)
    assert done.stdout == b"\n"


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


def test_what_could_not_be_restored_is_not_saved(cachew: Shell, server: CachewServer, tmp_path: Path) -> None:
    """A fifo, which no restore takes, is told when it is saved, and may be left out."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/file").write_text("x")
    os.mkfifo(tmp_path / "modules/pipe")
    assert b"'./pipe' is a fifo" in cachew("save", "node", "modules", "--key", "k", status=1).stderr
    assert not server.objects
    cachew("save", "node", "modules", "--key", "k", "--exclude", "pipe")
    cachew("restore", "node", "again", "--key", "k")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["file"]


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
    cachew("git", "restore", "https://git.example/org/repo", "copy")
    (tmp_path / "copy" / "empty").write_text("changed")
    failed = cachew("git", "restore", "https://git.example/org/repo", "copy", status=1).stderr.decode()
    assert failed.startswith(f"cachew: {tmp_path / 'copy'} has changes or files that are not committed\n")
    assert "--force" in failed
    cachew("git", "restore", "--force", "https://git.example/org/repo", "copy")
    assert (tmp_path / "copy" / "empty").read_text() == ""


def test_credentials_stay_at_home(cachew: Shell, server: CachewServer) -> None:
    """A repository's URL on another server than --url does not get the credentials meant for that one."""
    url = f"{server.url}/git/git.example/org/repo"
    cachew("--url", "http://127.0.0.1:1", "--authorization", "Bearer t", "git", "restore", url, "copy", status=1)
    assert {seen.headers.get("Authorization") for seen in server.seen} == {None}


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_restore_leaves_nothing(
    cachew: Shell, server: CachewServer, tmp_path: Path, number: signal.Signals
) -> None:
    """SIGTERM, or the end of its terminal, ends the command at once, with nothing left behind.

    However often it is told: ``timeout`` tells it, and then its group. Also where a shell has turned SIGINT off.
    """
    path = "/git/git.example/org/repo/snapshot.tar.zst"
    child: list[subprocess.Popen[bytes]] = []

    def interrupt(count: int) -> None:
        if count == 3:
            while child[0].poll() is None:
                child[0].send_signal(number)

    body = framed(tar([member("./dir", type=tarfile.DIRTYPE, mode=0o755), member("./big", os.urandom(20_000_000))]))
    server.objects[path] = Stored(body, before=interrupt, cuts=[None, 9_000_000])
    arguments = [sys.executable, "-m", "cachew.cli.main", "git", "restore", "https://git.example/org/repo", "copy"]
    arguments = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *arguments]
    with subprocess.Popen(arguments, cwd=tmp_path, env=cachew.environment, stderr=subprocess.PIPE) as process:
        child.append(process)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130
    assert b"interrupted" in said
    assert list(tmp_path.iterdir()) == []


TOKEN = "Bearer s3cr3t-t0ken"


def told(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what was written, which is no traceback and has no secret."""
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert "Traceback" not in text and "s3cr3t" not in text and "\x1b" not in text, text
    return text


def test_an_authorization_with_a_newline_at_its_end(cachew: Shell, server: CachewServer) -> None:
    """What was read from a file is sent without it; a line break within is refused without being repeated."""
    server.answers["/api/v1/namespaces"] = (200, ["git"])
    cachew.environment["CACHEW_AUTHORIZATION"] = f"{TOKEN}\n"
    told(cachew("namespaces"))
    assert server.seen[-1].headers["Authorization"] == TOKEN
    for bad in (f"{TOKEN}\nX-Other: 1", f"{TOKEN}\r\n x", f"{TOKEN}\x01", f"{TOKEN}\u2028x", f"{TOKEN}\udcff"):
        cachew.environment["CACHEW_AUTHORIZATION"] = bad
        assert "CACHEW_AUTHORIZATION" in told(cachew("namespaces", status=1))
        told(cachew("--authorization", bad, "git", "restore", "https://git.example/a/b", "x", status=1))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CACHEW_URL", "http://bob:s3cr3t@[x"),
        ("CACHEW_URL", "http://127.0.0.1:1\n/x"),
        ("CACHEW_URL", "ftp://bob:s3cr3t@x"),
        ("CACHEW_URL", "http://bob:s3cr3t@127.0.0.1"),
        ("http_proxy", "http://bob:s3cr3t@[x"),
        ("http_proxy", "socks5://bob:s3cr3t@127.0.0.1:1"),
        ("http_proxy", "http://bob:s3cr3t@127.0.0.1:x"),
        ("http_proxy", "s3cr3t"),
        ("CACHEW_PLATFORM", "s0metimes"),
        ("TMPDIR", "/nonexistent"),
    ],
)
def test_whatever_the_environment_says(cachew: Shell, tmp_path: Path, variable: str, value: str) -> None:
    """A mistake in it is told in a sentence."""
    cachew.environment[variable] = value
    for words in (["namespaces"], ["get", "ns", "key"], ["git", "restore", "https://git.example/a/b", "x"]):
        told(cachew(*words, status=1))


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "-o", ".", "ns", "key"],
        ["get", "-o", "/", "ns", "key"],
        ["get", "-o", "none/there", "ns", "key"],
        ["put", "ns", "key", "."],
        ["put", "-H", "A=b\nc", "ns", "key"],
        ["put", "-H", "A b=c", "ns", "key"],
        ["save", "ns", "none", "--key", "k"],
        ["save", "ns", "", "--key", "k"],
        ["restore", "ns", "", "--key", "k"],
        ["git", "restore", "https://git.example/a/b", ""],
        ["restore", "ns", "/dev/null/x", "--key", "k"],
        ["git", "restore", "http://bob:s3cr3t@git.example/a/b", "x"],
        ["git", "restore", "http://bob:s3cr3t@[", "x"],
        ["git", "restore", "https://git.example/a/b?token=s3cr3t", "x", "--ref", "\udcff"],
        ["--authorization", "Bearer s3cr3t", "--authorisation"],
    ],
)
def test_whatever_the_arguments_say(cachew: Shell, server: CachewServer, arguments: list[str]) -> None:
    """A mistake in them is told in a sentence, without what may be secret."""
    server.objects[f"/api/v1/object/ns/{digest('key')}"] = Stored(b"x")
    told(cachew(*arguments, status=1))


ODD_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    b"HTTP/1.1 999999 \xff\r\n\r\n",
    b"HTTP/1.1 302 \x1b]0;evil\x07\r\nLocation: http://x/\x1b]0;evil\x07\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 401 No\r\nContent-Length: 19\r\n\r\nBearer s3cr3t-t0ken",
    b"HTTP/1.1 302 No\r\nLocation: http://bob:s3cr3t@x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n[\xff, 1]!",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n12",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100000,
    b"\0" * 100,
    b"",
]


def test_whatever_the_server_says(cachew: Shell) -> None:
    """No answer gives a traceback, or the credential that it repeats."""
    cachew.environment["CACHEW_AUTHORIZATION"] = TOKEN
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Odd) as odd:
        odd.daemon_threads = True
        threading.Thread(target=odd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        cachew.environment["CACHEW_URL"] = f"http://127.0.0.1:{odd.server_address[1]}"
        for _Odd.answer in ODD_ANSWERS:
            for words in (["stats"], ["namespaces"]):
                told(cachew(*words, status=1))
        odd.shutdown()


class _Odd(socketserver.BaseRequestHandler):
    answer = b""

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(self.answer)


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "2>&-", ">&- 2>&-", "2>/dev/full"])
def test_outputs_that_take_nothing(cachew: Shell, server: CachewServer, redirection: str) -> None:
    """What could not be printed is no success, and is told in a sentence where there is still a place for it."""
    server.answers["/api/v1/stats"] = (200, {"objects": 1, "size": 2, "capacity": 3})
    command = f"{sys.executable} -m cachew.cli.main stats {redirection}"
    done = subprocess.run(["sh", "-c", command], cwd=cachew.directory, env=cachew.environment, capture_output=True)
    told(done)
    assert done.returncode == (1 if redirection == ">/dev/full" or redirection.startswith(">&-") else 0)


def test_a_device_is_written_to_and_not_replaced(cachew: Shell, server: CachewServer) -> None:
    """``-o`` of a pipe or a device takes the object as it comes."""
    server.objects[f"/api/v1/object/ns/{digest('key')}"] = Stored(b"content")
    os.mkfifo(cachew.directory / "pipe")
    reader = subprocess.Popen(["cat", str(cachew.directory / "pipe")], stdout=subprocess.PIPE)
    told(cachew("get", "-o", "pipe", "ns", "key"))
    assert reader.communicate()[0] == b"content"
    assert (cachew.directory / "pipe").is_fifo()


def test_git_restore_from_a_server_that_asks_for_a_credential(
    cachew: Shell, server: CachewServer, tmp_path: Path
) -> None:
    """A netrc entry for the server's address is enough, and what the server repeats of a wrong one is not shown."""
    upstream = make_upstream(tmp_path / "upstream")
    members = snapshot_members(upstream, tmp_path / "scratch", origin="https://git.example/org/repo")
    server.objects["/git/git.example/org/repo/snapshot.tar.zst"] = Stored(framed(tar(members)))
    server.required = "Basic Ym9iOnMzY3IzdA=="
    (tmp_path / "home").mkdir()
    cachew.environment |= {"HOME": str(tmp_path / "home"), "GIT_TERMINAL_PROMPT": "0"}
    words = ("git", "restore", "https://git.example/org/repo", "copy")
    assert "credential helper" in told(cachew(*words, status=1))
    (tmp_path / "home/.netrc").write_text("machine 127.0.0.1 login bob password wrong-s3cr3t\n")
    assert "401" in told(cachew(*words, status=1))
    (tmp_path / "home/.netrc").write_text("machine 127.0.0.1 login bob password s3cr3t\n")
    told(cachew(*words))
    assert git(tmp_path / "copy", "status", "--porcelain") == ""


def test_a_host_that_the_server_does_not_serve(cachew: Shell, server: CachewServer) -> None:
    """Git is not sent there either, but to the upstream itself."""
    server.absent = b"host git.example is not among the configured upstreams\n"
    said = told(cachew("git", "restore", "https://git.example/org/repo", "copy", status=1))
    assert "does not serve git.example. `git clone https://git.example/org/repo` goes there without it." in said


def test_every_command_takes_json_and_quiet(cachew: Shell) -> None:
    """Results are JSON where that is asked for, before the command or after it; --quiet tells nothing else."""
    cachew("put", "ns", "key", stdin=b"content")
    assert json.loads(cachew("stat", "ns", "key", "--json").stdout)["Content-Length"] == "7"
    assert set(json.loads(cachew("--json", "put", "ns", "key", stdin=b"content").stdout)) == {"namespace", "key"}
    assert cachew("get", "ns", "key", "--quiet").stderr == b""
    code = """
import click
from cachew.cli.main import cachew
def leaves(command):
    inner = getattr(command, "commands", None)
    return [command] if inner is None else [leaf for one in inner.values() for leaf in leaves(one)]
kept = [one for one in leaves(cachew) if not one.context_settings.get("ignore_unknown_options")]
print(*(one.name for one in kept if not {"json", "quiet"} <= {param.name for param in one.params}))
"""
    done = subprocess.run([sys.executable, "-c", code], env=cachew.environment, capture_output=True, check=True)
    assert done.stdout == b"\n"


def test_completion_and_version(cachew: Shell) -> None:
    """The shell's completion knows the commands, and the version is told."""
    cachew.environment |= {"_CACHEW_COMPLETE": "bash_source"}
    assert b"_CACHEW_COMPLETE=bash_complete" in cachew.process().stdout
    del cachew.environment["_CACHEW_COMPLETE"]
    assert cachew.process("--version").stdout.startswith(b"cachew ")


def test_as_a_process(cachew: Shell) -> None:
    """What is piped in comes out of a pipe again, and a mistake is told by the exit status."""
    cachew.process("put", "ns", "key", stdin=b"in")
    assert cachew.process("get", "ns", "key").stdout == b"in"
    assert b"No such option" in cachew.process("get", "--no-such-option", status=1).stderr


def test_help_is_not_cut(cachew: Shell) -> None:
    """Every command's line in a help is a whole sentence."""
    for words in ((), ("git",), ("admin",)):
        text = cachew(*words, "--help").stdout.decode()
        assert "..." not in text.split("Commands:")[-1].split("Repositories:")[-1], words
