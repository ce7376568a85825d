"""Seeds a repository that has nothing with the objects and refs of the server's snapshot.

Git fetches afterwards what has come since, and everything that it does with refs and working trees stays its own.
Only as much of the archive is fetched as holds objects and refs, which come first in it, and the files of the working
tree where git would need long to put them together. The archive is not trusted:
every frame has its checksum, every pack and index git's own, and of what is in it only objects and refs are taken.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import takewhile

from cachew.client import framed
from cachew.client.clienterrors import ArchiveBroken, ClientError, NotCached, ObjectChanged
from cachew.client.connections import Headers
from cachew.client.download import Downloads, is_number
from cachew.client.gitdir import GitDirectory
from cachew.client.http import refusal
from cachew.client.ranges import RangedDownload
from cachew.client.seedblobs import SeedBlobs
from cachew.client.seedfiles import SeedFiles
from cachew.client.seedrules import SeedRules, bundle_refs, packed_refs
from cachew.client.tarscan import TarScanner
from cachew.client.workers import Workers
from cachew.plumbing import tarzst
from cachew.plumbing.tarzst import Frame

_NEXT_FRAMES = 4
"""How many frames are asked for at a time of what follows the objects."""


class Seeding:
    """Seeds one repository.

    :param repository: has no object and no ref.
    :param downloads: the server.
    :param sha256: whether the repository's object names are SHA-256; None when the server decides.
    :param threads: how many frames are decompressed at a time.
    :param checks_out: whether git is going to check out what the server has checked out.
    """

    def __init__(
        self,
        *,
        repository: GitDirectory,
        downloads: Downloads,
        sha256: "bool | None",
        threads: int,
        checks_out: bool = True,
    ) -> None:
        self._repository = repository
        self._downloads = downloads
        self._sha256 = sha256
        self._threads = threads
        self._checks_out = checks_out

    def seed(self, url: str) -> "dict[bytes, bytes]":
        """Take what the archive at a URL has, and return the refs that are there now.

        :raise ClientError: when that fails; the repository is then as it was.
        """
        try:
            return self._once(url)
        except (ObjectChanged, ArchiveBroken) as error:
            if isinstance(error, ArchiveBroken) and not self._downloads.leave_store():
                raise
            return self._once(url)

    def _once(self, url: str) -> dict[bytes, bytes]:
        files = SeedFiles(self._repository)
        try:
            begin = self._found(url)
            files.sweep()
            self._receive(begin, files)
            refs = self._checked_refs(files)
            files.placement.put()
            if not self._repository.has_reftable:
                files.placement.put_packed_refs(packed_refs(refs))
            files.placement.settle()
        finally:
            files.close()
        return refs

    def _found(self, url: str) -> "Callable[[], RangedDownload]":
        """Ask for an archive that is cached; nothing is made for us, since git's own way is there at once.

        :return: begins to download some of it.
        :raise ClientError: when there is none.
        """
        headers = self._downloads.retries.when_welcome(lambda: self._said_of(url))
        etag, size = headers.get("ETag", ""), headers.get("Content-Length", "")
        if headers.get("Accept-Ranges") != "bytes" or not etag.startswith('"') or not is_number(size):
            raise ClientError("the server can't send parts of it")
        return lambda: RangedDownload(self._downloads, url, etag=etag, size=int(size), headers=headers, whole=False)

    def _said_of(self, url: str) -> Headers:
        with closing(self._downloads.http.request("HEAD", url)) as known:
            if known.status == 404:
                raise NotCached("the server has none yet", status=404)
            if known.status != 200:
                raise refusal(known, url)
            return Headers(known.headers.items())

    def _receive(self, begin: "Callable[[], RangedDownload]", files: SeedFiles) -> None:
        found = framed.known_frames(begin())
        if not found:
            raise ArchiveBroken("it does not say where its parts lie")
        rules = SeedRules(tree=SeedBlobs(files, checks_out=self._checks_out))
        try:
            self._scan(begin, found, rules, files)
            files.end_blobs(keep=True)
        except ClientError:
            if not rules.takes_tree:
                raise
            # All of the repository has come, and its working tree can be had from that.
            files.end_blobs(keep=False)

    def _scan(
        self, begin: "Callable[[], RangedDownload]", found: Sequence[Frame], rules: SeedRules, files: SeedFiles
    ) -> None:
        with closing(Workers(1, "checksum")) as summing:
            scanner = TarScanner(rules=rules, aside=files, workers=summing)
            with closing(self._contents(begin, found, rules)) as contents:
                for content in contents:
                    deque(scanner.feed(*content), maxlen=0)
                    if rules.complete:
                        return
            scanner.finish()

    def _contents(
        self, begin: "Callable[[], RangedDownload]", found: Sequence[Frame], rules: SeedRules
    ) -> "Generator[list[memoryview], None, None]":
        size, done = self._downloads.piece_size, 0
        for part in parts_of(found):
            frames = found[done:] if rules.takes_tree else part
            here = begin(), frames
            with closing(framed.contents(*here, part_size=size, threads=self._threads, has_sums=True)) as contents:
                yield from contents
            done += len(frames)
            if done == len(found):
                return

    def _checked_refs(self, files: SeedFiles) -> "dict[bytes, bytes]":
        if files.content(b"shallow"):
            raise ClientError("it is of a shallow repository")
        files.objects.check()
        refs = bundle_refs(files.content(b"packed-refs"), files.branches())
        if len({len(oid) for oid in refs.values()}) != 1:
            raise ArchiveBroken("it holds no refs")
        if (missing := files.objects.lacks(refs.values())) is not None:
            raise ArchiveBroken(f"it has a ref to {missing.decode()}, which is not in it")
        if self._sha256 not in (None, len(next(iter(refs.values()))) == 64):
            raise ClientError("the repository is of another object format")
        return refs


def parts_of(found: Sequence[Frame]) -> "list[Sequence[Frame]]":
    """Cut an archive into the part that holds the objects, and small ones of which as many are used as need be (pure).

    Objects come first, in frames of one size, and the last of them is usually shorter.
    """
    objects = len(list(takewhile(lambda frame: frame.size == tarzst.FRAME_SIZE, found))) + 1
    ends = [*range(objects + _NEXT_FRAMES, len(found), _NEXT_FRAMES), len(found)]
    return [found[start:end] for start, end in zip([0, *ends], ends)]  # noqa: B905 (the last end begins nothing)
