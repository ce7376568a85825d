"""Commands of protocols v0 and v2, read from request bodies."""

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from cachew.smarthttp.clientcommands import Probe, V0Request, V2Fetch, V2LsRefs, V2Other
from cachew.smarthttp.request import protocol_version, read_command
from tests.fakes.parsing import parse_command

pytestmark = pytest.mark.timeout(20)
A, B, C = "a" * 40, "b" * 40, "c" * 64


def body(*lines: str | Packet) -> bytes:
    return encode_all(f"{line}\n".encode() if isinstance(line, str) else line for line in lines)


def v2(*lines: str | Packet) -> object:
    return parse_command(body(*lines), "version=2")


@pytest.mark.parametrize(
    ("header", "version"),
    [
        (None, 0),
        ("", 0),
        ("version=1", 1),
        ("version=2", 2),
        ("version=1:version=2", 2),
        ("foo:version=2:bar=1", 2),
        ("version=9", 0),
        ("version=2;x", 0),
    ],
)
def test_protocol_version(header: str | None, version: int) -> None:
    """The highest known version in the header counts, and anything else is ignored."""
    assert protocol_version(header) == version


@pytest.mark.no_cover
def test_ls_refs_of_too_many_prefixes() -> None:
    """A client that names 65,536 prefixes or more is answered with all refs, as by git; any fewer count."""

    def prefixes(count: int, name: str = "refs/heads/") -> tuple[str, ...]:
        lines = [f"ref-prefix {name}{number}" for number in range(count)]
        command = v2("command=ls-refs", DELIM, *lines, FLUSH)
        assert isinstance(command, V2LsRefs)
        return command.prefixes

    assert len(prefixes(65_535)) == 65_535
    assert prefixes(65_536) == prefixes(100_000) == ()
    assert prefixes(1000, "x" * 5000) == (), "nor do they fill the memory by their length"


def test_ls_refs() -> None:
    """An ls-refs command is read with its flags, prefixes and unknown arguments."""
    command = v2(
        "command=ls-refs", "agent=git/2.39", "object-format=sha256", DELIM,
        "peel", "symrefs", "unborn", "ref-prefix HEAD", "ref-prefix refs/heads/", "mystery", FLUSH,
    )  # fmt: skip
    assert command == V2LsRefs(
        prefixes=("HEAD", "refs/heads/"),
        symrefs=True,
        peel=True,
        unborn=True,
        agent="git/2.39",
        object_format="sha256",
        unknown=("mystery",),
    )
    assert v2("command=ls-refs", FLUSH) == V2LsRefs()


def test_fetch() -> None:
    """A fetch command is read with wants, haves and the names of everything else it asks for."""
    command = v2(
        "command=fetch", "agent=git/2.39", "object-format=sha1", DELIM,
        "thin-pack", "ofs-delta", f"shallow {B}", "deepen 3", "deepen-not refs/tags/v1", "filter blob:none",
        f"want {A.upper()}", f"want {C}", f"have {B}", "done", FLUSH,
    )  # fmt: skip
    assert isinstance(command, V2Fetch)
    assert (list(command.wants), command.haves, command.done) == ([A, C], 1, True)
    assert command.features == {"thin-pack", "ofs-delta", "shallow", "deepen", "deepen-not", "filter"}
    assert (command.not_after, command.had) == (("refs/tags/v1",), (B,))


def test_other_commands() -> None:
    """Any other command is known by its name alone."""
    assert v2("command=bundle-uri", DELIM, FLUSH) == V2Other("bundle-uri")
    assert v2("command=object-info", DELIM, "size", f"oid {A}", FLUSH) == V2Other("object-info")


@pytest.mark.parametrize("protocol", [None, "version=1", "version=2"])
def test_probe(protocol: str | None) -> None:
    """A lone flush packet is git's probe, in every version."""
    assert parse_command(b"0000", protocol) == Probe()


def test_v0_clone() -> None:
    """A v0 request is read with the capabilities of its first want line, with and without newlines."""
    command = parse_command(
        body(
            f"want {A} multi_ack_detailed side-band-64k ofs-delta agent=git/2",
            f"want {B}",
            "deepen 1",
            FLUSH,
            "done",
        ),
        None,
    )
    assert isinstance(command, V0Request)
    assert (list(command.wants), command.haves, command.done) == ([A, B], 0, True)
    assert command.features == {"multi_ack_detailed", "side-band-64k", "ofs-delta", "agent", "deepen"}
    assert "agent=git/2" in command.capabilities


def test_v0_negotiation() -> None:
    """Batches of haves are separated by flush packets; without done it is a round of negotiation."""
    command = parse_command(
        body(f"want {A} no-done", f"shallow {B}", FLUSH, f"have {A}", FLUSH, f"have {B}", FLUSH), "version=1"
    )
    assert isinstance(command, V0Request)
    assert (command.haves, command.had, command.done) == (2, (A, B), False)


