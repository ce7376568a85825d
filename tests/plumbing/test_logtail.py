"""The last lines of the log are kept while the server is open."""

import pytest_twisted
from twisted.logger import Logger

from cachew.plumbing.logs import EventLog

LOG = Logger("cachew.test")


@pytest_twisted.ensureDeferred
async def test_lines_are_given_once() -> None:
    """Whoever names the last line that he knows is given what came after it, of sufficient level, and its number."""
    tail = EventLog("info")
    await tail.open()
    try:
        LOG.info("one")
        LOG.debug("not this")
        lines, last = tail.after(0)
        LOG.info("two")
    finally:
        await tail.close()
    LOG.info("not this either")
    assert [line.rpartition(" ")[2] for line in lines] == ["one"]
    assert [line.rpartition(" ")[2] for line in tail.after(last)[0]] == ["two"]
    assert tail.after(tail.after(0)[1]) == ([], 2)
    assert len(tail.after(4711)[0]) == 2
