"""The mirrors that are on disk when the server starts: found before it is ready, and looked at one by one later."""

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.plumbing.threads import Threads
from cachew.plumbing.waiters import Waiters


class Discovery:
    """Finds mirrors on disk.

    :param mirrors: the mirrors, among which they come when they are looked at.
    :param root: where they lie.
    :param threads: for looking.
    :param done: whether there is nothing to be found.
    :ivar done: whether it is known what is on disk.
    """

    def __init__(self, *, mirrors: Mirrors, root: MirrorRoot, threads: Threads, done: bool = False) -> None:
        self._mirrors = mirrors
        self._root = root
        self._threads = threads
        self.done = done
        self._waiting = Waiters()

    async def discover(self) -> None:
        """Find every mirror on disk; whatever else lies under the root is removed."""
        self._mirrors.first_looks.expect(await self._threads(self._root.scan))
        self.done = True
        self._waiting.wake()

    async def wait(self) -> None:
        """Wait until it is known what is on disk."""
        if not self.done:
            await self._waiting.wait()
