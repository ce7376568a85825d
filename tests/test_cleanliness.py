"""The check on what tests leave behind, seen from outside: a test run of its own."""

import subprocess

import pytest

from tests.cleanliness import child_processes

CONFTEST = """
from tests.conftest import *

@pytest.fixture(scope="session")
def grace():
    return (0.0,) * 10 + (0.01,) * 30
"""


DIRTY = """
import subprocess
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
import pytest_twisted

def test_clean():
    pass

@pytest_twisted.ensureDeferred
async def test_clean_async():
    await deferLater(reactor, 0, lambda: None)

def test_flushed(flush_logged_errors):
    Logger().failure("oops", failure=__import__("twisted.python.failure").python.failure.Failure(ValueError("x")))
    assert [failure.type for failure in flush_logged_errors(ValueError)] == [ValueError]

def test_timer():
    reactor.callLater(30, lambda: None)

def test_port():
    reactor.listenTCP(0, Factory(), interface="127.0.0.1")

def test_child():
    subprocess.Popen(["sleep", "30"])

def test_unhandled():
    fail(ZeroDivisionError("lost"))

def test_unhandled_in_a_cycle():
    d = fail(ZeroDivisionError("lost"))
    d.itself = d

def test_logged():
    try:
        raise KeyError("logged")
    except KeyError:
        Logger().failure("oops")
"""


ENDLESS = """
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
import pytest, pytest_twisted

@pytest.mark.timeout(0.3)
@pytest_twisted.ensureDeferred
async def test_waits_for_ever():
    await Deferred()

@pytest.mark.timeout(0.3)
def test_computes_for_ever():
    while True:
        pass

@pytest_twisted.ensureDeferred
async def test_next():
    await deferLater(reactor, 0, lambda: None)
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory whose tests use this project's conftest; what they leave behind has a shorter grace."""
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    pytester.makeconftest(CONFTEST)
    return pytester


def test_a_dirty_test_fails_and_only_that_one(inner: pytest.Pytester) -> None:
    """Each kind of left-over fails the test that left it; clean, async and flushing tests pass."""
    inner.makepyfile(DIRTY)
    result = inner.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=9, errors=6)
    text = result.stdout.str()
    for name in ("timer", "port", "child", "unhandled", "unhandled_in_a_cycle", "logged"):
        assert f"ERROR at teardown of test_{name} " in text
    for words in ("delayed call: ", "open socket or pipe: ", "running child process: ", "ZeroDivisionError"):
        assert words in text


def test_an_endless_test_fails_and_the_next_one_runs(inner: pytest.Pytester) -> None:
    """A test that waits or computes for ever is ended by its time limit, without an end to the whole run."""
    inner.makepyfile(ENDLESS)
    result = inner.runpytest_subprocess("-v", "-p", "no:cacheprovider", timeout=20)
    result.assert_outcomes(passed=1, failed=2)
    assert (result.stdout.str() + result.stderr.str()).count("the test took longer than 0.3 s") >= 2


def test_a_child_is_seen_until_it_exits() -> None:
    """A child process counts while it lives, and no longer once it has exited."""
    child = subprocess.Popen(["sleep", "30"])
    seen_living = child.pid in child_processes()
    child.kill()
    child.wait()
    assert seen_living
    assert child.pid not in child_processes()
