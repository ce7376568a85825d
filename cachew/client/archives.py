"""Brings an archive from the server into a fresh directory: download, decompress, scan and extract, all at once.

Each step pulls from the one before, so what is in memory is bounded by the parts and frames under way.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from cachew.client import framed
from cachew.client.clienterrors import ArchiveBroken, ClientError, DownloadCorrupt, ObjectChanged
from cachew.client.decompress import decompressed
from cachew.client.download import Download, Downloads
from cachew.client.extract import Unpack, extract
from cachew.client.largefiles import LargeFiles
from cachew.client.ranges import RangedDownload
from cachew.client.room import FittingRules, Room
from cachew.client.tarscan import Rules, TarScanner
from cachew.client.workers import Workers


class Extracted(NamedTuple):
    """What came.

    :param headers: the server's headers.
    :param captured: files that the rules left out and wanted to know.
    :param entries: how many entries the archive had.
    """

    headers: Mapping[str, str]
    captured: Mapping[bytes, bytes]
    entries: int


class Archives:
    """Fetches archives.

    :param downloads: the server.
    :param threads: how many frames are decompressed at a time.
    :param attempts: how often a download is started over when the object changes meanwhile.
    """

    def __init__(self, *, downloads: Downloads, threads: int, attempts: int = 3) -> None:
        self._downloads = downloads
        self._threads = threads
        self._attempts = attempts

    def fetch(
        self, url: str, *, unpack: Unpack, rules: Callable[[], Rules], fresh_directory: Callable[[], Path]
    ) -> Extracted:
        """Download and extract an archive.

        :param rules: makes the rules for one try.
        :param fresh_directory: makes the empty directory for one try; what an earlier try left is its to remove.
        :raise ClientError: when that fails; the directory is then not to be used.
        """
        for _ in range(1, self._attempts):
            try:
                return self._once(url, unpack, rules(), fresh_directory())
            except ObjectChanged as change:
                self._downloads.progress.say(f"Starting over: {change}")
            except (ArchiveBroken, DownloadCorrupt) as damage:
                if not self._downloads.leave_store():
                    raise
                # The server looks at every block that it sends, and gets rid of what is damaged.
                self._downloads.progress.say(f"Starting over with what the server itself has: {damage}")
        return self._once(url, unpack, rules(), fresh_directory())

    def _once(self, url: str, unpack: Unpack, rules: Rules, directory: Path) -> Extracted:
        with (
            closing(Workers(1, "unpack")) as starting,
            closing(Workers(1, "checksum")) as summing,
            closing(LargeFiles(directory)) as large,
        ):
            # It takes as long to start as the server to answer.
            unpacker = starting.submit(unpack, directory)
            try:
                room = Room(directory)
                with closing(self._downloads.open(url)) as download, closing(self._content(download, room)) as content:
                    scanner = TarScanner(rules=FittingRules(rules, room), aside=large, workers=summing)
                    extract(content, scanner=scanner, unpacker=unpacker.result())
            except BaseException:
                with suppress(ClientError, OSError):
                    unpacker.result().abort()
                raise
            return Extracted(download.headers, scanner.captured, scanner.entries)

    def _content(self, download: Download, room: Room) -> Generator[Sequence[bytes | memoryview], None, None]:
        if isinstance(download, RangedDownload) and (found := framed.known_frames(download)):
            room.require(sum(frame.size for frame in found))
            part_size = self._downloads.piece_size
            yield from framed.contents(download, found, part_size=part_size, threads=self._threads)
            return
        with closing(download.pieces()) as pieces, closing(decompressed(pieces, threads=self._threads)) as content:
            for piece in content:
                yield (piece,)
