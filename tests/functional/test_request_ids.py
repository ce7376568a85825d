"""One id follows a request through the log, to the upstream and back."""

import re
from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from cachew.plumbing.logs import text_line
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.repositories import make_repository
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
ID = "build-4711"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged, as it is written."""
    found: list[str] = []

    @implementer(ILogObserver)
    def take(event: LogEvent) -> None:
        found.append(text_line(event).rstrip("\n"))

    globalLogPublisher.addObserver(take)
    yield found
    globalLogPublisher.removeObserver(take)


@pytest_twisted.ensureDeferred
async def test_an_id_is_followed_to_the_upstream_and_back(
    upstream: Upstream, git: Git, start: Start, lines: list[str]
) -> None:
    """A clone's id is in all of its lines, the mirror's making included, at the upstream, and in what git prints."""
    make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    await git.run("-c", f"http.extraHeader=X-Request-Id: {ID}", "clone", "-q", "--filter=blob:none", URL, "clone")
    await cachew.mirrored("org/repo")
    await cachew.quiet()
    assert {exchange.headers.get("x-request-id") for exchange in upstream.journal.of(None)} == {ID}
    about = [line for line in lines if "org/repo" in line and " cachew." in line]
    assert [line for line in about if not line.endswith(f" [{ID}]")] == []
    assert any("mirrored" in line for line in about)
    fetched = re.compile(r"git-upload-pack \(fetch v2 wants=[0-9]+ haves=0 filter=blob:none\) 200 ")
    assert any(fetched.search(line) for line in about), [line for line in about if "upload-pack" in line]

    await upstream.stop()
    failed = await git.run("-c", f"http.extraHeader=X-Request-Id: {ID}", "ls-remote", f"{URL}2", check=False)
    assert f"remote: request {ID}" in failed.err
    own = await cachew.get("org/other/info/refs?service=git-upload-pack&token=hush")
    (made,) = own.headers.getRawHeaders("X-Request-Id")
    assert (len(made), f"request {made}" in await own.text()) == (16, True)
    (refused,) = [line for line in lines if "GET /git/git.example/org/other/info/refs" in line]
    assert refused.endswith(f"[{made}]") and "(service=git-upload-pack v0) 502" in refused and "hush" not in refused


@pytest_twisted.ensureDeferred
async def test_what_can_be_no_id_is_replaced(start: Start) -> None:
    """A value that could break a line, or is too long, is not taken over; a proxy's usual ones are."""
    cachew = await start()
    for shown in ("a b", "x" * 129, "<script>", "-x"):
        answer = await cachew.get("x", headers={"X-Request-Id": shown})
        assert answer.headers.getRawHeaders("X-Request-Id") != [shown]
    for shown in ("4bf92f3577b34da6a3ce929d0e0e4736", "f058ebd6-02f7-4d3f-942e-904344e8cde5", "Root=1-67:a/b+c=="):
        answer = await cachew.get("x", headers={"X-Request-Id": shown})
        assert answer.headers.getRawHeaders("X-Request-Id") == [shown]
