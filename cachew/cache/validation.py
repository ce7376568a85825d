"""Whether a copy in a nearer tier is still what the authority has.

The authority is asked about an object once for all who read it, and its answer holds for a short while. A reader waits
for it a shorter while yet; an answer that comes later takes effect behind the scenes.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.cache.interface import ObjectInfo
from cachew.cache.tiers import Tier
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CorruptObject, StorageUnavailable
from cachew.plumbing.shared import Shared

Name = tuple[str, str]
_ANSWERS_KEPT = 10_000


class Validation:
    """Validates copies.

    :param authority: the tier that is right.
    :param nearer: those that have copies.
    :param owed: whether the authority has yet to take an object, so that the nearer tiers are right.
    :param reactor: for the wait and the interval.
    :param interval: seconds for which the authority's answer about an object holds.
    :param wait: seconds that a reader waits for that answer.
    :param background: where answers are awaited that nobody waits for.
    """

    log = Logger()

    def __init__(
        self,
        *,
        authority: Tier,
        nearer: Sequence[Tier],
        owed: Callable[[Name], bool],
        reactor: IReactorTime,
        interval: float,
        wait: float,
        background: Background,
    ) -> None:
        self._authority = authority
        self._nearer = nearer
        self._owed = owed
        self._reactor = reactor
        self._interval = interval
        self._wait = wait
        self._background = background
        self._checks: Shared[tuple[Name, object], ObjectInfo | None] = Shared(keep=True)
        self._questions: dict[Name, object] = {}
        self._answers: OrderedDict[Name, tuple[float, ObjectInfo | None]] = OrderedDict()

    def forget(self, name: Name) -> None:
        """Ask the authority again about an object that changes here; what it is being asked now is of before that."""
        self._answers.pop(name, None)
        self._questions.pop(name, None)

    async def outdated(self, name: Name, copy: ObjectInfo) -> bool:
        """Return whether the authority has said that it has another object or none; its copies are removed then."""
        if self._owed(name):
            return False
        asked, answer = self._answers.get(name, (float("-inf"), None))
        if self._reactor.seconds() < asked + self._interval and (answer is None or same(answer, copy)):
            return answer is None
        verdict: Deferred[bool] = Deferred.fromCoroutine(self._ask_about(name, copy))
        return await self._within(verdict)

    async def _ask_about(self, name: Name, copy: ObjectInfo) -> bool:
        try:
            question = self._questions.setdefault(name, object())
            answer = await self._checks.run((name, question), lambda: self._ask(name, question))
        except (StorageUnavailable, CorruptObject):
            return False
        if self._owed(name) or (answer is not None and same(answer, copy)):
            return False
        self.log.info("cached copy of {name} is outdated and was removed", name="/".join(name))
        for tier in self._nearer:
            copied = await tier.stat(*name)
            if copied is not None and same(copied, copy):
                await tier.invalidate(*name)
        return True

    async def _ask(self, name: Name, question: object) -> ObjectInfo | None:
        try:
            answer = await self._authority.look(self._authority.cache.stat(*name))
            if self._questions.get(name) is question:
                self._keep(name, answer)
        finally:
            if self._questions.get(name) is question:
                del self._questions[name]
        return answer

    def _keep(self, name: Name, answer: ObjectInfo | None) -> None:
        self._answers[name] = self._reactor.seconds(), answer
        self._answers.move_to_end(name)
        if len(self._answers) > _ANSWERS_KEPT:
            self._answers.popitem(last=False)

    async def _within(self, verdict: Deferred[bool]) -> bool:
        """Return a verdict, or False when it doesn't come in time."""
        if verdict.called:
            return await verdict
        first: Deferred[bool] = Deferred()
        timer = self._reactor.callLater(self._wait, first.callback, False)

        def came(result: bool) -> bool:
            if timer.active():
                timer.cancel()
                first.callback(result)
            return result

        verdict.addCallback(came)
        self._background.start(_awaiting(verdict), "asking whether a cached copy is outdated")
        try:
            return await first
        finally:
            if timer.active():
                timer.cancel()


def same(one: ObjectInfo, other: ObjectInfo) -> bool:
    """Say whether two tiers have the same object."""
    return (one.etag, one.digest) == (other.etag, other.digest)


async def _awaiting(verdict: Deferred[bool]) -> None:
    await verdict
