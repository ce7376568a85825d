"""The parsers of ref listings."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, decode
from cachew.upstream.advertisement import AdvertisementParser
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


@pytest.mark.parametrize("service", [[b"# service=git-upload-pack\n", FLUSH], []])
def test_v2_capabilities(service: list[bytes]) -> None:
    """A v2 advertisement is read with and without the service header."""
    capabilities = parse_v2_capabilities([
        *service, b"version 2\n", b"agent=git/2.45\n", b"ls-refs=unborn\n", b"fetch=shallow filter\n",
        b"object-format=sha256\n", b"object-info\n", FLUSH,
    ])  # fmt: skip
    assert capabilities.features["object-info"] is None
    assert capabilities.supports("ls-refs", "unborn") and capabilities.supports("fetch", "filter")
    assert capabilities.object_format == "sha256"


def test_more_after_an_advertisement() -> None:
    """An end after the end, as some small servers send it, is not git's concern."""
    listing = parse_v0_advertisement(
        [b"# service=git-upload-pack\n", FLUSH, line(f"{A} refs/heads/main"), FLUSH, FLUSH]
    )
    assert listing.refs == (RemoteRef("refs/heads/main", A),)


def test_an_end_before_anything() -> None:
    """It is no advertisement of a repository without refs; one has its service before it, and nothing after it."""
    service: list[Packet] = [b"# service=git-upload-pack\n", FLUSH]
    refs: list[Packet] = [line(f"{A} refs/heads/main"), FLUSH]
    for packets in ([FLUSH], [FLUSH, *refs], [*service, FLUSH, *refs]):
        with pytest.raises(MalformedListing):
            parse_v0_advertisement(packets)
    assert parse_v0_advertisement([*service, FLUSH]).empty


@pytest.mark.parametrize("version", [[], [b"version 1\n"]])
def test_v0_advertisement(version: list[bytes]) -> None:
    """A v0 or v1 advertisement gives refs, peeled tags and HEAD's target."""
    listing = parse_v0_advertisement(
        [
            b"# service=git-upload-pack\n",
            FLUSH,
            *version,
            f"{A} HEAD\0multi_ack symref=HEAD:refs/heads/main object-format=sha1 agent=git/2\n".encode(),
            line(f"{A} refs/heads/main"),
            line(f"{B} refs/tags/v1"),
            line(f"{C} refs/tags/v1^{{}}"),
            line(f"shallow {A}"),
            FLUSH,
        ]
    )
    assert listing.by_name["HEAD"] == RemoteRef("HEAD", A, "refs/heads/main")
    assert listing.by_name["refs/tags/v1"] == RemoteRef("refs/tags/v1", B, None, C)
    assert len(listing.refs) == 3
    assert listing.protocol == len(version)


def test_v0_empty() -> None:
    """An empty repository advertises capabilities and no ref."""
    zeros = "0" * 64
    caps = "symref=HEAD:refs/heads/x object-format=sha256"
    listing = parse_v0_advertisement([f"{zeros} capabilities^{{}}\0{caps}".encode(), FLUSH])
    assert listing == Listing((RemoteRef("HEAD", None, "refs/heads/x"),), "sha256", 0)


@pytest.mark.parametrize("name", ["a\u2028b", "a\u0085b", "a\u00a0", "\u3000a", "x\udcc3v"])
def test_v0_names_with_what_unicode_takes_for_a_blank(name: str) -> None:
    """HEAD leads to the whole name, of which nothing is a blank to git."""
    ref = f"refs/heads/{name}"
    head = f"{A} HEAD\0multi_ack symref=HEAD:{ref}  agent=git/2\n".encode("utf-8", "surrogateescape")
    listed = parse_v0_advertisement([head, f"{A} {ref}\n".encode("utf-8", "surrogateescape"), FLUSH])
    assert listed.by_name["HEAD"].symref_target == ref and listed.by_name[ref].oid == A


def test_v0_nothing() -> None:
    """An advertisement with neither refs nor capabilities is an empty listing."""
    assert parse_v0_advertisement([b"# service=git-upload-pack\n", FLUSH, FLUSH]).refs == ()


def test_broken_off() -> None:
    """An advertisement without its flush packet is refused."""
    parser = AdvertisementParser()
    parser.take(b"version 2\n")
    with pytest.raises(MalformedListing, match="broke off"):
        parser.result()


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
