"""The routes of repositories: who answers what, after which guard, and what becomes of a push however it ends."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import BadPath, Forbidden, MethodNotAllowed, UnknownPath, UpstreamRefused
from cachew.web.access.guard import Right
from cachew.web.git import GitRoutes, Services, query_in_words
from cachew.web.passthrough import Pushes
from tests.fakes.disturbance import FakeRequest, Steps, disturbances
from tests.fakes.gitserving import IDENTITY
from tests.fakes.instances import right
from tests.fakes.settled import failure_of, value_of

OURS = "Bearer this-server"
PIECES = 2


@dataclass
class Sent:
    """A request's body.

    :param ended: whether all of it has come.
    """

    ended: bool


class House:
    """All that the routes hand requests to; each of its awaits is a step.

    :param accepts: whether the upstream takes a push, and how it answers a push's listing.
    """

    def __init__(self, steps: Steps, *, accepts: bool = True, lets_in: bool = True) -> None:
        self._steps, self._accepts, self.lets_in = steps, accepts, lets_in
        self.refusal = UpstreamRefused("https://git.example/org/repo", status=401)
        self.serves_files, self.refused_with = False, 403
        self.seen: list[str] = []
        self.used: list[Identity] = []
        self.changed_after: list[str] = []
        self.pushes: list[Identity] = []
        self.unseen: set[Identity] = set()
        self.patience: list[float | None] = []
        itself = cast(Any, self)
        self.routes = GitRoutes(
            remotes=itself,
            guard=itself,
            services=Services(
                listings=itself,
                upload_pack=cast(Any, Answers(self, "fetch")),
                pushes=Pushes(passthrough=itself, changes=itself, pushed=self.pushes.append),
                lfs=cast(Any, Answers(self, "lfs")),
                snapshots=cast(Any, Answers(self, "artefact")),
                bundles=cast(Any, Answers(self, "artefact")),
                ensure_refs=cast(Any, Answers(self, "ensure")),
                dumb_files=cast(Any, Answers(self, "file")),
                unseen=self.unseen,
                look=self.look,
            ),
            used=lambda identity, request: self.used.append(identity),
            is_ours=lambda authorization: authorization == OURS,
        )

    async def look(self, identity: Identity, patience: float | None) -> None:
        assert not self.used
        self.patience.append(patience)
        await self.reach("look")
        self.unseen.discard(identity)

    async def reach(self, name: str) -> None:
        self.seen.append(name)
        await self._steps.reach(name)

    def of(self, identity: Identity) -> None:
        if identity.host != IDENTITY.host:
            raise UnknownPath("this host is not served")

    async def admit(self, request: Any, identity: Identity) -> Right:
        await self.reach("guard")
        if not self.lets_in:
            raise self.refusal
        return right(identity)

    async def info_refs(self, request: Any, given: Right) -> None:
        await self.reach("listing")

    async def stream(
        self, request: Any, identity: Identity, operation: str, on_piece: Callable[[], object] | None = None
    ) -> int:
        await self.reach(f"pass {operation}")
        if not self._accepts:
            return self.refused_with
        for number in range(PIECES if on_piece is not None else 0):
            cast(Any, on_piece)()
            await self.reach(f"piece {number}")
        return 200

    def note(self, repository: str) -> None:
        assert repository == IDENTITY.name
        self.changed_after.append(self.seen[-1])


class Answers:
    """Answers one kind of request."""

    def __init__(self, house: House, name: str) -> None:
        self._house, self._name = house, name

    def require(self, identity: Identity) -> None:
        if not self._house.serves_files:
            raise UnknownPath("no such operation on a repository")

    async def handle(self, request: Any, of: object, operation: str = "") -> None:
        await self._house.reach(f"{self._name} {operation}".strip())


def asked(steps: Steps, method: str, path: str, service: str | None = None, **headers: str) -> Any:
    request = FakeRequest(steps, method=method.encode(), **headers)
    request.raw_path = path.encode()
    request.body = Sent(False)
    request.args = {b"service": [service.encode()]} if service else {}
    return request


def handled(house: House, steps: Steps, method: str, path: str, service: str | None = None) -> Deferred[None]:
    return Deferred.fromCoroutine(house.routes.handle(asked(steps, method, path, service)))


REPOSITORY = "/git/git.example/org/repo"
WAYS = {
    ("POST", "git-upload-pack", None): ["guard", "fetch"],
    ("GET", "info/refs", "git-upload-pack"): ["guard", "listing"],
    ("GET", "info/refs", "git-receive-pack"): ["pass info/refs?service=git-receive-pack"],
    ("POST", "git-receive-pack", None): ["pass git-receive-pack", "piece 0", "piece 1"],
    ("POST", "info/lfs/objects/batch", None): ["lfs info/lfs/objects/batch"],
    ("POST", "ensure-refs", None): ["guard", "ensure"],
    ("GET", "snapshot.tar.zst", None): ["guard", "artefact snapshot.tar.zst"],
    ("HEAD", "lfs-snapshot.tar.zst", None): ["guard", "artefact lfs-snapshot.tar.zst"],
    ("GET", "snapshot.bundle", None): ["guard", "artefact snapshot.bundle"],
    ("GET", "bundle-list", None): ["guard", "artefact bundle-list"],
}


@pytest.mark.parametrize("way", WAYS)
def test_each_operation_has_one_way(way: tuple[str, str, str | None]) -> None:
    """Whatever is read is guarded first; pushes and LFS go on with the client's own credential, which decides."""
    steps, (method, operation, service) = Steps(slow=False), way
    house = House(steps)
    value_of(handled(house, steps, method, f"{REPOSITORY}/{operation}", service))
    assert house.seen == WAYS[way]
    assert house.used == [IDENTITY]


