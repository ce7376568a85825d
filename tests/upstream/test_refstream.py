"""Very many refs: read as they come, and compared with those before."""

import random
from collections.abc import Sequence

import pytest

from cachew.plumbing.errors import CachewError
from cachew.plumbing.pktline import Packet, encode_all
from cachew.upstream.listing import Listing, LsRefsParser, MalformedListing, RemoteError, RemoteRef
from cachew.upstream.manyrefs import ManyRefs, many_refs
from cachew.upstream.refblocks import line_of
from cachew.upstream.refstream import LsRefsReader
from tests.fakes.manyrefs import HEAD, read, refs_of, told


def one_by_one(response: bytes) -> Sequence[RemoteRef]:
    """Return what a response says, read packet by packet."""
    from cachew.plumbing.pktline import decode

    parser = LsRefsParser()
    for packet in decode(response):
        parser.take(packet)
    return parser.result().refs


@pytest.mark.parametrize("size", [1, 777, 65536, 10**9])
def test_pieces_of_any_size(size: int) -> None:
    """However a response is cut up, the listing says what its lines say, in their order."""
    response = told(refs_of(3000 if size > 1 else 1200))
    listing = read(response, size=size)
    assert isinstance(listing.refs, ManyRefs) and tuple(listing.refs) == one_by_one(response)


def test_blocks_are_shared_where_nothing_has_changed() -> None:
    """Of a listing like the one before only what differs is kept anew, wherever refs come, move or go."""
    chance = random.Random(5)
    refs = refs_of(4000)
    before = read(told(refs))
    for _ in range(30):
        for name in chance.sample(sorted(refs), 3):
            del refs[name]
        for name in chance.sample(sorted(refs), 3):
            refs[name] = RemoteRef(name, f"{chance.getrandbits(160):040x}")
        new = f"refs/heads/b{chance.randrange(10**5):05}-{chance.randrange(10**9)}"
        refs[new] = RemoteRef(new, f"{chance.getrandbits(160):040x}")
        response = told(refs)
        after = read(response, before, chance.choice([999, 30_000, 10**9]))
        assert isinstance(after.refs, ManyRefs) and isinstance(before.refs, ManyRefs)
        assert tuple(after.refs) == one_by_one(response) and after == read(response)
        assert len(set(after.refs.blocks).difference(before.refs.blocks)) <= 7
        gone, come = before.refs.differences(after.refs)
        both = dict(before.refs.tips()), dict(after.refs.tips())
        assert {**gone, **{name: oid for name, oid in both[0].items() if both[1].get(name) == oid}} == both[0]
        assert {**come, **{name: oid for name, oid in both[1].items() if both[0].get(name) == oid}} == both[1]
        before = after


def test_refs_that_only_move() -> None:
    """What is known of a block's names is not found out again, whatever objects they have and their tags lead to."""
    chance = random.Random(7)
    refs = refs_of(1500)
    before = read(told(refs))
    for _ in range(20):
        for name in chance.sample(sorted(refs), 4):
            peeled = f"{chance.getrandbits(160):040x}" if refs[name].peeled else None
            shared = refs[chance.choice(sorted(refs))].oid
            refs[name] = RemoteRef(name, chance.choice([shared, f"{chance.getrandbits(160):040x}"]), None, peeled)
        after, anew = read(told(refs), before), read(told(refs))
        assert (
            isinstance(after.refs, ManyRefs) and isinstance(before.refs, ManyRefs) and isinstance(anew.refs, ManyRefs)
        )
        assert after == anew and after.oids() == anew.oids()
        for block, old, fresh in zip(after.refs.blocks, before.refs.blocks, anew.refs.blocks, strict=True):
            assert block.directories is old.directories
            assert (block.oids.keys, block.starts, block.digest) == (fresh.oids.keys, fresh.starts, fresh.digest)
        before = after


@pytest.mark.parametrize(
    "line",
    [
        b"003f" + b"1" * 40 + b" refs/heads/b00001\n",
        b"003e" + b"1" * 40 + b" refs/heads/b 0001\n",
        b"003e" + b"X" * 40 + b" refs/heads/b00001\n",
        b"003e" + b"1" * 40 + b" refs/heads/b00001 ",
    ],
)
def test_a_line_that_is_none_among_others_that_are_known(line: bytes) -> None:
    """A wrong length, a blank in a name, an id that is none and a line without end are seen as in a first listing."""
    refs = refs_of(1500)
    before = read(told(refs))
    good = line_of(refs["refs/heads/b00001"])
    assert len(line) == len(good)
    response = told(refs).replace(good, line)
    outcomes: list[Listing | str] = []
    for known in (None, before):
        try:
            outcomes.append(read(response, known))
        except CachewError as failure:
            outcomes.append(repr(failure))
    assert outcomes[0] == outcomes[1] != before


def test_a_listing_that_is_the_same() -> None:
    """Nothing of it is kept twice."""
    response = told(refs_of(3000))
    first = read(response)
    second = read(response, first, 12_345)
    assert isinstance(first.refs, ManyRefs) and isinstance(second.refs, ManyRefs)
    assert all(one is other for one, other in zip(first.refs.blocks, second.refs.blocks, strict=True))
    assert first == second and hash(first.refs) == hash(second.refs)


