"""Brings an archive from the server into a fresh directory: download, decompress, scan and extract, all at once.

Each step pulls from the one before, so what is in memory is bounded by the pieces and frames under way.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cachew.client.decompress import decompressed
from cachew.client.download import Download, Downloads
from cachew.client.errors import ObjectChanged
from cachew.client.extract import Unpack, extract
from cachew.client.tarscan import Rules, TarScanner


@dataclass(frozen=True)
class Extracted:
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
        return self._once(url, unpack, rules(), fresh_directory())

    def _once(self, url: str, unpack: Unpack, rules: Rules, directory: Path) -> Extracted:
        download = self._downloads.open(url)
        scanner = TarScanner(rules=rules)
        try:
            self._extract(download, scanner, unpack, directory)
        finally:
            download.close()
        return Extracted(download.headers, scanner.captured, scanner.entries)

    def _extract(self, download: Download, scanner: TarScanner, unpack: Unpack, directory: Path) -> None:
        pieces = download.pieces()
        with ThreadPoolExecutor(self._threads, "decompress") as pool:
            content = decompressed(pieces, pool=pool, ahead=self._threads + 1)
            try:
                extract(content, scanner=scanner, unpacker=unpack(directory))
            finally:
                content.close()
                pieces.close()
