"""What is damaged of a mirror's files, and how it is mended where that needs nobody."""

from pathlib import Path
from typing import Any, cast

import pytest

from cachew.mirrors.examination import DamagedFiles, examine, remove_derived, rewrite
from cachew.mirrors.shape import misshapen
from cachew.upstream.listing import Listing, RemoteRef
from tests.fakes.mirrorgit import listing, oid
from tests.fakes.repositoryform import CONFIG, repository

HEADER = "# pack-refs with: \n"


class FakeLedger:
    """A ledger that knows what is bad.

    :ivar bad: the files whose checksums don't hold.
    :ivar written_to: those that were written to since they were verified.
    """

    def __init__(self, bad: list[str], written_to: list[str]) -> None:
        self.bad, self.written_to = bad, written_to

    def unverified(self) -> list[str]:
        return self.written_to

    def verify(self, names: list[str] | None = None) -> list[str]:
        return [name for name in self.bad if names is None or name in names]


def examined(path: Path, ledger: FakeLedger, *, contents: bool = True) -> DamagedFiles:
    """Look for damage."""
    return examine(path, cast(Any, ledger), config=CONFIG, digits=40, contents=contents)


PACK, INDEX, GRAPH = "objects/pack/pack-1.pack", "objects/pack/pack-1.idx", "objects/info/commit-graph"


def test_damage_is_told_apart_by_how_it_can_be_mended(tmp_path: Path) -> None:
    """Packs and their indexes come from elsewhere, what is derived is made again, the rest is written anew."""
    ledger = FakeLedger([PACK, INDEX, GRAPH], [GRAPH])
    path = repository(tmp_path)
    (path / "config").unlink()
    found = examined(path, ledger)
    assert (found.objects, found.derived, found.shape) == ((PACK, INDEX), (GRAPH,), ("config",))
    assert examined(path, ledger, contents=False) == DamagedFiles(derived=(GRAPH,), shape=("config",))


def test_a_repository_without_a_place_for_objects_has_none(tmp_path: Path) -> None:
    """That can't be written anew."""
    path = repository(tmp_path)
    (path / "objects/pack").rmdir()
    assert examined(path, FakeLedger([], [])) == DamagedFiles(objects=("objects/pack",))


def test_no_damage_is_false() -> None:
    """Damage of any kind is true, and three of its files are named."""
    assert not DamagedFiles() and str(DamagedFiles()) == ""
    assert DamagedFiles(("a",)) and DamagedFiles((), ("a",)) and DamagedFiles((), (), ("a",))
    assert str(DamagedFiles(("a",), ("b",), ("c",))) == "a, b, c"
    assert str(DamagedFiles(("a", "b"), ("c", "d"), ("e",))) == "a, b, c and 2 more"


def test_only_what_is_derived_is_removed(tmp_path: Path) -> None:
    """Whether it is still there or has gone."""
    path = repository(tmp_path)
    for name in (PACK, GRAPH):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).touch()
    remove_derived(path, DamagedFiles(objects=(PACK,), derived=(GRAPH, "objects/pack/multi-pack-index")))
    assert (path / PACK).exists() and not (path / GRAPH).exists()


@pytest.mark.parametrize("head", ["refs/heads/main", None])
def test_refs_and_head_are_what_was_listed(tmp_path: Path, head: str | None) -> None:
    """What was loose or packed of the upstream's goes; an upstream whose HEAD is not known gets the usual one."""
    path = repository(tmp_path)
    (path / "refs/heads/old").write_text("garbage")
    (path / "packed-refs").write_text(f"{oid('9')} refs/heads/gone\n")
    (path / "HEAD").write_bytes(b"\0")
    rewrite(path, listing("refs/tags/v1=2", main="1", head=head), digits=40)
    assert (path / "packed-refs").read_text() == f"{HEADER}{oid('1')} refs/heads/main\n{oid('2')} refs/tags/v1\n"
    assert (path / "HEAD").read_text() == "ref: refs/heads/main\n" and list((path / "refs/heads").iterdir()) == []
    assert misshapen(path, config=CONFIG, digits=40) == []


def test_a_detached_head(tmp_path: Path) -> None:
    """It is written as the object id that it is."""
    path = repository(tmp_path)
    rewrite(path, Listing(refs=(RemoteRef("HEAD", oid("1")), RemoteRef("refs/heads/main", oid("2")))), digits=40)
    assert (path / "HEAD").read_text() == f"{oid('1')}\n"


def test_what_keeps_objects_alive_stays_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    """Packed or loose, where both are there the loose one counts; none that git would refuse."""
    path = repository(tmp_path)
    place = path / "refs/cachew/20000"
    place.mkdir(parents=True)
    (path / "packed-refs").write_bytes(
        b"\0\0garbage\n"
        + f"{oid('1')} refs/cachew/20000/{oid('1')}\n{oid('2')} refs/cachew/20000/{oid('2')}\n".encode()
        + f"{oid('0')} refs/cachew/20000/zero\nabc refs/cachew/20000/short\n{oid('3')} refs/cachew/../../x\n".encode()
    )
    (place / oid("2")).write_text(f"{oid('4')}\n")
    (place / oid("5")).write_text(oid("5"))
    (place / "empty").touch()
    rewrite(path, listing(main="9"), digits=40)
    lines = (path / "packed-refs").read_text().removeprefix(HEADER).split("\n")[:-1]
    assert lines == [
        f"{oid('9')} refs/heads/main",
        f"{oid('1')} refs/cachew/20000/{oid('1')}",
        f"{oid('4')} refs/cachew/20000/{oid('2')}",
        f"{oid('5')} refs/cachew/20000/{oid('5')}",
    ]
    assert misshapen(path, config=CONFIG, digits=40) == []
