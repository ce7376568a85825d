"""Archives that say where their frames lie."""

import os

import pytest
import zstandard

from cachew.client import frames
from cachew.client.clienterrors import ArchiveBroken, DownloadCorrupt
from cachew.client.framed import contents, grouped, known_frames
from cachew.client.ranges import RangedDownload
from cachew.plumbing.tarzst import Frame, encode_table
from tests.fakes.archives import framed, seekable
from tests.fakes.cachew_server import Stored
from tests.fakes.client_parts import Parts

CONTENT = os.urandom(150_000) + b"a" * 400_000
FRAMES = [zstandard.compress(piece) for piece in (b"first" * 100, b"second" * 200, b"third" * 300)]
SIZES = [500, 1200, 1500]


def opened(parts: Parts, body: bytes, **fields: str | None) -> RangedDownload:
    """Put an archive on the server and begin its download."""
    parts.server.objects["/x"] = Stored(body, **fields)  # type: ignore[arg-type]
    download = parts.downloads.open(parts.server.url + "/x")
    assert isinstance(download, RangedDownload)
    return download


def content_of(
    parts: Parts, body: bytes, *, part_size: int = 50_000, has_sums: bool = False, **fields: str | None
) -> bytes:
    """Return the content of an archive with a table."""
    download = opened(parts, body, **fields)
    found = known_frames(download)
    assert found
    came = contents(download, found, part_size=part_size, threads=2, has_sums=has_sums)
    return b"".join(bytes(piece) for pieces in came for piece in pieces)


@pytest.mark.parametrize("frame", [7_000, 65_536, 10**6])
@pytest.mark.parametrize("part_size", [1, 30_000, 10**7])
def test_gives_the_content_in_order(parts: Parts, frame: int, part_size: int) -> None:
    """However large frames and parts are, the content comes in order, and every byte is counted once."""
    body = seekable(CONTENT, frame=frame)
    assert content_of(parts, body, part_size=part_size) == CONTENT
    assert parts.progress.count == len(body)


@pytest.mark.parametrize("content", [CONTENT, b"some text " * 60_000])
def test_pieces_stay_while_the_next_are_used(parts: Parts, content: bytes) -> None:
    """Whoever checks them may be behind by as much as comes at a time."""
    download = opened(parts, seekable(content, frame=7_000))
    came, before = b"", list[memoryview]()
    for pieces in contents(download, known_frames(download), part_size=10_000, threads=2):
        came += b"".join(before)
        before = pieces
    assert came + b"".join(before) == content


def test_asks_for_whole_frames(parts: Parts) -> None:
    """Every part begins with a frame, so that nothing of it has to wait for another part."""
    body = seekable(CONTENT, frame=7_000)
    found = known_frames(opened(parts, body))
    content_of(parts, body)
    asked = {int(seen.headers["Range"][6:].split("-")[0]) for seen in parts.server.requests("GET")}
    assert asked - {max(0, len(body) - 64 * 1024)} <= {frame.offset for frame in found}


def test_puts_neighbours_together() -> None:
    """Frames are asked for together up to a limit, larger ones alone."""
    found = [Frame(0, 10, 0, 1), Frame(10, 10, 1, 1), Frame(20, 30, 2, 1), Frame(50, 5, 3, 1), Frame(55, 5, 4, 1)]
    assert [[frame.offset for frame in group] for group in grouped(found, 20)] == [[0, 10], [20], [50, 55]]


def test_reads_long_tables(parts: Parts) -> None:
    """A table that is longer than what is asked for at first is read whole."""
    body = seekable(bytes(90_000), frame=10)
    assert len(known_frames(opened(parts, body))) == 9_000


@pytest.mark.parametrize(
    "body",
    [
        framed(CONTENT),
        zstandard.compress(CONTENT),
        FRAMES[0] + encode_table([(len(FRAMES[0]) + 1, 500)]),
        FRAMES[0] + encode_table([(len(FRAMES[0]), 500), (0, 0)]),
        FRAMES[0] + encode_table([]),
        FRAMES[0] + encode_table([(len(FRAMES[0]), 500)])[8:],
        FRAMES[0] + b"\xff\xff\xff\xff\x00\xb1\xea\x92\x8f",
        zstandard.compress(bytes(frames.WHOLE_LIMIT + 1)) + encode_table([(533, frames.WHOLE_LIMIT + 1)]),
        b"x",
    ],
)
def test_takes_no_table_for_none(parts: Parts, body: bytes) -> None:
    """What is no table, does not fit the archive, or tells of frames too large to hold, is not used."""
    assert not known_frames(opened(parts, body))


