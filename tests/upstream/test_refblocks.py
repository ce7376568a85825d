"""Refs as the lines that told them."""

import pytest

from cachew.upstream.refblocks import NotOrdinary, RefBlock, key_of, line_of, tips_in
from cachew.upstream.remoteref import RemoteRef

REFS = [
    RemoteRef("refs/heads/a", f"{1:040x}"),
    RemoteRef("refs/heads/b/c", f"{2:040x}", "refs/heads/a"),
    RemoteRef("refs/heads/\udcff", f"{1:040x}"),
    RemoteRef("refs/tags/v1", f"{3:016x}{4:024x}", None, f"{5:016x}{6:024x}"),
]


def block_of(*refs: RemoteRef) -> RefBlock:
    return RefBlock(b"".join(map(line_of, refs)), 40)


def test_a_block_tells_what_its_lines_tell() -> None:
    """In their order, and by place and name; names may hold any bytes."""
    block = block_of(*REFS)
    assert list(block) == [block.ref(number) for number in range(4)] == REFS and len(block) == 4
    assert list(block.tips()) == list(tips_in(block.data, 40)) == [(ref.name, ref.oid) for ref in REFS]
    assert block.names() == [block.name(number) for number in range(4)] and block.last == b"refs/tags/v1"
    assert [block.find(name) for name in block.names()] == REFS
    assert block.find(b"refs/heads/b") is block.find(b"refs/zz") is block.find(b"") is None
    assert block.directories == {b"refs", b"refs/heads", b"refs/heads/b", b"refs/tags"}


def test_places_among_names() -> None:
    """Before one, and behind it, whether it is there or not."""
    block = block_of(*REFS)
    assert [block.position(name) for name in (b"", b"refs/heads/a", b"refs/heads/aa", b"refs/zz")] == [0, 0, 1, 4]
    assert [block.position_after(name) for name in (b"", b"refs/heads/a", b"refs/heads/aa")] == [0, 1, 1]
    assert list(block.part(1, 3)) == REFS[1:3] and b"".join(block.lines()) == block.data


def test_its_object_ids_are_those_of_refs_and_of_what_tags_lead_to() -> None:
    """Whole ones: what only begins alike is another."""
    oids = block_of(*REFS).oids
    for oid in (f"{1:040x}", f"{3:016x}{4:024x}", f"{5:016x}{6:024x}"):
        assert oids.has(key_of(oid), oid.encode())
    for oid in (f"{3:016x}{5:024x}", f"{7:040x}", f"{1:064x}"):
        assert not oids.has(key_of(oid), oid.encode())
    assert oids.beginning_with(5) == f"{5:016x}{6:024x}"


def test_of_refs_that_share_a_few_objects_each_is_told_once() -> None:
    """Also after one of them has moved, and what only another one had is told no more."""
    refs = [RemoteRef(f"refs/heads/b{number:04}", f"{number % 3:040x}") for number in range(900)]
    block = block_of(*refs, RemoteRef("refs/tags/v1", f"{7:040x}"))
    assert sorted(block.oids.all()) == [f"{oid:040x}" for oid in (0, 1, 2, 7)]
    moved = block.moved(block_of(*refs, RemoteRef("refs/tags/v1", f"{8:040x}")).data)
    assert moved is not None and sorted(moved.oids.all()) == [f"{oid:040x}" for oid in (0, 1, 2, 8)]


def test_an_object_id_in_a_name_is_none() -> None:
    """A name may look like anything."""
    oid = "abcdef0123456789" * 2 + "abcdef01"
    oids = block_of(RemoteRef(f"refs/heads/{oid}", f"{1:040x}")).oids
    assert not oids.has(key_of(oid), oid.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        line_of(REFS[1]) + line_of(REFS[0]),
        line_of(REFS[0]) * 2,
        line_of(REFS[0])[:-1],
        line_of(REFS[0]) + b"0000",
        b"003f" + line_of(REFS[0])[4:],
        line_of(RemoteRef("HEAD", f"{1:040x}")),
        line_of(RemoteRef("refs/heads/a..b", f"{1:040x}")),
        line_of(RemoteRef("refs/heads/a.lock", f"{1:040x}")),
        line_of(RemoteRef("refs/heads/" + "x" * 251, f"{1:040x}")),
        line_of(RemoteRef("refs/heads/" + "/".join(["x" * 200] * 12), f"{1:040x}")),
        line_of(RemoteRef("refs/heads/" + "x/" * 300 + "x", f"{1:040x}")),
        line_of(RemoteRef("refs/heads/a", f"{1:064x}")),
    ],
)
def test_what_is_not_ordinary_is_no_block(data: bytes) -> None:
    """Nothing, out of order, twice, not whole, no ref of git's, or of another object format."""
    with pytest.raises(NotOrdinary):
        RefBlock(data, 40)


def test_a_long_name_whose_parts_are_file_names_is_ordinary() -> None:
    """One such ref makes hundreds of thousands beside it no less quick."""
    long = RemoteRef("refs/heads/" + "/".join(["x" * 250] * 7), f"{1:040x}")
    assert list(block_of(long)) == [long]


def test_an_unborn_ref_has_no_line() -> None:
    """It has no object."""
    with pytest.raises(NotOrdinary):
        line_of(RemoteRef("refs/heads/new", None))


def test_refs_that_moved_are_taken_over_and_all_else_stays() -> None:
    """As if the lines were read anew; the block before is as it was."""
    before = block_of(*REFS)
    moved = [REFS[0], RemoteRef("refs/heads/b/c", f"{9:016x}{9:024x}", "refs/heads/a"), *REFS[2:]]
    anew = block_of(*moved)
    after = before.moved(anew.data)
    assert after is not None and list(after) == moved and list(before) == REFS
    assert (after.oids.keys, after.starts, after.digest) == (anew.oids.keys, anew.starts, anew.digest)
    assert after.digest != before.digest
    gone = f"{2:040x}"
    assert before.oids.has(key_of(gone), gone.encode()) and not after.oids.has(key_of(gone), gone.encode())


@pytest.mark.parametrize(
    "refs", [REFS, REFS[:3], [*REFS[:3], RemoteRef("refs/tags/v2", f"{3:040x}")], [REFS[1], REFS[0], *REFS[2:]]]
)
def test_other_refs_are_no_move(refs: list[RemoteRef]) -> None:
    """Nor is nothing at all."""
    assert block_of(*REFS).moved(b"".join(map(line_of, refs))) is None


@pytest.mark.parametrize("oid", ["", "x" * 40])
def test_what_is_no_object_id_has_no_key(oid: str) -> None:
    """It is found nowhere."""
    assert key_of(oid) == -1
