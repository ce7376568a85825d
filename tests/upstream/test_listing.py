"""The parsers of ref listings."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, decode
from cachew.upstream.listing import (
    Capabilities,
    Listing,
    MalformedListing,
    Prefixes,
    RemoteError,
    RemoteRef,
    ls_refs_request,
)
from tests.fakes.parsing import head_target, parse_ls_refs, parse_v0_advertisement, parse_v2_capabilities

A, B, C = "a" * 40, "b" * 40, "c" * 40


def line(text: str) -> bytes:
    return text.encode() + b"\n"


def test_ls_refs_attributes() -> None:
    """Symbolic targets, peeled tags and unborn branches are read from an ls-refs response."""
    listing = parse_ls_refs(
        [
            line(f"{A} HEAD symref-target:refs/heads/main"),
            line(f"{A} refs/heads/main"),
            line(f"{B} refs/tags/v1 peeled:{C}"),
            FLUSH,
        ]
    )
    assert listing.refs == (
        RemoteRef("HEAD", A, "refs/heads/main"),
        RemoteRef("refs/heads/main", A),
        RemoteRef("refs/tags/v1", B, None, C),
    )
    assert listing.oids() == {A, B, C}
    assert (head_target(listing), listing.head_oid, listing.empty) == ("refs/heads/main", A, False)


def test_unborn() -> None:
    """An empty repository's HEAD has a target and no object id."""
    listing = parse_ls_refs([line("unborn HEAD symref-target:refs/heads/trunk"), FLUSH])
    assert listing.refs == (RemoteRef("HEAD", None, "refs/heads/trunk"),)
    assert listing.empty and listing.oids() == frozenset()


@pytest.mark.parametrize(
    "packets",
    [
        [line(f"{A} refs/heads/main")],
        [],
        [line("garbage"), FLUSH],
        [line(f"{A[:39]} refs/heads/main"), FLUSH],
        [line(f"{A} \x01"), FLUSH],
        [DELIM, FLUSH],
        [FLUSH, FLUSH],
        [line(f"{'a' * 64} refs/heads/main"), FLUSH],
    ],
)
def test_ls_refs_refused(packets: list[bytes]) -> None:
    """A listing that is cut off, malformed or of another object format is refused as a whole."""
    with pytest.raises(MalformedListing):
        parse_ls_refs(packets)


@pytest.mark.parametrize("name", ["a\x01b", "q?", "a~1", "br[a", "back\\slash", "a:b", "star*^{}"])
def test_a_name_that_git_ignores_costs_nobody_the_others(name: str) -> None:
    """As git does, a listing leaves out a ref whose name no ref can have, and goes on."""
    told = (f"{A} refs/heads/main", f"{B} refs/tags/{name}", f"{C} refs/tags/v1")
    lines: list[Packet] = [*map(line, told), FLUSH]
    expected = (RemoteRef("refs/heads/main", A), RemoteRef("refs/tags/v1", C))
    assert parse_ls_refs(lines).refs == expected
    assert parse_v0_advertisement(lines).refs == expected


def test_err_packet() -> None:
    """An ERR packet is raised with its text, made printable."""
    with pytest.raises(RemoteError, match=r"no such\?thing"):
        parse_ls_refs([b"ERR no such\x1bthing\n"])


@given(st.lists(st.binary(max_size=80)))
def test_any_packets(packets: list[bytes]) -> None:
    """Whatever the packets hold, the parsers give a listing or say what is wrong."""
    for parse in (parse_ls_refs, parse_v0_advertisement, parse_v2_capabilities):
        with contextlib.suppress(MalformedListing, RemoteError):
            parse([*packets, FLUSH])


NAME_BYTES = sorted(set(range(0x21, 256)) - set(b"~^:?*[\\\x7f"))


@given(st.lists(st.sampled_from(NAME_BYTES), min_size=1, max_size=30).map(bytes))
def test_any_name(name: bytes) -> None:
    """A ref name's bytes survive, UTF-8 or not."""
    listing = parse_ls_refs([A.encode() + b" refs/heads/" + name, FLUSH])
    assert listing.refs[0].name.encode("utf-8", "surrogateescape") == b"refs/heads/" + name


def test_request() -> None:
    """The ls-refs command asks for what the upstream offers, bounded by the prefixes."""
    capabilities = Capabilities({"ls-refs": "unborn", "object-format": "sha256", "agent": "x"})
    packets = decode(ls_refs_request(capabilities, ["refs/heads/", "HEAD"]))
    assert packets[0] == b"command=ls-refs\n"
    assert b"object-format=sha256\n" in packets[: packets.index(DELIM)]
    assert packets[packets.index(DELIM) :] == [
        DELIM, b"peel\n", b"symrefs\n", b"unborn\n", b"ref-prefix refs/heads/\n", b"ref-prefix HEAD\n", FLUSH,
    ]  # fmt: skip
    assert b"unborn\n" not in decode(ls_refs_request(Capabilities({"ls-refs": None}), None))


def test_a_ref_that_is_told_twice_counts_once() -> None:
    """What was said of it last counts; a mirror would otherwise be made of one and have the objects of the other."""
    listing = parse_ls_refs(
        [A.encode() + b" refs/heads/m", C.encode() + b" refs/heads/x", B.encode() + b" refs/heads/m", FLUSH]
    )
    assert listing.refs == (RemoteRef("refs/heads/m", B), RemoteRef("refs/heads/x", C))


def test_filtered() -> None:
    """Prefixes are only a hint to the upstream, so listings are filtered again."""
    listing = Listing((RemoteRef("HEAD", A), RemoteRef("refs/heads/x", B), RemoteRef("refs/pull/7/head", C)))
    assert [ref.name for ref in listing.filtered(["refs/pull/7/"]).refs] == ["refs/pull/7/head"]
    assert listing.filtered(None) is listing


TEXT = st.text(alphabet="a/b\udcff\U0001f600", max_size=5)


@given(st.lists(TEXT, max_size=8), TEXT)
def test_it_is_as_if_each_were_tried(prefixes: list[str], name: str) -> None:
    """A name matches exactly when it begins with one of the prefixes."""
    assert Prefixes(prefixes).match(name) == name.startswith(tuple(prefixes))
