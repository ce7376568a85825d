"""Who answers clones and fetches, with clients that leave and parts that fail at any moment."""

import errno
import os
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.http.incoming import HeldBody
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import UnsupportedMediaType, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from cachew.plumbing.streams import BytesSource
from cachew.replicas.completions import TaskCompletions
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.tally import Tally
from cachew.upstream.listing import Listing
from cachew.upstream.remoteref import RemoteRef
from cachew.web.access.guard import Right
from cachew.web.packs import CloneCount
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import FakeRequest, Steps, nothing_left
from tests.fakes.gitserving import FETCH, IDENTITY, OID, PACK, FakeFreshness, FakeMirror
from tests.fakes.instances import right
from tests.fakes.settled import failure_of, value_of
from tests.web.test_packs import HEAD, REFUSAL, SLOW, Fetches

FORMAT = b"object-format=sha1"
LS_REFS = encode_all([b"command=ls-refs", FORMAT, DELIM, b"symrefs", b"ref-prefix refs/heads/", FLUSH])
BY_NAME = encode_all([b"command=fetch", FORMAT, DELIM, b"want-ref refs/heads/main", b"done", FLUSH])
NOBODYS = encode_all([b"command=fetch", FORMAT, DELIM, b"want-ref refs/heads/absent", b"done", FLUSH])
UPDATE = encode_all([b"command=fetch", FORMAT, DELIM, b"want " + OID.encode(), b"have " + b"b" * 40, b"done", FLUSH])
BUNDLES = encode_all([b"command=bundle-uri", FORMAT, DELIM, FLUSH])
INFO = encode_all([b"command=object-info", FORMAT, DELIM, b"size", FLUSH])
NEW = encode_all([b"command=ls-refs", FORMAT, DELIM, b"of-next-year", FLUSH])
LONG = encode_all(
    [
        b"command=fetch",
        FORMAT,
        DELIM,
        b"want " + OID.encode(),
        *(b"have %040x" % n for n in range(6000)),
        b"done",
        FLUSH,
    ]
)
LISTED = encode_all([f"{OID} refs/heads/main\n".encode(), FLUSH])
FROM_UPSTREAM = b"what the upstream says"
NO_REFS = Listing(())


@dataclass(frozen=True)
class Question:
    """What two clients ask.

    :param body: of a POST to git-upload-pack; None for a GET of info/refs.
    :param version: of the protocol.
    """

    body: bytes | None
    version: int = 2

    def request(self, steps: Steps) -> Any:
        """Return it as a client sends it."""
        if self.body is None:
            return FakeRequest(steps, git_protocol=f"version={self.version}")
        return FakeRequest(steps, method=b"POST", body=BytesSource(self.body), git_protocol=f"version={self.version}")


class Asked(Fetches):
    """Two clients that ask the same."""

    def __init__(
        self,
        steps: Steps,
        directory: Path,
        question: Question,
        *,
        mirror: FakeMirror | None = None,
        freshness: FakeFreshness | None = None,
        backend: Sequence[bytes] = (HEAD, PACK),
        limit: int = 1 << 20,
    ) -> None:
        super().__init__(
            steps,
            directory,
            mirror=mirror or FakeMirror(directory),
            backend=backend,
            limit=limit,
            freshness=freshness,
        )
        self.upstream.pieces = (FROM_UPSTREAM,)
        self.question = question
        self.requests = [question.request(steps) for _ in range(2)]

    def client(self, request: Any, may: Right | None = None) -> Coroutine[Any, Any, object]:
        """Return what a client waits for."""
        ask = self.listings.info_refs if self.question.body is None else self.route.handle
        return ask(request, may or right(IDENTITY))

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        return [self.client(request) for request in self.requests]


QUESTIONS = {
    "capabilities": Question(None),
    "a listing of v0": Question(None, 0),
    "a listing of v1": Question(None, 1),
    "ls-refs": Question(LS_REFS),
    "ls-refs with what is unknown here": Question(NEW),
    "a fetch by name": Question(BY_NAME),
    "bundles": Question(BUNDLES),
    "a command that is passed on": Question(INFO),
}


@SLOW
@pytest.mark.no_cover
@pytest.mark.parametrize("question", sorted({*QUESTIONS} - {"a listing of v1", "ls-refs with what is unknown here"}))
def test_nothing_stays_of_what_is_asked(tmp_path: Path, question: str, slow: bool) -> None:
    """No response, process, place or file stays, and no client waits, whichever await is disturbed by whatever."""
    nothing_left(lambda steps: Asked(steps, tmp_path, QUESTIONS[question]), slow=slow)


