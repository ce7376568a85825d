"""Commands of protocols v0 and v2, read from request bodies."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from cachew.smarthttp.request import (
    Probe,
    V0Request,
    V2Fetch,
    V2LsRefs,
    V2Other,
    parse_command,
    protocol_version,
)

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


def test_ls_refs_of_too_many_prefixes() -> None:
    """A client that names very many prefixes is answered with all refs, as by git."""
    lines = [f"ref-prefix refs/heads/{number}" for number in range(10_000)]
    body = encode_all([b"command=ls-refs", DELIM, *(line.encode() for line in lines), FLUSH])
    command = parse_command(body, "version=2")
    assert isinstance(command, V2LsRefs) and command.prefixes == ()


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
    assert (command.wants, command.haves, command.done) == ((A, C), (B,), True)
    assert command.features == {"thin-pack", "ofs-delta", "shallow", "deepen", "deepen-not", "filter"}
    assert command.not_after == ("refs/tags/v1",)
    assert "agent=git/2.39" not in command.lines
    assert "filter blob:none" in command.lines


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
    assert (command.wants, command.haves, command.done) == ((A, B), (), True)
    assert command.features == {"multi_ack_detailed", "side-band-64k", "ofs-delta", "agent", "deepen"}
    assert "agent=git/2" in command.capabilities
    assert not any("agent" in line for line in command.lines)


def test_v0_negotiation() -> None:
    """Batches of haves are separated by flush packets; without done it is a round of negotiation."""
    command = parse_command(
        body(f"want {A} no-done", f"shallow {B}", FLUSH, f"have {A}", FLUSH, f"have {B}", FLUSH), "version=1"
    )
    assert isinstance(command, V0Request)
    assert (command.haves, command.done) == ((A, B), False)


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


@given(st.binary(max_size=300), st.sampled_from([None, "version=2"]))
def test_noise(data: bytes, protocol: str | None) -> None:
    """Noise is refused or read, and raises nothing else."""
    with contextlib.suppress(BadRequest):
        parse_command(data, protocol)
