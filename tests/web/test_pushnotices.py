"""Which mirrors a push elsewhere concerns, and what they do about it."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.plumbing.background import Background
from cachew.plumbing.errors import StorageUnavailable, UnknownPath
from cachew.web.pushnotices import PushNotices
from tests.fakes.clock import FakeClock
from tests.fakes.settled import value_of

REPOSITORY, OTHER = Identity("git.example", "Org/repo"), Identity("other.example", "org/repo")
MOVED = Identity("git.example", "old/name")


def url_of(identity: Identity) -> str:
    """Return where a repository is."""
    if identity.host == "gone.example":
        raise UnknownPath("no such host")
    return "https://git.example/new/name" if identity == MOVED else f"https://{identity.name}"


class Pushes:
    """Three mirrors, of which one has moved."""

    def __init__(self) -> None:
        identities = (REPOSITORY, OTHER, MOVED)
        self.mirrors = {
            each: SimpleNamespace(
                identity=each,
                life=SimpleNamespace(ready=True),
                remote=SimpleNamespace(address=url_of(each)),
                refs=SimpleNamespace(by_name={"refs/heads/main": "a" * 40}),
            )
            for each in identities
        }
        self.held_up: set[Identity] = set()
        self.reactor = FakeClock()
        self.changed: list[Identity] = []
        self.fetched: list[Identity] = []
        self.background = Background()
        self.gate: Deferred[None] = Deferred()
        self.first_looks = SimpleNamespace(unseen={}, look=self.look)
        self.notices = PushNotices(
            mirrors=cast(Any, self),
            freshness=cast(Any, SimpleNamespace(changed=self.changed.append)),
            background=self.background,
            fetch=self.fetch,
            url_of=url_of,
            reactor=self.reactor,
        )

    def mirrored_as(self, urls: Sequence[str], paths: Sequence[str]) -> Sequence[Identity]:
        """Return which are meant."""
        return value_of(Deferred.fromCoroutine(self.notices.mirrored_as(urls, paths)))

    def known(self) -> Any:
        """Return the mirrors, without a look at the disk."""
        return list(self.mirrors.values())

    def find(self, identity: Identity) -> Any:
        """Return a mirror."""
        return self.mirrors.get(identity)

    async def look(self, identity: Identity) -> None:
        """Take up a mirror that an earlier run has left, unless the disk holds that up."""
        if identity in self.held_up:
            raise StorageUnavailable("the disk hangs")
        if identity in self.first_looks.unseen:
            self.mirrors[identity] = self.first_looks.unseen.pop(identity)

    async def fetch(self, identity: Identity) -> None:
        """Fetch, when the test lets it."""
        assert identity in self.changed
        self.fetched.append(identity)
        await self.gate

    def pushed(self, identity: Identity, **before: str) -> bool:
        """Tell of a push, and where branches were before it."""
        refs = {f"refs/heads/{name}": oid for name, oid in before.items()}
        return value_of(Deferred.fromCoroutine(self.notices.pushed(identity, refs)))


@pytest.mark.parametrize(
    ("urls", "paths", "meant"),
    [
        (["https://git.example/Org/repo"], [], [REPOSITORY]),
        (["https://GIT.example/org/REPO.git"], [], [REPOSITORY]),
        (["https://nowhere.example/a/b", "https://user@git.example:443/org/repo.git/"], [], [REPOSITORY]),
        (["https://git.example/new/name.git"], [], [MOVED]),
        (["https://git.example/old/name.git"], [], []),
        ([], ["ORG/Repo"], [REPOSITORY, OTHER]),
        (["https://git.example/new/name"], ["org/repo"], [REPOSITORY, OTHER, MOVED]),
        ([], ["repo"], []),
        (["", "no address"], [""], []),
        ([], [], []),
    ],
)
def test_whom_a_push_concerns(urls: list[str], paths: list[str], meant: list[Identity]) -> None:
    """Those whose upstream is at one of the addresses by now, or has one of the paths, in whatever case."""
    assert Pushes().mirrored_as(urls, paths) == meant


def test_others_have_their_turn_while_thousands_are_looked_at() -> None:
    """Not all are looked at in one turn of the reactor."""
    pushes = Pushes()
    pushes.first_looks.unseen = {Identity("git.example", f"many/{number}"): None for number in range(2500)}
    found = Deferred.fromCoroutine(pushes.notices.mirrored_as(["https://git.example/many/2499"], []))
    assert not found.called
    pushes.reactor.advance(0)
    assert value_of(found) == [Identity("git.example", "many/2499")]


def test_a_mirror_fetches_behind_the_answer() -> None:
    """What was known of the upstream's refs is taken for old first; nobody waits for the fetch."""
    pushes = Pushes()
    assert pushes.pushed(REPOSITORY)
    assert (pushes.changed, pushes.fetched) == ([REPOSITORY], [REPOSITORY])
    assert [what for what, _ in pushes.background.under_way] == ["fetch of git.example/Org/repo"]
    pushes.gate.callback(None)
    assert pushes.background.under_way == []