def test_long_runs_that_come_and_go() -> None:
    """Whole blocks that are no more, and more new refs than a block has, are read right."""
    refs = refs_of(4000)
    first = read(told(refs))
    fewer = {name: ref for name, ref in refs.items() if not name.startswith("refs/heads/b00")}
    second = read(told(fewer), first)
    assert tuple(second.refs) == one_by_one(told(fewer))
    third = read(told(refs), second)
    assert tuple(third.refs) == one_by_one(told(refs))
    assert tuple(read(told({}), third).refs) == (HEAD,)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines[:100], lines[101], lines[100], *lines[102:]],
        lambda lines: [*lines[:100], lines[100], *lines[100:]],
        lambda lines: [
            *lines,
            line_of(RemoteRef("refs/zz", f"{1:040x}")),
            line_of(RemoteRef("refs/zz/a", f"{1:040x}")),
        ],
        lambda lines: [*lines, line_of(RemoteRef("refs/zz/a..b", f"{1:040x}"))],
        lambda lines: [*lines, line_of(RemoteRef(f"refs/zz/{'x' * 300}", f"{1:040x}"))],
        lambda lines: [*lines, encode_all([f"{1:040x} refs/zz new:attribute\n".encode()])],
        lambda lines: [*lines, encode_all([f"{1:040x} refs/zz".encode()])],
    ],
)
def test_what_is_not_ordinary_is_read_ref_by_ref(change: object) -> None:
    """Names out of order or twice, one below the other, such as git may not take, unknown attributes, no newline."""
    assert callable(change)
    lines = [line_of(ref) for _, ref in sorted(refs_of(2000).items())]
    response = b"".join([*change(lines), b"0000"])
    for before in (None, read(b"".join([*lines, b"0000"]))):
        listing = read(response, before)
        assert isinstance(listing.refs, tuple) and listing.refs == one_by_one(response)


def test_a_new_ref_above_others() -> None:
    """Where a listing is like the one before, it is noticed all the same that git could not keep both."""
    refs = refs_of(3000)
    before = read(told(refs))
    refs["refs/heads/team"] = RemoteRef("refs/heads/team", f"{1:040x}")
    assert isinstance(read(told(refs), before).refs, tuple)


@pytest.mark.parametrize("broken", [b"", b"000", b"00zz", b"0003", b"0000extra", b"003d"])
def test_a_response_that_is_none(broken: bytes) -> None:
    """Whatever stands in the place of the end is refused, after few refs and after many."""
    for count in (0, 2000):
        lines = b"".join(line_of(ref) for _, ref in sorted(refs_of(count).items()))
        with pytest.raises(Exception) as raised:
            read(lines + broken)
        assert type(raised.value).__name__ in ("MalformedListing", "BadRequest")


def test_an_error_at_the_end_of_many() -> None:
    """An ERR packet is told though very many refs came before."""
    lines = b"".join(line_of(ref) for _, ref in sorted(refs_of(2000).items()))
    packets: list[Packet] = [b"ERR no more\n"]
    with pytest.raises(RemoteError, match="no more"):
        read(lines + encode_all(packets))


def test_another_object_format() -> None:
    """What was right in a listing of another object format is wrong in this one."""
    response = told(refs_of(2000))
    reader = LsRefsReader("sha256", read(response))
    with pytest.raises(MalformedListing):
        reader.feed(response)


def test_few_are_no_lines() -> None:
    """A thousand small repositories cost no more for it."""
    assert isinstance(read(told(refs_of(900))).refs, tuple)


def test_some_that_have_moved() -> None:
    """Refs that move, come or go are so at once, and all that was elsewhere is the very same."""
    refs = refs_of(4000)
    found = read(told(refs)).refs
    assert isinstance(found, ManyRefs)
    new = RemoteRef("refs/heads/team/new", f"{9:040x}")
    after = found.changed(
        {"refs/heads/b00001": RemoteRef("refs/heads/b00001", "c" * 40), new.name: new, "refs/tags/v1": None}
    )
    refs |= {"refs/heads/b00001": RemoteRef("refs/heads/b00001", "c" * 40), new.name: new}
    del refs["refs/tags/v1"]
    assert tuple(after) == one_by_one(told(refs))
    assert len(set(after.blocks).difference(found.blocks)) <= 3


def test_a_ref_takes_little_memory() -> None:
    """Less than 150 bytes each."""
    found = read(told(refs_of(5000))).refs
    assert isinstance(found, ManyRefs) and found.weight / len(found) < 150


def test_refs_from_elsewhere() -> None:
    """Refs that no response told are kept alike, where they are very many and ordinary."""
    refs = refs_of(3000)
    listed = [HEAD, *(refs[name] for name in sorted(refs))]
    assert many_refs(listed, 40) == read(told(refs)).refs
    above = RemoteRef("refs/heads/team", f"{1:040x}")
    assert many_refs([*listed[:-50], above], 40) == [*listed[:-50], above]
    assert many_refs(listed[:10], 40) == listed[:10]


@pytest.mark.parametrize("after", [0, 2000], ids=["at the end", "before it"])
def test_what_came_before_it_turned_out_unordered_is_read_in_slices(after: int) -> None:
    """However much that is; the listing is the same."""
    refs = refs_of(20_000)
    names = [f"{max(refs)}/below", *(f"refs/zzz/{number:05}" for number in range(after))]
    more = b"".join(line_of(RemoteRef(name, f"{1:040x}")) for name in names)
    response = told(refs).removesuffix(b"0000") + more + b"0000"
    reader = LsRefsReader()
    turns_behind = 0
    for start in range(0, len(response), 50_000):
        reader.feed(response[start : start + 50_000])
        turns_behind += reader.behind
    reader.finish()
    while reader.behind:
        turns_behind += 1
        reader.catch_up()
    assert turns_behind >= 2
    assert reader.result().refs == one_by_one(response)
