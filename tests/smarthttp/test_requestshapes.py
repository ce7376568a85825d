"""Which fetches are expected for a new tip."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest

from cachew.mirrors.refs import RefState, of_listing
from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from cachew.smarthttp.clientcommands import V0Request, V2Fetch
from cachew.smarthttp.keptpacks import pack_key
from cachew.smarthttp.requestshapes import RequestShapes, Shape, shape_of
from cachew.upstream.listing import Listing, RemoteRef
from cachew.upstream.manyrefs import many_refs
from tests.fakes.parsing import parse_command

TIPS = [letter * 40 for letter in "abcdef"]
TAG = "9" * 40
DEEPEN = ("ofs-delta", "deepen 1")


def refs_at(tip: str, **more: str) -> dict[str, str]:
    return {"refs/heads/main": tip, "refs/heads/topic": TAG[::-1], **more}


def state_at(tip: str) -> RefState:
    return RefState(refs_at(tip), "refs/heads/main")


def v2(*wants: str, options: tuple[str, ...] = DEEPEN, agent: str = "git/2") -> bytes:
    packets: list[Packet] = [b"command=fetch", f"agent={agent}".encode(), b"object-format=sha1", DELIM]
    packets += [f"{option}\n".encode() for option in options]
    return encode_all([*packets, *(f"want {want}\n".encode() for want in wants), b"done\n", FLUSH])


def v0(*wants: str, agent: str = "git/2") -> bytes:
    first: list[Packet] = [f"want {wants[0]} side-band-64k ofs-delta agent={agent}\n".encode()]
    rest: list[Packet] = [f"want {want}\n".encode() for want in wants[1:]]
    return encode_all([*first, *rest, FLUSH, b"done\n"])


def read(body: bytes, protocol: str | None) -> V0Request | V2Fetch:
    command = parse_command(body, protocol)
    assert isinstance(command, V0Request | V2Fetch)
    return command


def shaped(body: bytes, tip: str, protocol: str | None = "version=2") -> Shape | None:
    return shape_of(read(body, protocol), body, protocol, state_at(tip))


def ask(shapes: RequestShapes, tip: str, body: bytes | None = None, times: int = 2) -> None:
    body = body or v2(tip)
    for _ in range(times):
        shapes.note(read(body, "version=2"), iter([body]), "version=2", lambda: state_at(tip))


def moved(shapes: RequestShapes, tip: str, refs: Mapping[str, str] | None = None) -> list[Shape]:
    return shapes.moved(RefState(refs or refs_at(tip), "refs/heads/main"))


@pytest.mark.parametrize(("make", "protocol"), [(v2, "version=2"), (v0, None)])
@pytest.mark.parametrize("more", [(), (TAG[::-1],)])
def test_the_request_for_another_tip(make: Callable[..., bytes], protocol: str | None, more: tuple[str, ...]) -> None:
    """What is made of a shape for another tip has the key of what a client of that tip sends."""
    shape = shaped(make(TIPS[0], *more), TIPS[0], protocol)
    assert shape is not None
    body = shape.body(refs_at(TIPS[1]))
    assert body is not None and b"agent=" not in body
    theirs = read(make(*more, TIPS[1], agent="JGit/6"), protocol)
    assert pack_key("h/r", read(body, protocol), str) == pack_key("h/r", theirs, str)


def test_which_refs_are_meant() -> None:
    """A want is that of the default branch before others; all tips are all refs, whichever these are later."""
    same = RefState({"refs/heads/a": TIPS[0], "refs/heads/main": TIPS[0], "refs/heads/z": TIPS[1]}, "refs/heads/main")
    one, two = v2(TIPS[0]), v2(TIPS[0], TIPS[1])
    found = shape_of(read(one, "version=2"), one, "version=2", same)
    assert found is not None and found.refs == ("refs/heads/main",)
    found = shape_of(read(two, "version=2"), two, "version=2", same)
    assert found is not None and found.refs == ("refs/heads/", "refs/tags/")
    body = found.body(refs_at(TIPS[2], **{"refs/tags/v1": TAG, "refs/pull/1": TIPS[3]}))
    assert body is not None and set(read(body, "version=2").wants) == {TIPS[2], TAG, TAG[::-1]}


def test_all_refs_where_they_are_many_and_tags_are_annotated() -> None:
    """What annotated tags lead to is no tip."""
    refs = [
        RemoteRef(f"refs/tags/v{number:04}", f"{number:040x}", None, f"{number + 5000:040x}") for number in range(1500)
    ]
    state = of_listing(Listing(many_refs(refs, 40)))
    body = v2(*(ref.oid or "" for ref in refs))
    found = shape_of(read(body, "version=2"), body, "version=2", state)
    assert found is not None and found.refs == ("refs/heads/", "refs/tags/")


@pytest.mark.parametrize(
    "body",
    [
        v2(),
        v2(TIPS[5]),
        v2(TIPS[0], options=(f"have {TIPS[1]}",)),
        v2(TIPS[0], options=(f"shallow {TIPS[1]}", "deepen 1")),
        v2(TIPS[0], options=("filter " + "x" * 5000,)),
    ],
)
def test_what_has_no_shape(body: bytes) -> None:
    """Nothing, no tip, something that one client has, or more than is remembered; nor does it disturb what follows."""
    assert shaped(body, TIPS[0]) is None
    shapes = RequestShapes()
    ask(shapes, TIPS[0], body)
    assert moved(shapes, TIPS[1]) == []


def test_expected_after_three_tips() -> None:
    """A shape is expected once it came twice for each of the last three tips."""
    shapes = RequestShapes()
    for tip, following in pairwise(TIPS[:3]):
        ask(shapes, tip)
        assert moved(shapes, following) == []
    ask(shapes, TIPS[2])
    (shape,) = moved(shapes, TIPS[3])
    assert shape.body(refs_at(TIPS[3])) is not None
    assert moved(shapes, TIPS[3]) == []  # the same refs again
    ask(shapes, TIPS[3], times=1)
    assert moved(shapes, TIPS[4]) == []  # it came once for the last one


def test_asked_for_before_its_ref_has_moved() -> None:
    """What comes for a tip before a ref is seen to be there counts for that tip, as what comes after."""
    shapes = RequestShapes()
    for tip in TIPS[1:4]:
        early = v2(tip)
        shapes.note(read(early, "version=2"), iter([early]), "version=2", lambda: state_at(TIPS[0]))
        assert moved(shapes, tip) == []
        ask(shapes, tip, times=1)
    (shape,) = moved(shapes, TIPS[4])
    theirs = read(v2(TIPS[4]), "version=2")
    assert pack_key("h/r", read(shape.body(refs_at(TIPS[4])) or b"", "version=2"), str) == pack_key("h/r", theirs, str)


def test_of_what_is_no_tip_little_is_remembered() -> None:
    """Fetches for what never becomes a tip leave no room to others, until a ref moves, and are no shapes then."""
    shapes = RequestShapes()
    for number in range(100):
        other = v2(f"{number:040x}")
        shapes.note(read(other, "version=2"), iter([other]), "version=2", lambda: state_at(TIPS[0]))
    assert moved(shapes, TIPS[1]) == [] and len(shapes) == 0
    early = v2(TIPS[2])
    shapes.note(read(early, "version=2"), iter([early]), "version=2", lambda: state_at(TIPS[1]))
    moved(shapes, TIPS[2])
    assert len(shapes) == 1


def test_only_its_own_refs_count() -> None:
    """Pushes to other branches are no tips of a shape's."""
    shapes = RequestShapes()
    ask(shapes, TIPS[0])
    for number in range(3):
        assert moved(shapes, TIPS[0], refs_at(TIPS[0], **{"refs/heads/other": TIPS[number + 1]})) == []
    assert moved(shapes, TIPS[1]) == []


def test_forgotten() -> None:
    """A shape goes with its ref, and when it came for none of three tips; there is room for so many only."""
    shapes = RequestShapes()
    ask(shapes, TIPS[0])
    moved(shapes, TIPS[0], {"refs/heads/topic": TAG})
    assert len(shapes) == 0
    ask(shapes, TIPS[0])
    for tip in TIPS[1:6]:
        moved(shapes, tip)
    assert len(shapes) == 0
    for depth in range(100):
        ask(shapes, TIPS[0], v2(TIPS[0], options=(f"deepen {depth}",)), times=1)
    assert len(shapes) == 16


def test_most_wanted_first() -> None:
    """Of several those come first that came most."""
    shapes, full = RequestShapes(), ("ofs-delta",)
    for tip, following in pairwise(TIPS[:4]):
        ask(shapes, tip, times=2)
        ask(shapes, tip, v2(tip, options=full), times=3)
        expected = moved(shapes, following)
    assert [b"deepen 1" in (shape.body(refs_at(TIPS[3])) or b"") for shape in expected] == [False, True]
