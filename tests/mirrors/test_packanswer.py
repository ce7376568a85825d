"""A pack that is asked for without git."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.packanswer import PackAnswer, question
from cachew.plumbing.errors import CorruptObject
from cachew.plumbing.pktline import FLUSH, Packet, encode_all
from cachew.plumbing.streams import BytesSource, PushSource, read_all
from cachew.smarthttp.clientcommands import V2Fetch
from tests.fakes.parsing import parse_command
from tests.fakes.settled import value_of

ONE, OTHER = "1" * 40, "2" * 40
WHOLE: list[Packet] = [b"packfile\n", b"\x02counting\n", b"\x01PACK", b"\x01rest", FLUSH]


def pack_in(answer: bytes) -> Any:
    return value_of(Deferred.fromCoroutine(read_all(PackAnswer(BytesSource(answer)), 1000)))


def test_the_question() -> None:
    """It names what is wanted and what is here, and wants no round of negotiation."""
    command = parse_command(question("sha1", [ONE], [OTHER]), "version=2")
    assert isinstance(command, V2Fetch)
    assert (list(command.wants), command.haves, command.done) == ([ONE], 1, True)
    assert b"thin-pack" in question("sha1", [ONE], []) and b"object-format=sha256" in question("sha256", [ONE], [])


def test_who_asks_is_said_to_who_wants_to_hear_it() -> None:
    """gitprotocol-v2(5) lets nobody send a capability that isn't advertised; JGit's servers advertise no ``agent``."""
    assert b"agent=" in question("sha1", [ONE], []) and b"agent=" not in question("sha1", [ONE], [], named=False)


def test_the_pack() -> None:
    """The pack is what band 1 carries; progress is left out."""
    assert pack_in(encode_all(WHOLE)) == b"PACKrest"


def test_an_answer_is_taken_to_its_very_end() -> None:
    """The pack ends with the answer, not before: only then the answer's connection can be used for the next request."""
    answer = PushSource()
    reading = Deferred.fromCoroutine(read_all(PackAnswer(answer), 1000))
    answer.data(encode_all(WHOLE))
    assert not reading.called
    answer.finish()
    assert value_of(reading) == b"PACKrest"
    late = PushSource()
    reading = Deferred.fromCoroutine(read_all(PackAnswer(late), 1000))
    late.data(encode_all(WHOLE))
    late.data(b"0000")
    with pytest.raises(CorruptObject):
        value_of(reading)


@pytest.mark.parametrize(
    "packets",
    [
        WHOLE[:-1],
        [],
        [b"ERR not our ref", FLUSH],
        [b"shallow-info\n", b"shallow " + ONE.encode(), *WHOLE],
        [*WHOLE[:2], b"\x03disk full", FLUSH],
        [*WHOLE, *WHOLE],
    ],
)
def test_what_is_no_whole_pack(packets: list[Packet]) -> None:
    """An answer that is cut off, an error, or tells something else besides is left to git."""
    with pytest.raises(CorruptObject):
        pack_in(encode_all(packets))


def test_what_is_not_gits() -> None:
    """A page in the place of an answer is none."""
    with pytest.raises(CorruptObject):
        pack_in(b"<html>")