def asked(bench: Asked, may: Right | None = None) -> tuple[bytes, Any]:
    """Have one client ask, and return what it gets."""
    request = bench.question.request(bench._steps)
    value_of(finished(bench, bench.client(request, may)))
    return b"".join(request.written), request


def finished(bench: Asked, work: Coroutine[Any, Any, object]) -> Deferred[object]:
    """Run what a client waits for to its end."""
    client = Deferred.fromCoroutine(work)
    while bench._steps.go_on():
        pass
    return client


def test_who_answers_what(tmp_path: Path) -> None:
    """Listings and capabilities come out of memory, objects from the mirror, and what is unknown here from upstream."""
    found = {}
    for name, question in QUESTIONS.items():
        body, request = asked(Asked(Steps(slow=True), tmp_path, question))
        found[name] = request.outcome.source
        assert body
    upstream = {"ls-refs with what is unknown here", "a command that is passed on"}
    objects = {"a fetch by name"}
    assert {name for name, source in found.items() if source == "upstream"} == upstream
    assert {name for name, source in found.items() if source == "memory"} == {*QUESTIONS} - upstream - objects


def test_a_listing_has_what_was_asked_for(tmp_path: Path) -> None:
    """The refs below the prefixes, as the upstream has just said, and no warning."""
    body, request = asked(Asked(Steps(slow=True), tmp_path, Question(LS_REFS)))
    assert body == LISTED
    assert request.responseHeaders.getRawHeaders("Warning") is None


@pytest.mark.parametrize("question", ["a listing of v0", "ls-refs"])
def test_a_listing_of_the_mirrors_own_says_that_it_is_stale(tmp_path: Path, question: str) -> None:
    """While the upstream does not answer, the mirror's refs are marked as what they are."""
    steps = Steps(slow=True)
    bench = Asked(steps, tmp_path, QUESTIONS[question], freshness=FakeFreshness(steps, stale=True))
    _, request = asked(bench)
    assert request.responseHeaders.getRawHeaders("Warning") == ['110 - "response is stale"']


def another(instance: Instance) -> Right:
    """Return a right to another instance than the mirror's."""

    async def again() -> Right:
        return another(instance)

    return replace(right(IDENTITY), instance=instance, give=again)


@pytest.mark.parametrize("question", ["a listing of v0", "ls-refs"])
def test_a_stale_listing_is_for_those_only_who_may_have_the_mirror(tmp_path: Path, question: str) -> None:
    """Who has no right to what is kept is told that the upstream does not say, and sees no ref."""
    steps = Steps(slow=True)
    bench = Asked(steps, tmp_path, Question(LS_REFS), freshness=FakeFreshness(steps, stale=True))
    request = bench.question.request(steps)
    client = finished(bench, bench.client(request, another(Instance(IDENTITY, "1" * 32))))
    assert isinstance(failure_of(client), UpstreamUnreachable) and not request.written


@pytest.mark.parametrize("question", ["capabilities", "a listing of v0", "bundles", "a fetch by name"])
def test_what_is_kept_of_another_repository_answers_nobody(tmp_path: Path, question: str) -> None:
    """Whose right is not one to the mirror's instance is answered by the upstream."""
    bench = Asked(Steps(slow=True), tmp_path, QUESTIONS[question])
    body, request = asked(bench, another(Instance(IDENTITY, "1" * 32)))
    assert (body, request.outcome.source) == (FROM_UPSTREAM, "upstream")
    assert not bench.processes.children


class Unreadable(FakeMirror):
    """A mirror on a disk that fails."""

    errno: int

    async def lacking(self, oids: Sequence[str]) -> list[str]:
        raise OSError(self.errno, os.strerror(self.errno))


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(
    ("code", "answered"), [(errno.EROFS, True), (errno.ENOSPC, True), (errno.EIO, True), (errno.EMFILE, False)]
)
def test_what_the_disk_keeps_the_mirror_from_is_the_upstreams(
    tmp_path: Path, code: int, answered: bool, moved: bool
) -> None:
    """Without a descriptor left there is nothing to ask the upstream with either: the client is told to come again."""
    mirror = Unreadable(tmp_path)
    mirror.errno = code
    bench = Asked(Steps(slow=True), tmp_path, QUESTIONS["a fetch by name"], mirror=mirror)
    request = bench.question.request(bench._steps)
    if moved:
        bench.told.note(request.connection, IDENTITY, Listing((RemoteRef("refs/heads/main", "9" * 40),)))
    client = finished(bench, bench.client(request))
    if answered:
        value_of(client)
        assert b"".join(request.written).endswith(FROM_UPSTREAM) and request.outcome.source == "upstream"
    else:
        assert isinstance(failure_of(client), OSError) and not request.written


