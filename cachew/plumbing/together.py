"""Work that is done side by side and awaited as one."""

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

T = TypeVar("T")


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do several things at once.

    All are cancelled when the wait is, and that is what is raised then: :func:`gatherResults` would wrap it up.

    :return: their results, in order.
    :raise Exception: the first failure, as it is.
    """
    try:
        return await gatherResults([Deferred.fromCoroutine(work) for work in works], consumeErrors=True)
    except FirstError as first:
        first.subFailure.raiseException()
