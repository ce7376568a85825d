"""Decompresses an archive that says at its end where its frames lie.

The table only says where to cut: each part that is asked for holds whole frames, which several threads decompress into
a few buffers that are used again and again. What the table says is checked against each frame, so an archive cannot be
one thing to us and another to ``zstd -d``. Archives without a table, or with frames too large to hold, take the other
way (:mod:`cachew.client.decompress`).
"""

import struct
from collections import deque
from collections.abc import Generator, Iterator, Sequence

from cachew.client import frames, zstd
from cachew.client.buffers import new_buffer
from cachew.client.ranges import TAIL, RangedDownload
from cachew.client.workers import Job, Workers
from cachew.plumbing import tarzst
from cachew.plumbing.tarzst import Frame

_TABLE_LIMIT = 16 * 1024 * 1024
_FRAME_LIMIT = 8 * 1024 * 1024


def known_frames(download: RangedDownload) -> Sequence[Frame]:
    """Return where an archive's frames lie; nothing when it does not say so or they are of another make."""
    end = download.tail(TAIL)
    length = tarzst.table_length(end)
    if length is None or length > min(download.size, _TABLE_LIMIT):
        return ()
    if length > len(end):
        end = download.tail(length)
    try:
        found = tarzst.decode_table(end[-length:])
    except (tarzst.BadSeekTable, struct.error):
        return ()
    whole = bool(found) and found[-1].offset + found[-1].length == download.size - length
    return found if whole and all(map(_is_small, found)) else ()


def grouped(found: Sequence[Frame], limit: int) -> list[list[Frame]]:
    """Put neighbours together (pure).

    :param limit: the most bytes of a group of more than one.
    """
    groups: list[list[Frame]] = []
    for frame in found:
        if groups and frame.offset + frame.length - groups[-1][0].offset <= limit:
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return groups


def contents(
    download: RangedDownload, found: Sequence[Frame], *, part_size: int, threads: int, has_sums: bool = False
) -> Generator[list[memoryview], None, None]:
    """Yield the content of an archive frame by frame, in pieces that are good until the next but one are asked for.

    :param found: where its frames lie.
    :param part_size: the most bytes of more than one frame that are asked for in one request.
    :param threads: how many frames are decompressed at a time.
    :param has_sums: whether all that matters in it is checked by sums of its own, those of git.
    :raise ArchiveBroken: when the archive is damaged, or not what its table says.
    """
    groups = grouped(found, part_size)
    ahead = threads + 1
    starts, end = [group[0].offset for group in groups], found[-1].offset + found[-1].length
    parts = download.parts(starts, lasting=ahead + 1, end=None if download.is_whole else end)
    inflater = _Inflater(count=ahead + 1, room=max(frame.size for frame in found), threads=threads)
    pending = deque[Job[list[memoryview]]]()
    try:
        for part, group in zip(parts, groups):  # noqa: B905 (Python 3.9 knows no more)
            for pieces, size in _runs(part, group, as_stored=has_sums or download.is_digested):
                if len(pending) == ahead:
                    yield pending.popleft().result()
                pending.append(Job.done(pieces) if size is None else inflater.submit(pieces[0], size))
        while pending:
            yield pending.popleft().result()
    finally:
        inflater.close()
        parts.close()


def _runs(
    part: memoryview, group: Sequence[Frame], *, as_stored: bool
) -> Iterator[tuple[list[memoryview], int | None]]:
    """Take the frames of a part one by one, but neighbours whose content lies there as it is together.

    :param as_stored: whether such content may be used: its checksum is then not needed, because there is another of
        what it holds.
    :return: content, or one frame and the size of its content.
    """
    plain = list[memoryview]()
    for frame in group:
        start = frame.offset - group[0].offset
        data = part[start : start + frame.length]
        pieces = frames.stored(data, size=frame.size)
        if pieces is not None and as_stored:
            plain += pieces
            continue
        if plain:
            yield plain, None
            plain = []
        yield [data], frame.size
    if plain:
        yield plain, None


class _Inflater:
    """Decompresses frames into a few buffers, by turns.

    :param count: of the frames whose content is in use at a time.
    :param room: the bytes of the largest content.
    """

    def __init__(self, *, count: int, room: int, threads: int) -> None:
        memory = new_buffer(room * count)
        self._ring = [memory[number * room :][:room] for number in range(count)]
        self._workers = Workers(threads, "decompress")
        self._number = 0

    def submit(self, data: memoryview, size: int) -> Job[list[memoryview]]:
        """Begin with a frame."""
        room = self._ring[self._number % len(self._ring)][:size]
        self._number += 1
        return self._workers.submit(_inflate, data, room)

    def close(self) -> None:
        """Let the threads end."""
        self._workers.close()


def _inflate(data: memoryview, room: memoryview) -> list[memoryview]:
    zstd.inflate_into(data, room)
    return [room]


def _is_small(frame: Frame) -> bool:
    return 0 < frame.length <= _FRAME_LIMIT and 0 < frame.size <= _FRAME_LIMIT