@pytest.mark.parametrize("way", WAYS)
def test_a_mirror_that_an_earlier_run_has_left_is_looked_at_first(way: tuple[str, str, str | None]) -> None:
    """Nobody is answered, nor let in, before; it is waited for with patience, with less for what may be cached."""
    steps, (method, operation, service) = Steps(slow=False), way
    house = House(steps)
    house.unseen.add(IDENTITY)
    for _ in range(2):
        value_of(handled(house, steps, method, f"{REPOSITORY}/{operation}", service))
        assert house.used.pop() == IDENTITY
    assert house.seen == ["look", *WAYS[way], *WAYS[way]]
    assert house.patience == [0.05 if operation.endswith("snapshot.tar.zst") else 5.0]


@pytest.mark.parametrize("way", [way for way, passed in WAYS.items() if "guard" in passed])
def test_nobody_passes_a_guard_that_refuses(way: tuple[str, str, str | None]) -> None:
    """What the guard refuses reaches nobody behind it."""
    steps, (method, operation, service) = Steps(slow=False), way
    house = House(steps, lets_in=False)
    assert isinstance(failure_of(handled(house, steps, method, f"{REPOSITORY}/{operation}", service)), UpstreamRefused)
    assert house.seen == ["guard"]


@pytest.mark.parametrize(
    ("method", "path", "service", "failure"),
    [
        ("GET", "/git/elsewhere.example/org/repo/info/refs", "git-upload-pack", UnknownPath),
        ("GET", f"{REPOSITORY}/../x/info/refs", "git-upload-pack", BadPath),
        ("GET", f"{REPOSITORY}/git-upload-pack", None, MethodNotAllowed),
        ("POST", f"{REPOSITORY}/info/refs", "git-upload-pack", MethodNotAllowed),
        ("PATCH", f"{REPOSITORY}/info/lfs/locks", None, MethodNotAllowed),
    ],
)
def test_nothing_exists_for_what_is_refused(
    method: str, path: str, service: str | None, failure: type[Exception]
) -> None:
    """A bad path, a host that isn't served and a wrong method touch no mirror and count as no use of one."""
    steps = Steps(slow=False)
    house = House(steps)
    assert isinstance(failure_of(handled(house, steps, method, path, service)), failure)
    assert house.seen == [] and house.used == []


@pytest.mark.parametrize("serves_files", [True, False])
@pytest.mark.parametrize("file", ["HEAD", "objects/info/packs", f"objects/0f/{'1' * 38}"])
def test_what_an_upstream_speaks_is_told_to_nobody_who_may_not_read(file: str, serves_files: bool) -> None:
    """A stranger hears the upstream's refusal, whether files are served of the repository or not."""
    steps = Steps(slow=False)
    house = House(steps)
    house.serves_files, house.lets_in = serves_files, False
    assert failure_of(handled(house, steps, "GET", f"{REPOSITORY}/{file}")) is house.refusal
    assert house.seen == ["guard"] and house.used == []


def test_files_of_an_upstream_that_speaks_better_are_no_use_of_a_repository() -> None:
    """Who may read it is told that there are none."""
    steps = Steps(slow=False)
    house = House(steps)
    assert isinstance(failure_of(handled(house, steps, "GET", f"{REPOSITORY}/HEAD")), UnknownPath)
    assert house.seen == ["guard"] and house.used == []


@pytest.mark.parametrize("service", [None, "git-upload-archive", "git-something"])
def test_other_services_are_refused_in_a_sentence(service: str | None) -> None:
    """The dumb protocol, archives and whatever else there may be are forbidden without anybody being asked."""
    steps = Steps(slow=False)
    house = House(steps)
    assert isinstance(failure_of(handled(house, steps, "GET", f"{REPOSITORY}/info/refs", service)), Forbidden)
    assert house.seen == []


def test_what_an_upstream_says_in_gits_way_is_said_so() -> None:
    """Of a POST that is answered with another status than 200 git shows only that, and its user never knows why."""
    steps = Steps(slow=False)
    house, request = House(steps), asked(steps, "POST", f"{REPOSITORY}/git-upload-pack")
    house.refusal.said = "the repository is being moved"
    house.lets_in = False
    value_of(Deferred.fromCoroutine(house.routes.handle(request)))
    assert b"".join(request.written) == b"0025ERR the repository is being moved"


