"""Git's own checksums of the files in a snapshot."""

import hashlib
import os
import zlib

import pytest

from cachew.client.filesums import sum_of

PACK = b".git/objects/pack/pack-%s.pack"


def summed(path: bytes, content: bytes, step: int = 10**9) -> bool:
    """Say whether a file's checksum holds when it comes in pieces."""
    checked = sum_of(path)
    assert checked is not None
    for start in range(0, len(content), step):
        checked.update(memoryview(content)[start : start + step])
    return checked.holds()


@pytest.mark.parametrize("step", [1, 19, 20, 21, 64, 10**9])
@pytest.mark.parametrize("function", ["sha1", "sha256"])
def test_a_pack_ends_in_its_checksum(function: str, step: int) -> None:
    """A pack of either object format is checked, however it is cut; one that is cut off is not whole."""
    content = os.urandom(500)
    digest = hashlib.new(function, content).digest()
    path = PACK % digest.hex().encode()
    assert summed(path, content + digest, step)
    assert not summed(path, content[:-1] + digest, step) and not summed(path, (content + digest)[:10], step)
    for position in (0, 250, 499, 500, 500 + len(digest) - 1):
        flipped = bytearray(content + digest)
        flipped[position] ^= 1
        assert not summed(path, bytes(flipped), step)


@pytest.mark.parametrize(
    "name",
    [
        *(f"pack/pack-{'a' * 40}.{kind}" for kind in ("pack", "idx", "rev", "bitmap", "mtimes")),
        f"pack/pack-{'a' * 64}.idx", "pack/pack-1.idx", "pack/multi-pack-index", "info/commit-graph",
        f"pack/multi-pack-index-{'a' * 40}.bitmap", f"info/commit-graphs/graph-{'a' * 40}.graph", "ab/" + "c" * 38,
    ],
)  # fmt: skip
def test_what_has_a_checksum(name: str) -> None:
    """Packs, indexes, bitmaps, graphs and loose objects are checked, and an empty one is none."""
    checked = sum_of(b".git/objects/" + name.encode())
    assert checked is not None and not checked.holds()


@pytest.mark.parametrize(
    "path", ["objects/pack/pack-1.promisor", "objects/info/commit-graphs/commit-graph-chain", "HEAD", "index"]
)
def test_what_has_none(path: str) -> None:
    """Nothing else is taken for a file with a checksum at its end, least of all one of the working tree."""
    assert sum_of(b".git/" + path.encode()) is None
    assert sum_of(b"x/.git/objects/pack/pack-1.pack") is None


@pytest.mark.parametrize("step", [1, 7, 10**9])
def test_a_loose_object_is_called_after_its_content(step: int) -> None:
    """Its content, inflated, is what its name says, and nothing follows it."""
    content = b"blob 5000000\0" + bytes(5_000_000)
    oid = hashlib.sha1(content).hexdigest().encode()
    path, stored = b".git/objects/" + oid[:2] + b"/" + oid[2:], zlib.compress(content)
    assert summed(path, stored, step)
    bad = [stored[:-1], stored + b"x", stored[:100] + b"\xff" + stored[101:], zlib.compress(content[:-1]), b"", b"none"]
    assert not any(summed(path, one, step) for one in bad)
