"""Single objects from the command line; the server is played."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from cachew.cli.objectcommands import delete, get, namespaces, put, stat, stats
from cachew.client.clienterrors import BadUsage, ClientError, DownloadCorrupt
from tests.fakes.client_parts import Arriving


class Context:
    """What commands work with: a server that has one object, and whoever is told something."""

    def __init__(self, download: Arriving | None = None) -> None:
        self.download = download or Arriving(b"some ", b"bytes")
        self.shown: list[object] = []
        self.lines: list[str] = []
        self.said: list[str] = []
        self.stored: list[tuple[str, str, bytes, Mapping[str, str], str | None]] = []
        self.opened: list[str] = []
        self.found: Any = []

    def objects(self) -> "Context":
        return self

    def downloads(self) -> "Context":
        return self

    def key(self, text: str) -> str:
        return f"prefix-{text}"

    def url(self, namespace: str, key: str) -> str:
        return f"{namespace}/{key}"

    def open(self, url: str) -> Arriving:
        self.opened.append(url)
        return self.download

    def put(self, namespace: str, key: str, body: Any, *, headers: Mapping[str, str], ttl: str | None) -> None:
        self.stored.append((namespace, key, body.read(), headers, ttl))

    def stat(self, namespace: str, key: str) -> Mapping[str, str]:
        return {"Content-Length": "5", "X": f"{namespace}/{key}"}

    def delete(self, namespace: str, key: str) -> None:
        self.opened.append(f"{namespace}/{key}")

    def namespaces(self) -> Any:
        return self.found

    stats = namespaces

    def show(self, value: object, lines: list[str]) -> None:
        self.shown.append(value)
        self.lines += lines

    def say(self, text: str) -> None:
        self.said.append(text)


def run(command: click.Command, context: Context, *words: object) -> None:
    """Run a command."""
    command.main([str(word) for word in words], obj=context, standalone_mode=False)


# --- get --------------------------------------------------------------------------------------------------------------


def test_an_object_is_written_whole(tmp_path: Path) -> None:
    """Its headers are told; what was in the file before goes."""
    context, place = Context(Arriving(b"some ", b"bytes", X_A="b", Date="now")), tmp_path / "out"
    place.write_bytes(b"something longer than that")
    run(get, context, "ns", "key", "-o", place)
    assert place.read_bytes() == b"some bytes"
    assert context.opened == ["ns/prefix-key"]
    assert context.said == ["X-A: b"]
    assert context.download.closed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_object_that_breaks_off_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """And nothing beside it; also where there was none."""
    for before in (b"before", None):
        context, place = Context(Arriving(b"half", fails=DownloadCorrupt("wrong digest"))), tmp_path / "out"
        if before is None:
            place.unlink()
        else:
            place.write_bytes(before)
        with pytest.raises(DownloadCorrupt):
            run(get, context, "ns", "key", "-o", place)
        assert context.download.closed
        assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_link_is_written_through(tmp_path: Path) -> None:
    """It stays a link."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    run(get, Context(), "ns", "key", "-o", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"some bytes"


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    """What lies beside it for a while has a shorter one."""
    place = tmp_path / ("x" * 255)
    run(get, Context(), "ns", "key", "-o", place)
    assert place.read_bytes() == b"some bytes"


def test_what_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    """By what the server announces."""
    with pytest.raises(ClientError, match="stay free"):
        run(get, Context(Arriving(b"x", Content_Length="9" * 18)), "ns", "key", "-o", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """Nothing is asked for then."""
    context = Context()
    with pytest.raises(BadUsage, match="is a directory"):
        run(get, context, "ns", "key", "-o", tmp_path)
    assert context.opened == []


# --- put --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("file.txt", 'attachment; filename="file.txt"'),
        ('a"b\\c', 'attachment; filename="a\\"b\\\\c"'),
        ("\u00e9", "attachment"),
        ("a\nb", "attachment"),
    ],
)
def test_a_file_is_stored_under_its_name(tmp_path: Path, name: str, disposition: str) -> None:
    """As far as a header can hold it; its length is told before, so that it may be refused at once."""
    (tmp_path / name).write_bytes(b"content")
    context = Context()
    run(put, context, "ns", "key", tmp_path / name, "--ttl", "1h30m")
    headers = {"Content-Disposition": disposition, "Content-Length": "7"}
    assert context.stored == [("ns", "prefix-key", b"content", headers, "1h30m")]
    assert context.shown == [{"namespace": "ns", "key": "prefix-key"}]


def test_what_a_shell_has_opened_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that saves it is told none; its length is that of what is left to be read."""
    (tmp_path / "file").write_bytes(b"a line\ncontent")
    with open(tmp_path / "file", "rb", buffering=0) as file:
        file.readline()
        source = io.TextIOWrapper(io.BufferedReader(Named(file)))
        monkeypatch.setattr(sys, "stdin", source)
        context = Context()
        run(put, context, "ns", "key")
        source.detach()
    ((_, _, content, headers, _),) = context.stored
    assert content == b"content"
    assert headers == {"Content-Disposition": "attachment", "Content-Length": "7"}


class Named(io.RawIOBase):
    """A file that is standard input.

    :param file: the file.
    """

    name = "<stdin>"

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file

    def readinto(self, buffer: Any) -> int | None:
        return self._file.readinto(buffer)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        return self._file.fileno()


@pytest.mark.parametrize("name", ["Content-Disposition", "content-disposition"])
def test_the_user_s_own_headers_count(tmp_path: Path, name: str) -> None:
    """Each is sent once, whatever its case."""
    (tmp_path / "file").write_bytes(b"content")
    context = Context()
    run(put, context, "ns", "key", tmp_path / "file", "-H", f"{name}=inline", "-H", "X-A=b=c")
    assert context.stored[0][3] == {name: "inline", "X-A": "b=c", "Content-Length": "7"}


@pytest.mark.parametrize("header", ["X", "=x", ""])
def test_a_header_without_a_name_or_value(tmp_path: Path, header: str) -> None:
    """It is no header."""
    (tmp_path / "file").write_bytes(b"content")
    context = Context()
    with pytest.raises(click.UsageError, match="NAME=VALUE"):
        run(put, context, "ns", "key", tmp_path / "file", "-H", header)
    assert context.stored == []


# --- the others -------------------------------------------------------------------------------------------------------


def test_what_is_known_of_an_object() -> None:
    """Its headers, one a line."""
    context = Context()
    run(stat, context, "ns", "key")
    assert context.lines == ["Content-Length: 5", "X: ns/prefix-key"]
    run(delete, context, "ns", "key")
    assert context.opened == ["ns/prefix-key"]


def test_what_there_is() -> None:
    """Sizes also as people read them; where there is nothing, that is told beside."""
    context = Context()
    run(namespaces, context)
    assert (context.shown, context.lines, context.said) == ([[]], [], ["No namespaces found"])
    context.found = ["a", "b"]
    run(namespaces, context)
    assert context.lines == ["a", "b"]
    context.found = {"objects": 2, "size": 3 << 20, "capacity": None}
    run(stats, context)
    assert context.lines[2:] == ["objects: 2", "size: 3145728 (3.1 MB)", "capacity: None"]
