"""One answer being produced for all who want it.

The producer is read as fast as it writes, onto disk; a slow client holds neither the process nor its place. What a
process writes goes from its pipe to the disk inside the kernel. It goes on for as long as anybody follows.
"""

from pathlib import Path

from twisted.internet.defer import Deferred

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import PIECE, PipedSource, Source


class Production:
    """Copies a source into a spool.

    :param path: where to spool.
    :param source: the answer; it is closed in the end.
    """

    def __init__(self, *, path: Path, source: Source) -> None:
        self.spool = Spool(path=path)
        self._source = source
        self._abandoned = False

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
            if isinstance(self._source, PipedSource):
                self.spool.write(self._source.divert(self.spool.take))
            while not self._abandoned and (data := await self._source.read(PIECE)):
                self.spool.write(data)
        except Exception as failure:
            self.spool.fail(failure)
        finally:
            self._source.close()
        if self._abandoned:
            self.spool.fail(SpoolFailed("it was given up"))
        self.spool.finish()


def start(production: Production) -> Deferred[None]:
    """Run a production beside the caller."""
    return Deferred.fromCoroutine(production.run())