@pytest.mark.parametrize(("haves", "remembered"), [(32, 32), (33, 0)])
def test_what_a_client_has_is_remembered_where_that_is_little(haves: int, remembered: int) -> None:
    """Of a long negotiation it is known only how many there were."""
    command = v2("command=fetch", DELIM, f"want {A}", *(f"have {number:040X}" for number in range(haves)), FLUSH)
    assert isinstance(command, V2Fetch)
    assert command.had == tuple(f"{number:040x}" for number in range(remembered))


@pytest.mark.parametrize(("oid", "object_format"), [(A, "sha1"), (C, "sha256")])
def test_v0_object_format(oid: str, object_format: str) -> None:
    """Clients of v0 don't say the object format; their ids show it."""
    command = parse_command(body(f"want {oid} ofs-delta", FLUSH, "done"), None)
    assert isinstance(command, V0Request)
    assert command.object_format == object_format


def test_v0_shallow_question() -> None:
    """A v0 request may end after its wants."""
    command = parse_command(body(f"want {A}", "deepen 1", FLUSH), None)
    assert isinstance(command, V0Request)
    assert command.capabilities == frozenset() and not command.done


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("command=fetch",),
        (FLUSH, "command=fetch", FLUSH),
        ("command=fetch", DELIM, f"want {A}"),
        ("command=fetch", DELIM, f"want {A}", FLUSH, FLUSH),
        ("command=fetch", DELIM, f"want {A}", DELIM, FLUSH),
        ("command=fetch", "command=ls-refs", FLUSH),
        ("agent=git", DELIM, FLUSH),
        ("command=fetch", DELIM, "want abc", FLUSH),
        ("command=fetch", DELIM, f"want {A}b", FLUSH),
        ("command=fetch", DELIM, f"have {A[:-1]}x", FLUSH),
        ("command=fetch", DELIM, "shallow x", FLUSH),
        ("command=fetch", DELIM, "deepen -1", FLUSH),
        ("command=fetch", DELIM, "deepen-since ²", FLUSH),
    ],
)
def test_bad_v2(lines: tuple[str | Packet, ...]) -> None:
    """What is not exactly one well-formed command is refused."""
    with pytest.raises(BadRequest):
        v2(*lines)


@pytest.mark.parametrize(
    "lines",
    [
        ("done",),
        (FLUSH, f"want {A}", FLUSH),
        (f"want {A}x", FLUSH),
        (f"want {A}", DELIM, FLUSH),
        (f"want {A}", FLUSH, f"want {B}", "done"),
        (f"want {A}", FLUSH, "have x", "done"),
        (f"want {A}", FLUSH, "done", f"have {A}"),
        (f"want {A}", FLUSH, f"have {A}", DELIM),
    ],
)
def test_bad_v0(lines: tuple[str | Packet, ...]) -> None:
    """Wants come first, then haves, then done; anything else is refused."""
    with pytest.raises(BadRequest):
        parse_command(body(*lines), None)


@pytest.mark.no_cover
def test_long_requests_are_read_in_pieces() -> None:
    """However a body is cut, it says the same, and what is kept of it is a fraction of what came."""
    haves = [f"have {number:040x}" for number in range(20_000)]
    text = body("command=fetch", DELIM, *(f"want {number:040x}" for number in range(20_000)), *haves, "done", FLUSH)
    whole = parse_command(text, "version=2")
    tracemalloc.start()
    command = read_command((text[start : start + 999] for start in range(0, len(text), 999)), "version=2")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(command, V2Fetch) and isinstance(whole, V2Fetch)
    assert (command.wanted, command.shape, command.haves) == (whole.wanted, whole.shape, 20_000)
    assert command.wants[19_999] == f"{19_999:040x}" and len(command.wants) == 20_000
    assert most < 2 * len(text)


@pytest.mark.parametrize(
    "lines",
    [
        ("command=fetch", *(f"capability{number}" for number in range(300)), FLUSH),
        ("command=fetch", DELIM, *(f"feature{number}" for number in range(100)), FLUSH),
        ("command=fetch", DELIM, *(f"deepen-not refs/heads/{number}" for number in range(2000)), FLUSH),
        ("command=ls-refs", DELIM, *(f"argument{number}" for number in range(100)), FLUSH),
    ],
    ids=["capabilities", "features", "exclusions", "arguments"],
)
def test_more_than_any_client_asks(lines: tuple[str | Packet, ...]) -> None:
    """Lines that would only fill the memory are refused."""
    with pytest.raises(BadRequest, match="more than"):
        v2(*lines)


def test_the_longest_packets() -> None:
    """A line as long as a packet can be is read like any other."""
    longest = b"ffff" + b"x" * (0xFFFF - 4)
    text = b"0012command=fetch\n0001" + longest + b"0000"
    assert isinstance(parse_command(text, "version=2"), V2Fetch)


@given(st.binary(max_size=300), st.sampled_from([None, "version=2"]))
def test_noise(data: bytes, protocol: str | None) -> None:
    """Noise is refused or read, and raises nothing else."""
    with contextlib.suppress(BadRequest):
        parse_command(data, protocol)