@pytest.mark.parametrize("question", ["a listing of v0", "ls-refs"])
def test_an_empty_repository_is_the_upstreams_to_show(tmp_path: Path, question: str) -> None:
    """Only the upstream knows what a repository without refs looks like to this client."""
    steps = Steps(slow=True)
    bench = Asked(steps, tmp_path, QUESTIONS[question], freshness=FakeFreshness(steps, NO_REFS))
    assert asked(bench)[0] == FROM_UPSTREAM


def test_the_listing_is_asked_for_before_its_format_is_announced(tmp_path: Path) -> None:
    """Capabilities name the object format: the first client's have the upstream asked, those just after do not."""
    bench = Asked(Steps(slow=True), tmp_path, Question(None))
    first, _ = asked(bench)
    assert bench.freshness.asked == ["least"]
    assert asked(bench)[0] == first and FORMAT in first
    assert bench.freshness.asked == ["least"]


def test_a_ref_that_is_wanted_and_not_there(tmp_path: Path) -> None:
    """Git's own words, without a process."""
    bench = Asked(Steps(slow=True), tmp_path, Question(NOBODYS))
    assert b"ERR unknown ref refs/heads/absent" in asked(bench)[0]
    assert not bench.processes.children and not bench.upstream.asked


def test_a_ref_that_the_mirror_alone_has(tmp_path: Path) -> None:
    """It is told while the mirror is being brought to where it has gone; one that can't follow says nothing of it."""
    mirror = FakeMirror(tmp_path, by_name={"refs/heads/absent": OID})
    bench = Asked(Steps(slow=True), tmp_path, Question(NOBODYS), mirror=mirror)
    assert b"ERR unknown ref refs/heads/absent" in asked(bench)[0]
    mirror.under_way = True
    assert f"{OID} refs/heads/absent".encode() in asked(bench)[0]


@pytest.mark.parametrize(("said", "tried"), [((b"shallow " + b"b" * 40,), ["b" * 40]), ((), [])])
def test_what_a_client_has_is_looked_for_where_its_history_is_cut_off(
    tmp_path: Path, said: Sequence[bytes], tried: list[str]
) -> None:
    """Others may have many commits that nobody has been sent yet, and name older ones soon."""
    lines = (b"want " + OID.encode(), *said, b"have " + b"b" * 40, b"done")
    bench = Asked(Steps(slow=True), tmp_path, Question(encode_all([b"command=fetch", FORMAT, DELIM, *lines, FLUSH])))
    asked(bench)
    assert bench.supply.bases[:1] == tried


@pytest.mark.parametrize(
    ("mirror", "backend", "told"),
    [
        ({"lacks": True, "late": True}, PACK, PACK),
        ({"lacks": True, "absent": True}, PACK, b"0049ERR upload-pack: not our ref " + OID.encode() + b"0000"),
        ({}, REFUSAL, b"001eERR upload-pack: not our !0000"),
    ],
)
def test_an_upstream_of_an_older_protocol_is_sent_nothing_of_the_newer(
    tmp_path: Path, mirror: dict[str, Any], backend: bytes, told: bytes
) -> None:
    """It would not understand it: what is on its way is waited for, and what nobody has is told in git's words."""
    steps = Steps(slow=True)
    bench = Asked(steps, tmp_path, Question(FETCH), mirror=FakeMirror(tmp_path, **mirror), backend=(HEAD, backend))
    bench.freshness.heard = Listing((), protocol=0)
    assert asked(bench)[0] == told
    assert not bench.upstream.asked


def test_refs_that_are_wanted_by_name_are_told_before_the_pack(tmp_path: Path) -> None:
    """The client learns what its ref is, and gets the same pack as others who want that commit."""
    body, _ = asked(Asked(Steps(slow=True), tmp_path, Question(BY_NAME)))
    assert body.index(f"{OID} refs/heads/main".encode()) < body.index(b"packfile")
    assert body.endswith(PACK)


def test_a_lone_flush_is_answered_with_nothing(tmp_path: Path) -> None:
    """Git sends one ahead of a large request, to learn whether it may."""
    body, request = asked(Asked(Steps(slow=True), tmp_path, Question(b"0000", 0)))
    assert (body, request.outcome.source) == (b"", "memory")


