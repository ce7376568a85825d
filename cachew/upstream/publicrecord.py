"""Which repositories were public a short while ago, remembered across restarts and told to the other replicas.

A restarted server, or a new replica, must be able to serve cached snapshots of public repositories although their
upstream is slow. A record that can't be read means that nothing is known to be public.
"""

from collections import OrderedDict
from pathlib import Path

from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.keptdocument import KeptDocument
from cachew.plumbing.threads import InThread
from cachew.upstream.replica_verdicts import Elsewhere


class PublicRecord:
    """Remembers when each repository was last seen to be public.

    :param path: the file that keeps it.
    :param clock: its time of day, which means the same after a restart.
    :param grace: seconds for which a sighting counts.
    :param in_thread: runs the writing of the file.
    :param background: follows the writing.
    :param elsewhere: what the other replicas know.
    :param capacity: repositories remembered; the longest unseen goes first.
    """

    def __init__(
        self,
        *,
        path: Path,
        clock: Clock,
        grace: float,
        in_thread: InThread,
        background: Background,
        elsewhere: Elsewhere,
        capacity: int = 10_000,
    ) -> None:
        self._elsewhere = elsewhere
        self._clock = clock
        self._grace = grace
        self._capacity = capacity
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._kept: dict[str, float] = {}
        self._file = KeptDocument(
            path=path,
            what="which repositories are public",
            content=self._content,
            in_thread=in_thread,
            background=background,
            clock=clock,
        )

    def load(self) -> None:
        """Read the file, if there is one."""
        seen = self._file.load(
            lambda said: {name: float(at) for name, at in said["public"].items() if self._counts(float(at))}
        )
        if seen is not None:
            self._seen = OrderedDict(sorted(seen.items(), key=lambda item: item[1]))
            self._kept = seen

    def _counts(self, at: float) -> bool:
        return 0 <= self._clock.now() - at < self._grace

    def was_public(self, name: str) -> bool:
        """Whether a repository was public within the grace."""
        at = self._seen.get(name)
        return at is not None and self._counts(at)

    async def learn(self, name: str) -> None:
        """Find out whether another replica saw a repository to be public within the grace."""
        at = await self._elsewhere.look(name)
        if at is not None and self._counts(at):
            known = self._seen.get(name, at)
            self._seen[name] = max(at, known) if self._counts(known) else at
            self._trim()

    def note(self, name: str) -> None:
        """Note that a repository is public now; the file follows when it is a tenth of the grace behind."""
        now = self._clock.now()
        self._seen.pop(name, None)
        self._seen[name] = now
        self._trim()
        self._elsewhere.seen(name)
        if self._file.behind or not 0 <= now - self._kept.get(name, float("-inf")) < self._grace / 10:
            self._file.follow()

    def _trim(self) -> None:
        while len(self._seen) > self._capacity:
            self._seen.popitem(last=False)

    def forget(self, name: str) -> None:
        """Note that a repository is not public; the file follows at once."""
        self._seen.pop(name, None)
        self._elsewhere.refused(name)
        if name in self._kept:
            self._file.follow()

    async def flush(self) -> None:
        """Write the file until it holds what is known."""
        await self._file.flush()

    def _content(self) -> dict[str, dict[str, float]]:
        self._kept = {name: at for name, at in self._seen.items() if self._counts(at)}
        return {"public": self._kept}
