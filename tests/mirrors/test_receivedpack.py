"""The pack within a response of upload-pack."""

from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import pytest

from cachew.mirrors import receivedpack
from cachew.plumbing.errors import CorruptObject
from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all


def pack_of(content: bytes, digest: Any = sha1) -> bytes:
    """Return a pack as far as its beginning and its end go."""
    pack = b"PACK\0\0\0\x02" + content
    return pack + bytes(digest(pack).digest())


def packets(pack: bytes, size: int) -> list[Packet]:
    """Return packets of band 1, of so many bytes each."""
    return [b"\x01" + pack[start : start + size] for start in range(0, len(pack), size)]


def extracted(tmp_path: Path, response: bytes, *, size: int | None = None, digest_size: int = 20) -> Path:
    """Take the pack out of a response."""
    place = tmp_path / "pack"
    place.mkdir(exist_ok=True)
    path = tmp_path / "response"
    path.write_bytes(response)
    with path.open("rb") as file:
        return receivedpack.extract(file, len(response) if size is None else size, place, digest_size)


@pytest.mark.parametrize("piece", [1, 7, 65515])
@pytest.mark.parametrize("digest", [sha1, sha256])
def test_the_pack_is_named_by_its_checksum(tmp_path: Path, digest: Any, piece: int) -> None:
    """However it is cut into packets; what goes before, progress, and what comes after are no part of it."""
    pack = pack_of(b"content" * 50, digest)
    parts: list[Packet] = [b"packfile\n", b"\x02counting"]
    for one in packets(pack, piece):
        parts += [one, b"\x02more", b""]
    path = extracted(tmp_path, encode_all([*parts, FLUSH]), digest_size=digest().digest_size)
    assert path.read_bytes() == pack and path.name == f"pack-{pack[-digest().digest_size :].hex()}.pack"
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_pack_of_more_than_is_read_at_once(tmp_path: Path) -> None:
    """It is whole, wherever the pieces that are read end."""
    pack = pack_of(bytes(range(256)) * 9000)
    assert extracted(tmp_path, encode_all([*packets(pack, 65500), FLUSH])).read_bytes() == pack


PACK = packets(pack_of(b"content"), 10)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        encode_all([b"NAK\n", FLUSH]),
        encode_all([b"\x01PACK", FLUSH]),
        encode_all([b"\x01" + b"no pack at all" * 9, FLUSH]),
        encode_all([*PACK, b"\x03fatal: out of memory", FLUSH]),
        encode_all([b"shallow-info\n", DELIM, *PACK[:1]]) + b"zzzz",
    ],
    ids=["empty", "nothing", "short", "other", "error", "malformed"],
)
def test_a_response_without_a_pack(tmp_path: Path, response: bytes) -> None:
    """It is told, and nothing is left where git looks for packs."""
    with pytest.raises(CorruptObject):
        extracted(tmp_path, response)
    assert list((tmp_path / "pack").iterdir()) == []


def test_a_response_that_has_been_cut(tmp_path: Path) -> None:
    """What was kept of it is shorter than what was received."""
    response = encode_all([*PACK, FLUSH])
    with pytest.raises(CorruptObject, match="shorter"):
        extracted(tmp_path, response, size=len(response) + 1)
    assert list((tmp_path / "pack").iterdir()) == []


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    """The failure of the disk is told as one."""
    path = tmp_path / "response"
    path.write_bytes(encode_all([*PACK, FLUSH]))
    with path.open("rb") as file, pytest.raises(FileNotFoundError):
        receivedpack.extract(file, path.stat().st_size, tmp_path / "nowhere", 20)