@pytest.mark.parametrize("file", ["HEAD", "objects/info/packs", f"objects/0f/{'1' * 38}"])
def test_files_are_shown_where_there_is_nothing_else(file: str) -> None:
    """Of an upstream that speaks the dumb protocol, to whoever may read."""
    steps = Steps(slow=False)
    house = House(steps)
    house.serves_files = True
    value_of(handled(house, steps, "GET", f"{REPOSITORY}/{file}"))
    assert house.seen == ["guard", f"file {file}"]


@pytest.mark.parametrize(("shown", "left"), [(OURS, None), ("Basic dXNlcg==", ["Basic dXNlcg=="])])
def test_the_servers_own_tokens_go_no_further(shown: str, left: list[str] | None) -> None:
    """What is meant for this server is taken out before anybody looks at the request; an upstream's is left."""
    steps = Steps(slow=False)
    house, request = House(steps), asked(steps, "POST", f"{REPOSITORY}/git-receive-pack", authorization=shown)
    value_of(Deferred.fromCoroutine(house.routes.handle(request)))
    assert request.requestHeaders.getRawHeaders("authorization") == left


def test_a_push_voids_listings_with_every_piece() -> None:
    """The pusher's next fetch sees his commit, however early he reads the answer; the mirror is told at the end.

    That is when all of the answer has been written: the pusher doesn't wait for what is asked for the mirror's sake.
    """
    steps = Steps(slow=False)
    house, request = House(steps), asked(steps, "POST", f"{REPOSITORY}/git-receive-pack")
    value_of(Deferred.fromCoroutine(house.routes.handle(request)))
    assert house.changed_after == ["pass git-receive-pack", "piece 0", "piece 1"]
    assert house.pushes == []
    request.finish()
    assert house.pushes == [IDENTITY]


@pytest.mark.parametrize(("status", "noted"), [(504, True), (500, True), (401, False), (403, False), (413, False)])
def test_a_push_whose_end_nobody_knows(status: int, noted: bool) -> None:
    """A proxy that gave up waiting says nothing of what the host has taken: refs are asked for anew."""
    steps = Steps(slow=False)
    house, request = House(steps, accepts=False), asked(steps, "POST", f"{REPOSITORY}/git-receive-pack")
    house.refused_with, request.body.ended = status, True
    value_of(Deferred.fromCoroutine(house.routes.handle(request)))
    assert (bool(house.changed_after), house.pushes) == (noted, [])


@pytest.mark.parametrize(("service", "operation"), [(None, "git-receive-pack"), ("git-receive-pack", "info/refs")])
def test_who_may_not_push_makes_nobody_ask(service: str | None, operation: str) -> None:
    """A push that the upstream refuses voids nothing and has nothing fetched."""
    steps = Steps(slow=False)
    house = House(steps, accepts=False)
    value_of(handled(house, steps, "GET" if service else "POST", f"{REPOSITORY}/{operation}", service))
    assert house.changed_after == [] and house.pushes == []


class Push:
    """One push, which is disturbed; what was accepted of it, or may have been, must have been told.

    :param sent: whether all of it had come before.
    """

    def __init__(self, steps: Steps, *, sent: bool) -> None:
        self._steps, self.house, self._sent = steps, House(steps), sent

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        request = asked(self._steps, "POST", f"{REPOSITORY}/git-receive-pack")
        request.body.ended = self._sent
        return [self._answered(request)]

    async def _answered(self, request: Any) -> None:
        try:
            await self.house.routes.handle(request)
        finally:
            request.finish()

    def settle(self) -> None:
        """Nothing takes time."""

    def left(self) -> list[str]:
        accepted = any(name.startswith("piece") for name in self.house.seen)
        told = self.house.pushes == [IDENTITY] and self.house.changed_after[-1:] == [self.house.seen[-1]]
        silent = not self.house.pushes and bool(self.house.changed_after) == self._sent
        return [] if (told if accepted else silent) else [f"a push that ended after {self.house.seen[-1]} is not told"]


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("slow", [True, False])
def test_a_push_that_ends_anywhere_is_told(slow: bool, sent: bool) -> None:
    """Whether its client leaves or anything fails, at whichever await: what may have been accepted is looked for.

    Nothing was accepted of a push that hasn't come whole.
    """
    push = partial(Push, sent=sent)
    found = [f"{disturbance}: {left}" for disturbance, left in disturbances(push, slow=slow) if left]
    assert not found, "\n".join(found)


def test_what_a_query_asks_for_is_told_in_one_line() -> None:
    """Only fields that say what is asked for are told, and in one line."""
    assert (
        query_in_words({b"service": [b"git-upload-pack"], b"token": [b"hush"]}, "version=2")
        == "service=git-upload-pack v2"
    )
    assert (
        query_in_words({b"base": [b"b" * 40], b"ref": [b"refs/heads/x\ny"]}, None)
        == f"base={'b' * 40} ref=refs/heads/x%0Ay"
    )
    assert query_in_words({}, "version=2") == ""
