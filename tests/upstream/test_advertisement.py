"""What upstreams answer to ``GET info/refs``."""

import pytest

from cachew.plumbing.pktline import FLUSH, Packet, decode, encode_all
from cachew.upstream.advertisement import AdvertisementParser, advertisement_of, capabilities_of
from cachew.upstream.listing import Capabilities, Listing, MalformedListing, RemoteError, RemoteRef
from tests.fakes.parsing import parse_v0_advertisement, parse_v2_capabilities

A, B, C = "a" * 40, "b" * 40, "c" * 40


def line(text: str) -> bytes:
    return text.encode() + b"\n"


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


@pytest.mark.parametrize(
    "packets",
    [
        [line(f"{A} refs/heads/main"), line(f"{'d' * 64} refs/heads/other"), FLUSH],
        [line(f"{A}  refs/heads/main"), FLUSH],
        [f"{A} HEAD\0object-format=sha512\n".encode(), FLUSH],
    ],
)
def test_a_line_that_tells_no_ref_spoils_the_listing(packets: list[Packet]) -> None:
    """Half of the refs would look like the others' removal."""
    with pytest.raises(MalformedListing):
        parse_v0_advertisement(packets)


def test_an_upstreams_own_words_are_told() -> None:
    """Whatever it speaks."""
    for before in ([], [b"version 2\n"]):
        with pytest.raises(RemoteError, match="no such repository"):
            parse_v2_capabilities([*before, b"ERR no such repository\n"])


def test_capabilities_are_told_on_as_they_were() -> None:
    """So that whoever reads them reads the same."""
    capabilities = Capabilities({"agent": "git/2.45", "ls-refs": "unborn", "object-info": None, "x": ""}, 2)
    body = advertisement_of(capabilities)
    assert decode(body)[0] == b"version 2\n"
    assert capabilities_of(body) == capabilities


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        encode_all([b"version 2\n", b"ls-refs\n"]),
        encode_all([b"version 2\n", b"ls-refs\n", FLUSH]) + b"00",
        encode_all([line(f"{A} refs/heads/main"), FLUSH]),
        encode_all([b"ERR gone\n"]),
    ],
)
def test_no_capabilities_are_read_of_anything_else(body: bytes) -> None:
    """A page, what has broken off, refs of an older protocol, an error."""
    assert capabilities_of(body) is None
