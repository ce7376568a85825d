"""Sessions that all replicas know."""

import pytest
from twisted.internet.defer import Deferred

from cachew.replicas.memoryrecords import MemoryRecords
from cachew.web.access.sessions import Sessions
from tests.fakes.clock import FakeClock
from tests.fakes.records import UnreliableRecords
from tests.fakes.settled import value_of
from tests.web.adminfront import NOW, AdminFront, sessions_of


def share(sessions: Sessions) -> None:
    """Have a replica tell and learn which sessions have ended."""
    value_of(Deferred.fromCoroutine(sessions.share()))


def test_a_login_is_good_on_every_replica() -> None:
    """Who logs in at one is logged in at the others, with the same token for actions, also after a restart of all."""
    clock, records = FakeClock(NOW), MemoryRecords()
    one, other = (sessions_of(clock, records=records) for _ in range(2))
    shown = one.open()
    found = other.find(shown)
    assert found is not None and found == one.find(shown)
    assert found.expires == NOW + 3600 and found.csrf not in shown


def test_a_browser_moves_between_replicas() -> None:
    """A page of one replica begins an action at another."""
    one, other = AdminFront(), AdminFront()
    browser = one.log_in()
    page = one.ask("/admin/", headers=browser).body.decode()
    token = {"X-CSRF-Token": page.partition('name="csrf" content="')[2].partition('"')[0]}
    assert other.ask("/admin/log/level?level=warn", "PUT", headers=browser).status == 403
    assert other.ask("/admin/log/level?level=warn", "PUT", headers=browser | token).status == 200


def test_logging_out_counts_everywhere() -> None:
    """A session that was ended at one replica is ended at the others as soon as they have been told."""
    clock, records = FakeClock(NOW), MemoryRecords()
    one, other = (sessions_of(clock, records=records) for _ in range(2))
    shown, second = one.open(), one.open()
    one.end(shown)
    assert one.find(shown) is None
    share(other)
    assert other.find(shown) is None and other.find(second) is not None
    late = sessions_of(clock, records=records)
    share(late)
    assert late.find(shown) is None


def test_what_has_ended_is_remembered_no_longer_than_needed() -> None:
    """After the time at which a session would have ended anyway nothing of it is kept."""
    clock, records = FakeClock(NOW), MemoryRecords()
    one = sessions_of(clock, records=records)
    one.end(one.open())
    clock.advance(3601)
    share(one)
    record = value_of(Deferred.fromCoroutine(records.get("admin-sessions/ended")))
    assert record is not None and record.value == {"ended": {}}


def test_a_store_that_fails_keeps_nobody_in_or_out() -> None:
    """While the store is down sessions go on, and one that is ended here is so here; later the others hear of it."""
    clock, records = FakeClock(NOW), UnreliableRecords(MemoryRecords())
    one, other = (sessions_of(clock, records=records) for _ in range(2))
    shown, second = one.open(), one.open()
    records.down = True
    one.end(shown)
    assert one.find(shown) is None and one.find(second) is not None
    records.down = False
    share(one)
    share(other)
    assert other.find(shown) is None


@pytest.mark.parametrize("change", ["longer", "name", "signature", "no", "dots", "long", "text", "empty"])
def test_nobody_makes_himself_a_session(change: str) -> None:
    """Whatever is changed about what a browser shows, it is no session any more."""
    sessions = sessions_of(FakeClock(NOW))
    name, expires, signature = sessions.open().split(".")
    shown = {
        "longer": f"{name}.{int(expires) + 1}.{signature}",
        "name": f"{name[1:]}.{expires}.{signature}",
        "signature": f"{name}.{expires}.{signature[:-1]}0x",
        "no": signature,
        "dots": "...",
        "long": f"{name * 20}.{expires}.{signature}",
        "text": f"{name}.{expires}.{signature}\u00e9",
        "empty": "",
    }[change]
    assert sessions.find(shown) is None


def test_a_shorter_lifetime_ends_what_lasts_longer() -> None:
    """A session that was opened under a longer lifetime is none under a shorter one."""
    clock = FakeClock(NOW)
    shown = sessions_of(clock, lifetime=90_000).open()
    assert sessions_of(clock, lifetime=3600).find(shown) is None
