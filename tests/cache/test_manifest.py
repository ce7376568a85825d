"""The manifest of an object in a store that replicas share."""

import json
from dataclasses import replace

import pytest

from cachew.cache.blocks import ContentDigest
from cachew.cache.interface import object_key
from cachew.cache.manifest import Manifest, content_in, content_path, manifest_path, name_in
from cachew.cache.objectrecord import WriteTerms
from cachew.plumbing.errors import CorruptObject

KEY = object_key("key")
NOW = 1_700_000_000.0
DAY = 86400.0


def manifest(ttl: float | None = 100.0, *, slides: bool = True) -> Manifest:
    """Return the manifest of an object that is stored now."""
    written = ContentDigest()
    written.update(b"content")
    terms = WriteTerms("ns", KEY, headers={"X": "y"}, ttl=ttl, etag=None, digest=None, modified=None)
    return Manifest(terms.record(written, NOW), content_path("ns", KEY, "nonce"), slides, NOW)


def test_it_is_read_as_it_was_written() -> None:
    """With all its fields, and where its content lies can be read of it alone."""
    one = manifest()
    assert Manifest.decode(one.encode(), "ns", KEY) == one
    assert content_in(one.encode()) == one.content == f"contents/ns/{KEY}/nonce"


@pytest.mark.parametrize(("namespace", "key"), [("other", KEY), ("ns", object_key("other"))])
def test_one_that_lies_in_another_s_place_is_none(namespace: str, key: str) -> None:
    """Whoever copied it there, its object is not the one that was asked for."""
    with pytest.raises(CorruptObject, match="another's name"):
        Manifest.decode(manifest().encode(), namespace, key)


@pytest.mark.parametrize(
    "change",
    [
        {"content": None},
        {"content": 7},
        {"slides": "yes"},
        {"used": "lately"},
        {"size": 8 << 20},
        {"size": "7"},
        {"size": -1},
        {"size": True},
        {"size": 10**30},
        {"size": float("inf")},
        {"modified": float("inf")},
        {"expires": float("nan")},
        {"used": float("nan")},
        {"headers": ["X"]},
        {"headers": {"X": 1}},
        {"etag": None},
        {"modified": "then"},
        {"expires": "later"},
        {"checks": "no base64"},
        {"checks": None},
    ],
)
def test_a_damaged_field_is_noticed(change: dict[str, object]) -> None:
    """Whichever it is, what it says is never believed."""
    damaged = json.dumps({**json.loads(manifest().encode()), **change}).encode()
    with pytest.raises(CorruptObject):
        Manifest.decode(damaged, "ns", KEY)


@pytest.mark.parametrize("name", ["content", "slides", "used", "size", "checks", "digest", "namespace", "expires"])
def test_a_missing_field_is_noticed(name: str) -> None:
    """Nothing is assumed in its place."""
    fields = json.loads(manifest().encode())
    del fields[name]
    with pytest.raises(CorruptObject):
        Manifest.decode(json.dumps(fields).encode(), "ns", KEY)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe{}", b"[" * 100_000], ids=range(7))
def test_what_is_no_manifest_at_all(data: bytes) -> None:
    """It is damaged, and names no content."""
    with pytest.raises(CorruptObject):
        Manifest.decode(data, "ns", KEY)
    assert content_in(data) is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (manifest_path("ns", KEY), ("ns", KEY)),
        (content_path("ns", KEY, "nonce"), ("ns", KEY)),
        ("manifests/ns", None),
        (f"manifests/ns/{KEY}/more", None),
        (f"contents/ns/{KEY}", None),
        ("other/ns/key", None),
        ("", None),
    ],
)
def test_names_in_paths(path: str, name: tuple[str, str] | None) -> None:
    """Of manifests and of contents, and of nothing else that lies in the store."""
    assert name_in(path) == name


def test_a_use_is_written_down_once_in_a_while() -> None:
    """After half of the time to live, or after a day where there is none: each write costs a request."""
    one = manifest()
    assert one.refreshed(NOW + 49, 100.0) is None
    assert one.refreshed(NOW + DAY - 1, None) is None
    assert one.refreshed(NOW + DAY, None) == replace(one, used=NOW + DAY)


def test_a_use_puts_off_expiry_where_the_writer_named_none() -> None:
    """It lives for the maximum from then on; a time to live of its own stays what it is."""
    sliding = manifest().refreshed(NOW + 50, 100.0)
    assert sliding is not None and (sliding.used, sliding.info.expires) == (NOW + 50, NOW + 150)
    own = manifest(slides=False).refreshed(NOW + 50, 100.0)
    assert own is not None and (own.used, own.info.expires) == (NOW + 50, NOW + 100)
