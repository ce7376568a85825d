"""One answer being produced for all who want it.

The producer is read as fast as it writes, onto disk; a slow client holds neither the process nor its place. It goes on
for as long as anybody follows.
"""

from hashlib import sha256
from pathlib import Path

from twisted.internet.defer import Deferred

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import PIECE, Source
from cachew.smarthttp.packcheck import PackCheck


class Production:
    """Copies a source into a spool.

    :param path: where to spool.
    :param source: the answer; it is closed in the end.
    """

    def __init__(self, *, path: Path, source: Source) -> None:
        self.spool = Spool(path=path)
        self._source = source
        self._digest = sha256()
        self._check = PackCheck()
        self._abandoned = False

    @property
    def digest(self) -> str:
        """The SHA-256 of what has been produced."""
        return self._digest.hexdigest()

    @property
    def complete(self) -> bool:
        """Whether all of an answer that may be kept has been produced."""
        return self.spool.state == "finished" and self._check.complete

    def follow(self) -> Source:
        """Return a source from the first byte to the last.

        :raise SpoolFailed: when the production is over and was not kept.
        """
        source = self.spool.follow()
        self.spool.when_idle().addCallback(self._left_alone)
        return source

    def _left_alone(self, _: None) -> None:
        if self.spool.state == "open":
            self.abandon()

    def abandon(self) -> None:
        """Stop producing; whoever follows still gets a failure."""
        self._abandoned = True
        self._source.close()

    async def run(self) -> None:
        """Copy until the source ends or fails; a failure is for the followers."""
        try:
            while not self._abandoned and (data := await self._source.read(PIECE)):
                self._take(data)
        except Exception as failure:
            self.spool.fail(failure)
        finally:
            self._source.close()
        if self._abandoned:
            self.spool.fail(SpoolFailed("it was given up"))
        self.spool.finish()

    def _take(self, data: bytes) -> None:
        self.spool.write(data)
        self._digest.update(data)
        self._check.feed(data)


def start(production: Production) -> Deferred[None]:
    """Run a production beside the caller."""
    return Deferred.fromCoroutine(production.run())
