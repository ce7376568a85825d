"""Grants for LFS objects: what is given, and what a grant that somebody shows is good for."""

from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import CachewError, Forbidden, Unauthorized
from cachew.smarthttp.lfsobjects import LfsOrder
from cachew.upstream.lfsbatch import LfsDownload, WantedObject
from cachew.web.lfsgrants import GRANT_HEADER, LfsAsker, LfsGrants
from tests.fakes.clock import FakeClock
from tests.fakes.gitserving import IDENTITY, FakeRemotes
from tests.fakes.settled import failure_of, value_of

WANTED = WantedObject("a" * 64, 5)
ANYBODY, SOMEBODY = LfsAsker(IDENTITY, "1", None), LfsAsker(IDENTITY, "1", "Basic abc")
OWN, STORAGE = "https://git.example/objects/1", "https://storage.example/1"


class Granting:
    """A server that grants downloads.

    :ivar places: where objects may be fetched from.
    :ivar refuses: whether the upstream gives no leave any more.
    """

    def __init__(self) -> None:
        self.clock, self.places, self.refuses = FakeClock(now=1000.0), {OWN, STORAGE}, False
        self.required: list[str | None] = []
        self.grants = LfsGrants(
            client=cast(Any, self),
            remotes=cast(Any, FakeRemotes()),
            leave=cast(Any, self),
            clock=self.clock,
            key=lambda: b"k" * 32,
        )

    def may_hold(self, href: str, *, home: str) -> bool:
        """Tell whether an object may be fetched from there."""
        return href in self.places

    async def require(self, identity: object, instance: str, credential: str | None, wanted: WantedObject) -> None:
        """Ask the upstream."""
        self.required.append(credential)
        if self.refuses:
            raise Forbidden("no more")

    def grant(self, asker: LfsAsker, href: str = OWN, headers: tuple[tuple[str, str], ...] = ()) -> str:
        """Give a grant for a minute."""
        address = self.grants.desk(asker, "https://cachew.example").address_of(LfsDownload(WANTED, href, headers, 60.0))
        assert address is not None
        assert address.href == f"https://cachew.example/git/{IDENTITY.name}/info/lfs/cachew/{WANTED.oid}"
        return address.headers[GRANT_HEADER]

    def show(self, grant: str, asker: LfsAsker, oid: str = WANTED.oid) -> Deferred[LfsOrder]:
        """Show it."""
        return Deferred.fromCoroutine(self.grants.order(grant, asker, oid))


def test_a_grant_leads_to_the_object() -> None:
    """With the headers that its storage wants; the upstream's leave is looked at first."""
    granting = Granting()
    order = value_of(granting.show(granting.grant(ANYBODY, STORAGE, (("X-Sig", "s"),)), ANYBODY))
    assert (order.wanted, order.href, list(order.headers)) == (WANTED, STORAGE, [(b"X-Sig", b"s")])
    assert granting.required == [None]


@pytest.mark.parametrize(
    ("href", "headers", "sent"),
    [
        (OWN, (), [(b"Authorization", b"Basic abc")]),
        (OWN, (("authorization", "RemoteAuth x"),), [(b"authorization", b"RemoteAuth x")]),
        (STORAGE, (), []),
    ],
)
def test_a_credential_goes_to_the_upstream_alone(
    href: str, headers: tuple[tuple[str, str], ...], sent: list[tuple[bytes, bytes]]
) -> None:
    """Never to a storage elsewhere, and not beside another one that the upstream has named."""
    granting = Granting()
    order = value_of(granting.show(granting.grant(SOMEBODY, href, headers), SOMEBODY))
    assert list(order.headers) == sent


@pytest.mark.parametrize(
    ("given", "shows", "kind"),
    [
        (SOMEBODY, ANYBODY, Unauthorized),
        (SOMEBODY, LfsAsker(IDENTITY, "1", "Basic other"), Forbidden),
        (ANYBODY, SOMEBODY, Forbidden),
        (ANYBODY, LfsAsker(IDENTITY, "2", None), Forbidden),
    ],
)
def test_a_grant_is_nobody_elses(given: LfsAsker, shows: LfsAsker, kind: type[CachewError]) -> None:
    """Neither another client's nor another instance's; the upstream is not even asked."""
    granting = Granting()
    assert isinstance(failure_of(granting.show(granting.grant(given), shows)), kind) and granting.required == []


def test_a_grant_ends() -> None:
    """With its time, with the upstream's leave, and when the place is none any more; it is of one object."""
    granting = Granting()
    grant = granting.grant(ANYBODY)
    assert isinstance(failure_of(granting.show(grant, ANYBODY, "b" * 64)), Forbidden)
    granting.places.clear()
    assert isinstance(failure_of(granting.show(grant, ANYBODY)), Forbidden)
    granting.places.add(OWN)
    granting.refuses = True
    assert isinstance(failure_of(granting.show(grant, ANYBODY)), Forbidden)
    granting.refuses = False
    value_of(granting.show(grant, ANYBODY))
    granting.clock.advance(60)
    assert isinstance(failure_of(granting.show(grant, ANYBODY)), Forbidden)


@pytest.mark.parametrize(("href", "headers"), [("https://10.0.0.1/x", ()), (OWN, (("X-Sig", "s" * 8000),))])
def test_what_can_not_be_granted_stays_as_it_is(href: str, headers: tuple[tuple[str, str], ...]) -> None:
    """A place where nothing is fetched, and what would be too long for a header."""
    desk = Granting().grants.desk(ANYBODY, "https://cachew.example")
    assert desk.address_of(LfsDownload(WANTED, href, headers, 60.0)) is None