def test_a_mirror_that_nobody_has_looked_at_since_the_start_fetches_too() -> None:
    """It is one of those that a push may concern, and is looked at before it fetches."""
    pushes = Pushes()
    pushes.first_looks.unseen = {MOVED: pushes.mirrors.pop(MOVED)}
    assert pushes.mirrored_as(["https://git.example/new/name"], []) == [MOVED]
    assert pushes.pushed(MOVED) and pushes.fetched == [MOVED]


def test_a_mirror_of_a_host_that_the_config_no_longer_names_keeps_no_other_from_fetching() -> None:
    """It is on disk and not served; whether it was looked at yet makes no difference."""
    pushes, gone = Pushes(), Identity("gone.example", "new/repo")
    pushes.first_looks.unseen = {gone: None}
    assert pushes.mirrored_as(["https://git.example/new/name"], []) == [MOVED]


def test_a_mirror_that_the_disk_holds_up_keeps_no_other_from_hearing_of_a_push() -> None:
    """It is one that does not fetch now, and clients are told no old refs all the same."""
    pushes = Pushes()
    pushes.held_up, pushes.first_looks.unseen = {REPOSITORY}, {REPOSITORY: pushes.mirrors.pop(REPOSITORY)}
    assert [pushes.pushed(each) for each in (REPOSITORY, OTHER)] == [False, True]
    assert (pushes.changed, pushes.fetched) == ([REPOSITORY, OTHER], [OTHER])


@pytest.mark.parametrize("known", [True, False])
def test_what_is_not_mirrored_does_not_fetch(known: bool) -> None:
    """A mirror that is being made, or none: clients are told no old refs all the same."""
    pushes = Pushes()
    if known:
        pushes.mirrors[REPOSITORY].life.ready = False
    else:
        del pushes.mirrors[REPOSITORY]
    assert not pushes.pushed(REPOSITORY)
    assert (pushes.changed, pushes.fetched, pushes.background.under_way) == ([REPOSITORY], [], [])


def test_a_host_that_does_not_list_yet_what_it_tells_of_is_asked_again() -> None:
    """Its event comes before all of its servers have the push: a listing that shows what was before is no answer."""
    pushes = Pushes()
    pushes.gate.callback(None)
    assert pushes.pushed(REPOSITORY, main="a" * 40)
    for pause, count in ((1, 2), (2, 3)):
        pushes.reactor.advance(pause - 0.1)
        assert len(pushes.fetched) == count - 1
        pushes.reactor.advance(0.1)
        assert len(pushes.fetched) == len(pushes.changed) == count
    pushes.mirrors[REPOSITORY].refs.by_name["refs/heads/main"] = "b" * 40
    pushes.reactor.advance(4)
    assert len(pushes.fetched) == 4 and pushes.background.under_way == [], "that was what the event told of"


def test_a_host_that_never_lists_it_is_asked_five_times() -> None:
    """A branch may have been put back where it was; one that is made or deleted was nowhere, or is nowhere."""
    pushes = Pushes()
    pushes.gate.callback(None)
    assert pushes.pushed(REPOSITORY, new="")
    for pause in (1, 2, 4, 8, 16, 32):
        pushes.reactor.advance(pause)
    assert len(pushes.fetched) == 5 and pushes.background.under_way == []


def test_a_listing_that_shows_something_else_than_before_is_enough() -> None:
    """Somebody else may have pushed since."""
    pushes = Pushes()
    pushes.gate.callback(None)
    assert pushes.pushed(REPOSITORY, main="c" * 40)
    assert len(pushes.fetched) == 1 and pushes.background.under_way == []
