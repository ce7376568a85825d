"""What a Deferred that must have fired has come to."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def value_of(deferred: Deferred[T]) -> T:
    """Return its result; its failure is raised."""
    found: list[T] = []
    deferred.addCallback(found.append)
    failed = _failures(deferred)
    if failed:
        failed[0].raiseException()
    assert found, "it has not fired"
    return found[0]


def result_of(work: Coroutine[Any, Any, T]) -> T:
    """Run work that waits for nothing, and return its result; its failure is raised."""
    return value_of(Deferred.fromCoroutine(work))


def failure_of(deferred: Deferred[Any]) -> BaseException:
    """Return what it has failed with."""
    failed = _failures(deferred)
    assert failed and failed[0].value is not None, "it has not failed"
    return failed[0].value


def _failures(deferred: Deferred[Any]) -> list[Failure]:
    failed: list[Failure] = []

    def note(failure: Failure) -> None:
        failed.append(failure)

    deferred.addErrback(note)
    return failed
