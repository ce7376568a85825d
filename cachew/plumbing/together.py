"""Work that is done side by side and awaited as one."""

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

T = TypeVar("T")


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do several things at once.

    With the first failure, or when the wait is cancelled, the others are given up and waited for: nothing goes on
    behind, and what they were using can be closed.

    :return: their results, in order.
    :raise Exception: the first failure, as it is.
    """
    started = [Deferred.fromCoroutine(work) for work in works]
    failures: list[Failure] = []

    def failed(failure: Failure) -> None:
        failures.append(failure)
        if len(failures) == 1:
            for other in started:
                other.cancel()

    for one in started:
        one.addErrback(failed)
    results = await DeferredList(started)
    if failures:
        failures[0].raiseException()
    return [result for _, result in results]
