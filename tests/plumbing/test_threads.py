"""Thread pools that outlive no server."""

import threading

from cachew.plumbing.threads import PatientPool


def test_a_call_that_hangs_keeps_no_pool() -> None:
    """A pool ends though a call to a hung disk doesn't, and waits for those that end in time."""
    pool = PatientPool(0, 2, "test", patience=0.1)
    pool.start()
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(20)
        ended.set()

    pool.callInThread(hang)
    assert begun.wait(20)
    pool.stop()
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(20)


def test_a_call_that_ends_is_waited_for() -> None:
    """What is nearly done is not cut off."""
    pool = PatientPool(0, 1, "test", patience=20)
    pool.start()
    ended, go_on = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(20)
        ended.set()

    pool.callInThread(work)
    threading.Timer(0.05, go_on.set).start()
    pool.stop()
    assert ended.is_set()
