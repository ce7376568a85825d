"""Many small questions that a thread answers together: to hand one over costs more than to answer it."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

Q = TypeVar("Q")
A = TypeVar("A")


class Gathering(Generic[Q, A]):
    """Answers what is asked at once, and together what is asked while others are being answered.

    Nobody who asks alone waits for anybody else; each can be given up alone.

    :param answer: answers several, in their order.
    :param together: how many are answered together at most.
    :param at_once: how often that is done at a time.
    """

    def __init__(
        self, answer: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], *, together: int = 16, at_once: int = 4
    ) -> None:
        self._answer = answer
        self._together, self._at_once = together, at_once
        self._waiting: OrderedDict[Deferred[A], Q] = OrderedDict()
        self._under_way = 0

    async def ask(self, question: Q) -> A:
        """Return the answer.

        :raise Exception: what kept those from being answered that were to be together.
        """
        answer: Deferred[A] = Deferred(self._leave)
        self._waiting[answer] = question
        if self._under_way < self._at_once:
            self._under_way += 1
            Deferred.fromCoroutine(self._run())
        return await answer

    async def _run(self) -> None:
        while asked := self._taken():
            try:
                answers = await self._answer([question for question, _ in asked])
            except Exception as error:
                for _, waiter in asked:
                    if not waiter.called:
                        waiter.errback(error)
            else:
                for (_, waiter), answer in zip(asked, answers, strict=True):
                    if not waiter.called:
                        waiter.callback(answer)
        self._under_way -= 1

    def _leave(self, gone: Deferred[A]) -> None:
        self._waiting.pop(gone, None)

    def _taken(self) -> list[tuple[Q, Deferred[A]]]:
        """Take up some of those who still wait; who has gone away has left."""
        taken: list[tuple[Q, Deferred[A]]] = []
        while self._waiting and len(taken) < self._together:
            waiter, question = self._waiting.popitem(last=False)
            taken.append((question, waiter))
        return taken