def test_what_is_sent_as_something_else_is_refused(tmp_path: Path) -> None:
    """Pages of other sites can have browsers post text, and nothing of git's."""
    bench = Asked(Steps(slow=True), tmp_path, Question(FETCH))
    request = bench.question.request(bench._steps)
    request.requestHeaders.setRawHeaders("content-type", ["text/plain"])
    assert isinstance(failure_of(finished(bench, bench.client(request))), UnsupportedMediaType)


@pytest.mark.parametrize(("body", "clones"), [(FETCH, 1), (UPDATE, 0), (LS_REFS, 0)])
def test_who_had_nothing_and_got_all_counts_as_a_clone(tmp_path: Path, body: bytes, clones: int) -> None:
    """A fetch into what a client has already, and a listing, are no clones."""
    bench = Asked(Steps(slow=True), tmp_path, Question(body))
    asked(bench)
    assert bench.cloned == [IDENTITY] * clones


def test_a_long_request_is_read_in_a_thread_and_two_of_them_at_a_time(tmp_path: Path) -> None:
    """The third waits for its turn; nobody else is held up by them."""
    steps = Steps(slow=True)
    bench = Asked(steps, tmp_path, Question(LONG))
    clients = [Deferred.fromCoroutine(bench.client(bench.question.request(steps))) for _ in range(3)]
    most = 0
    while steps.go_on():
        most = max(most, bench.commands._long.running)
    for client in clients:
        value_of(client)
    assert steps.names.count("thread read_command") == 3 and most == 2
    assert bench.commands._long.running == 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_clients_in_whatever_order_they_leave(tmp_path: Path, order: tuple[int, int]) -> None:
    """Who leaves first takes nothing from the other; when both have left, nothing goes on."""
    steps = Steps(slow=True)
    bench = Asked(steps, tmp_path, Question(FETCH))
    clients = [Deferred.fromCoroutine(work) for work in bench.work()]
    while "backend.read" not in steps.names:
        assert steps.go_on()
    leaving, staying = order
    clients[leaving].addErrback(lambda gone: None)
    clients[leaving].cancel()
    while steps.go_on():
        pass
    value_of(clients[staying])
    assert b"".join(bench.requests[staying].written).endswith(PACK)
    assert len(bench.processes.children) == 1 and bench.left() == []


def test_a_mirror_that_is_not_there_yet_is_made_after_the_answer(tmp_path: Path) -> None:
    """The first client of a repository is answered by the upstream, and the mirror made behind."""
    bench = Asked(Steps(slow=True), tmp_path, Question(None, 0), mirror=FakeMirror(tmp_path, ready=False))
    assert asked(bench)[0] == FROM_UPSTREAM


def test_a_partial_clone_asks_for_the_snapshot_without_blobs() -> None:
    """What would have been of use to it is made by the schedule from then on; other filters have no snapshot."""
    wanted: list[tuple[str, str]] = []
    clock = FakeClock()
    progress = TaskCompletions(records=MemoryRecords(), clock=clock)
    count = CloneCount(
        metrics=Metrics(),
        tally=Tally(what="clones", progress=progress, clock=clock),
        wanted=lambda identity, name: wanted.append((identity.name, name)),
    )
    for chosen in ("blob:none", "tree:0", ""):
        count.note(Identity("git.example", "org/repo"), False, chosen)
    assert wanted == [("git.example/org/repo", "snapshot filter=blob:none")]


def test_what_many_ask_in_the_same_words_is_read_once(tmp_path: Path) -> None:
    """So is nothing that differs, be it by the protocol alone; of what was not asked lately, nothing is remembered."""
    bench = Asked(Steps(slow=False), tmp_path, Question(LS_REFS))
    read = [
        value_of(Deferred.fromCoroutine(bench.commands.parsed(request, IDENTITY, HeldBody(body, digest=""))))
        for body in (LS_REFS, LS_REFS, UPDATE)
        for request in (Question(body).request(bench._steps),)
    ]
    assert read[0] is read[1] and read[0] != read[2]
    for number in range(600):
        other = HeldBody(encode_all([b"command=ls-refs", DELIM, b"ref-prefix %d" % number, FLUSH]), digest="")
        value_of(Deferred.fromCoroutine(bench.commands.parsed(bench.requests[0], IDENTITY, other)))
    assert len(bench.commands._known) == 500
