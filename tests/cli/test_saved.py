"""Whole directories from the command line; the server is played."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from cachew.cli import saved
from cachew.client.clienterrors import BadUsage, NotCached


class Context:
    """What commands work with: a server that takes what it is given and has nothing."""

    tar: str | None = "/usr/bin/tar"
    threads = 1

    def __init__(self) -> None:
        self.stored: list[tuple[str, str, Mapping[str, str], str | None]] = []
        self.shown: list[object] = []
        self.said: list[str] = []
        self.asked: list[str] = []

    def objects(self) -> "Context":
        return self

    def downloads(self) -> None:
        """Return nothing, as nothing is downloaded."""

    def archives(self, downloads: None) -> Any:
        return SimpleNamespace(fetch=self._fetch)

    def _fetch(self, url: str, **_: Any) -> None:
        self.asked.append(url)
        raise NotCached("nothing here", status=404)

    def key(self, text: str) -> str:
        return f"prefix-{text}"

    def url(self, namespace: str, key: str) -> str:
        return f"{namespace}/{key}"

    def put(
        self, namespace: str, key: str, body: Iterable[bytes], *, headers: Mapping[str, str], ttl: str | None
    ) -> None:
        self.stored.append((namespace, key, headers, ttl))

    def show(self, value: object, lines: list[str]) -> None:
        self.shown.append(value)

    def say(self, text: str) -> None:
        self.said.append(text)


def run(command: click.Command, *words: object, context: Context | None = None) -> tuple[Context, Any]:
    """Run a command, and return what it worked with and its exit status."""
    context = context or Context()
    return context, command.main([str(word) for word in words], obj=context, standalone_mode=False)


@pytest.mark.parametrize(
    ("name", "told"),
    [("plain", "plain"), ('a"b\\c', "abc"), ("a\nb\x7f", "ab"), ("\u00e9t\u00e9", "t"), ("x\udcff", "x")],
)
def test_an_archive_is_called_after_its_directory(tmp_path: Path, name: str, told: str) -> None:
    """As far as a header can hold its name."""
    (tmp_path / name).mkdir()
    context, _ = run(saved.save, "ns", tmp_path / name, "--key", "k", "--ttl", "90s")
    ((namespace, key, headers, ttl),) = context.stored
    assert (namespace, key, ttl) == ("ns", "prefix-k", "90s")
    assert headers["Content-Disposition"] == f'attachment; filename="{told}.tar.zst"'
    assert all(value.isprintable() and value.isascii() for value in headers.values())
    assert context.shown == [{"key": "prefix-k"}]


@pytest.mark.parametrize("words", [(), ("--key", ""), ("--key", "k", "-H", "*")])
def test_a_key_is_given_in_one_way(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Not in none, nor in two."""
    for command in (saved.save, saved.restore):
        with pytest.raises(click.UsageError, match="either --key or -H"):
            run(command, "ns", tmp_path, *words)


def test_a_directory_that_is_named_by_an_unset_variable(tmp_path: Path) -> None:
    """It is not the present one."""
    for command in (saved.save, saved.restore):
        with pytest.raises(click.UsageError, match="DIRECTORY is empty"):
            run(command, "ns", "", "--key", "k")


def test_what_is_not_there_is_not_saved(tmp_path: Path) -> None:
    """Nothing is uploaded then; nor without a tar."""
    context = Context()
    for words in ((tmp_path / "none",), (tmp_path, "absent")):
        with pytest.raises(BadUsage):
            run(saved.save, "ns", *words, "--key", "k", context=context)
    context.tar = None
    with pytest.raises(BadUsage, match="there is no tar"):
        run(saved.save, "ns", tmp_path, "--key", "k", context=context)
    assert context.stored == []


def test_a_miss_has_an_exit_status_of_its_own(tmp_path: Path) -> None:
    """And makes no directory."""
    context, status = run(saved.restore, "ns", tmp_path / "new", "--key", "k")
    assert status == saved.MISS == 2
    assert context.asked == ["ns/prefix-k"]
    assert context.shown == [{"key": "prefix-k", "hit": False}]
    assert context.said == ["Cache miss: prefix-k"]
    assert list(tmp_path.iterdir()) == []
