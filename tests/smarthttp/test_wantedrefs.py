"""Refs that are wanted by their names: the request that goes on, and the section that comes into the answer."""

import pytest
import pytest_twisted

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.pktline import DELIM, FLUSH, Decoder, Packet, encode_all
from cachew.plumbing.streams import BytesSource, Source, read_all
from cachew.smarthttp.clientcommands import V2Fetch
from cachew.smarthttp.wantedrefs import UnknownRef, WithWantedRefs, asked_for, resolved, section, unknown
from tests.fakes.manyrefs import HEAD, read, refs_of, told
from tests.fakes.parsing import parse_command

ONE, TWO = "1" * 40, "2" * 40
NAMES = {"refs/heads/main": ONE, "refs/tags/issue_57_r\udcc3v": TWO, "refs/heads/same": ONE}
SECTION = encode_all(
    [
        b"wanted-refs\n",
        b"%b refs/heads/main\n" % ONE.encode(),
        b"%b refs/tags/issue_57_r\xc3v\n" % TWO.encode(),
        b"%b refs/heads/same\n" % ONE.encode(),
        DELIM,
    ]
)


class Slow:
    """A source that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step, self.closed = data, step, False

    async def read(self, size: int) -> bytes:
        taken, self._data = self._data[: min(size, self._step)], self._data[min(size, self._step) :]
        return taken

    def close(self) -> None:
        self.closed = True


def request(*arguments: bytes) -> bytes:
    """Return a fetch."""
    return encode_all([b"command=fetch\n", b"agent=git/2\n", DELIM, *arguments, FLUSH])


def test_what_is_wanted_besides() -> None:
    """It is wanted like everything else, and once."""
    asked, other = request(b"want-ref refs/heads/main\n", b"want-ref refs/heads/same\n", b"done\n"), "3" * 40
    wants = (b"want %b\n" % oid.encode() for oid in (ONE, other))
    assert asked_for([asked], NAMES, [other, ONE]) == request(*wants, b"done\n")


def test_a_capability_is_no_argument() -> None:
    """What reads like a wanted ref among the capabilities stays as it came, be it of a name that nobody asked for."""
    beginning: list[Packet] = [b"command=fetch\n", b"want-ref refs/heads/main\n", b"want-ref refs/heads/odd\n", DELIM]
    asked = encode_all([*beginning, b"want-ref refs/heads/main\n", FLUSH])
    assert asked_for([asked], NAMES) == encode_all([*beginning, b"want %b\n" % ONE.encode(), FLUSH])


def test_a_request_goes_on_as_one_for_objects() -> None:
    """Each object is wanted once, and everything else stays as it came."""
    asked = [b"want-ref " + name.encode("utf-8", "surrogateescape") + b"\n" for name in NAMES]
    body = request(b"thin-pack", *asked, b"want " + TWO.encode() + b"\n", b"have " + ONE.encode() + b"\n", b"done\n")
    command = parse_command(body, "version=2")
    assert isinstance(command, V2Fetch)
    assert command.want_refs == tuple(NAMES) and list(command.wants) == [TWO] and "want-ref" not in command.features
    plain = request(
        b"thin-pack",
        *(b"want %b\n" % oid.encode() for oid in (ONE, TWO, TWO)),
        b"have " + ONE.encode() + b"\n",
        b"done\n",
    )
    for size in (1, 7, len(body)):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        assert asked_for(pieces, NAMES) == plain


@pytest.mark.parametrize(
    "before",
    [
        [],
        [b"acknowledgments\n", b"ACK " + ONE.encode() + b"\n", b"ready\n", DELIM],
        [b"shallow-info\n", b"shallow " + ONE.encode() + b"\n", DELIM],
    ],
)
@pytest.mark.parametrize("step", [1, 5, 10_000])
@pytest_twisted.ensureDeferred
async def test_the_section_comes_right_before_the_pack(before: list[Packet], step: int) -> None:
    """Whatever sections precede it, in whatever pieces the answer comes."""
    pack: list[Packet] = [b"packfile\n", b"\x01PACK and so on", b"\x01" + b"x" * 5000, FLUSH]
    answer = encode_all([*before, *pack])
    source = Slow(answer, step)
    told = WithWantedRefs(source, section(NAMES))
    await told.begin()
    assert told.added == len(SECTION)
    assert await read_all(told, 100_000) == encode_all(before) + SECTION + encode_all(pack)
    told.close()
    assert source.closed


@pytest.mark.parametrize("packets", [[b"acknowledgments\n", b"NAK\n", FLUSH], [b"ERR upload-pack: no\n"], []])
@pytest_twisted.ensureDeferred
async def test_an_answer_without_a_pack_stays_as_it_is(packets: list[Packet]) -> None:
    """A round of negotiation says nothing of refs, nor does an error."""
    told = WithWantedRefs(BytesSource(encode_all(packets)), section(NAMES))
    assert await read_all(told, 1000) == encode_all(packets) and told.added == 0


@pytest_twisted.ensureDeferred
async def test_regions_give_the_same() -> None:
    """What is sent by threads is what is read."""
    answer = encode_all([b"packfile\n", b"\x01" + b"x" * 60_000, FLUSH])
    for source in (BytesSource(answer), Slow(answer, 1000)):
        told: WithWantedRefs = WithWantedRefs(source, section(NAMES))
        pieces = []
        while (region := await told.region(1000)) is not None:
            pieces.append(region.read())
        assert b"".join(pieces) == SECTION + answer


@pytest_twisted.ensureDeferred
async def test_nonsense_is_not_held() -> None:
    """What says ever more and never begins a pack is given up."""

    class Endless:
        async def read(self, size: int) -> bytes:
            return (b"0104" + b"x" * 256) * 4096

        def close(self) -> None:
            """Nothing."""

    source: Source = Endless()
    with pytest.raises(BadRequest):
        await WithWantedRefs(source, SECTION).begin()


def test_a_ref_that_there_is_not() -> None:
    """It is told in git's words."""
    assert unknown("refs/heads/none") == b"0023ERR unknown ref refs/heads/none0000"


@pytest.mark.parametrize("count", [3, 2000])
def test_refs_are_found_in_a_listing_however_many_are_wanted(count: int) -> None:
    """HEAD among them; the first that isn't there is told."""
    refs = {**refs_of(3000), "HEAD": HEAD}
    listing = read(told(refs_of(3000)))
    wanted = ["HEAD", *sorted(refs_of(count))]
    body, said = resolved([request(*(f"want-ref {name}\n".encode() for name in wanted))], wanted, listing)
    names = {name: refs[name].oid or "" for name in wanted}
    assert set(Decoder().feed(said)) == set(Decoder().feed(section(names)))
    assert sorted(parse_command(body, "version=2").wants) == sorted(set(names.values()))  # type: ignore[union-attr]
    with pytest.raises(UnknownRef) as caught:
        resolved([], [*wanted, "refs/heads/none"], listing)
    assert caught.value.name == "refs/heads/none"
