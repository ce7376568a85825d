"""The page of all replicas."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.replicas.fleet import SILENT, Fleet, Replica
from cachew.web.fleetpage import view_of
from tests.fakes.settled import value_of
from tests.web.adminfront import NOW, AdminFront


def reported(front: AdminFront, name: str, report: dict[str, Any]) -> None:
    """Have another replica say something."""

    async def told() -> dict[str, Any]:
        return report

    fleet = Fleet(records=front.records, name=name, report=told, clock=front.clock, reactor=front.clock)
    value_of(Deferred.fromCoroutine(fleet.beat()))


def test_shows_every_replica() -> None:
    """State, version, numbers and leases of all are shown, silence as such, and that versions differ."""
    front = AdminFront()
    front.clock.put_forward(NOW)
    reported(front, "gone:/s", {"version": "1.1", "started": NOW - 90})
    front.clock.put_forward(SILENT + 1)
    leases = {"checks/snapshot/git.example/org/repo": NOW}
    reported(front, "host-2:/s", {"version": "1.2", "unready": "warming up", "leases": leases, "troubles": ["<b>s3"]})
    html = front.ask("/admin/fleet", headers=front.log_in()).body.decode()
    for shown in (
        "3 replicas", "host-1:/state (this one)", "host-2:/s", "warming up", "silent", "1 lease", "&lt;b&gt;s3",
        "checks/snapshot/git.example/org/repo", "Different versions run: 1.1, 1.2", "No leases", "Mirrors ready",
    ):  # fmt: skip
        assert shown in html, shown


def test_strangers_are_led_to_the_login() -> None:
    """Who is not logged in sees nothing."""
    assert AdminFront().ask("/admin/fleet").header("Location") == "/admin/login"


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"version": 5, "unready": [], "started": "x", "troubles": {}, "numbers": [], "leases": "x"},
        {"numbers": {"a": -1, "b": "x"}, "leases": {"a": "never"}, "troubles": [7, None]},
    ],
)
def test_another_version_may_say_anything(report: dict[str, Any]) -> None:
    """What is not understood is not shown."""
    view = view_of(Replica("a", NOW, report), NOW, own=False)
    assert (view.version, view.unready, view.started, view.leases) == ("unknown", "", None, [])
    assert set(view.numbers.values()) <= {0} and set(view.troubles) <= {""}