@pytest.mark.parametrize(
    "table",
    [
        [(len(FRAMES[0]) + 1, 500), (len(FRAMES[1]) - 1, 1200), (len(FRAMES[2]), 1500)],
        [(len(FRAMES[0]), 499), (len(FRAMES[1]), 1200), (len(FRAMES[2]), 1500)],
        [(len(FRAMES[0]), 501), (len(FRAMES[1]), 1200), (len(FRAMES[2]), 1500)],
        [(len(FRAMES[0]) + len(FRAMES[1]), 500), (len(FRAMES[2]), 1500)],
        [(len(b"".join(FRAMES)), 3200)],
    ],
)
def test_refuses_a_table_that_lies(parts: Parts, table: list[tuple[int, int]]) -> None:
    """An archive is never something else than what any other reader sees in it."""
    with pytest.raises(ArchiveBroken):
        content_of(parts, b"".join(FRAMES) + encode_table(table))


def test_refuses_damaged_frames(parts: Parts) -> None:
    """A frame whose content has another checksum is refused."""
    body = bytearray(seekable(b"some text " * 50_000))
    body[50] ^= 1
    with pytest.raises(ArchiveBroken):
        content_of(parts, bytes(body))


def test_checks_the_digest(parts: Parts) -> None:
    """An archive that is not what its tag says is refused at its end."""
    with pytest.raises(DownloadCorrupt):
        content_of(parts, seekable(CONTENT), etag="0" * 64)


def test_parts_last_as_long_as_asked(parts: Parts) -> None:
    """Parts stay as they are while a number of later ones is asked for, though their memory is used again."""
    body = os.urandom(50_000)
    download = opened(parts, body)
    seen: list[memoryview] = []
    for number, part in enumerate(download.parts(range(0, 50_000, 1000), lasting=2)):
        seen.append(part)
        for age in range(min(3, number + 1)):
            start = (number - age) * 1000
            assert seen[number - age] == body[start : start + 1000]


@pytest.mark.parametrize("etag", [None, "version-7"])
def test_uses_what_is_stored_as_it_is(parts: Parts, etag: str | None) -> None:
    """Content that does not compress is the same whether it is used in place or goes through zstd."""
    content = os.urandom(300_000) + b"a" * 300_000 + os.urandom(200_000)
    assert content_of(parts, seekable(content, frame=150_000), etag=etag) == content


def test_checks_stored_frames_by_their_checksum_where_there_is_no_digest(parts: Parts) -> None:
    """Damage within a stored frame is noticed by the digest, and without one by the frame's own checksum."""
    body = bytearray(seekable(os.urandom(100_000)))
    body[5000] ^= 1
    with pytest.raises(ArchiveBroken):
        content_of(parts, bytes(body), etag="version-7")
    with pytest.raises(DownloadCorrupt):
        content_of(parts, bytes(body), etag="0" * 64)


def test_leaves_stored_frames_to_the_sums_of_what_is_in_them(parts: Parts) -> None:
    """Whoever checks what he gets needs no checksum of a stored frame; compressed ones are checked all the same."""
    content = os.urandom(100_000)
    body, compressed = bytearray(seekable(content)), bytearray(seekable(b"some text " * 50_000))
    body[5000] ^= 1
    came = content_of(parts, bytes(body), etag="version-7", has_sums=True)
    assert [at for at in range(len(content)) if came[at] != content[at]] == [5000 - bytes(body).index(content[:100])]
    compressed[50] ^= 1
    with pytest.raises(ArchiveBroken):
        content_of(parts, bytes(compressed), etag="version-7", has_sums=True)


def test_finds_what_is_stored() -> None:
    """The pieces of a stored frame are found; compressed ones, also in parts, are left to zstd."""
    noise = os.urandom(300_000)
    streamer = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    for frame in (zstandard.compress(noise), streamer.compress(noise) + streamer.flush()):
        pieces = frames.stored(memoryview(frame), size=300_000)
        assert pieces is not None and b"".join(pieces) == noise
    for content in (b"a" * 500, noise + b"a" * 200_000, b"a" * 200_000 + noise):
        assert frames.stored(memoryview(zstandard.compress(content)), size=len(content)) is None


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"PK\3\4" + bytes(20), 20),
        (b"", 0),
        (FRAMES[0][:-1], 500),
        (FRAMES[0] + b"more", 500),
        (FRAMES[0] + FRAMES[1], 500),
        (FRAMES[0], 499),
        (zstandard.compress(bytes(range(256)) * 4)[:-1], 1024),
    ],
)
def test_refuses_what_is_not_one_frame(data: bytes, size: int) -> None:
    """What is cut, goes on, or has another size is not used."""
    with pytest.raises(ArchiveBroken):
        frames.stored(memoryview(data), size=size)
