"""What systemd is told, and how often."""

import socket
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from cachew.plumbing.metrics import Metrics
from cachew.server.watchdog import Notifier, Watchdog
from tests.fakes.clock import FakeClock


def made(clock: FakeClock, told: list[str], *, patience: float = 0.0) -> Watchdog:
    """Return one that looks at no standstill."""
    return Watchdog(
        reactor=clock, clock=clock, notify=told.append, patience=patience, stall_report=0, metrics=Metrics()
    )


@pytest.mark.parametrize("patience", [2.0, 60.0, 0.0])
def test_signs_of_life_come_well_before_patience_ends(patience: float) -> None:
    """One at once, then one each half of what systemd waits, to the end of a shutdown however long that takes."""
    clock, told = FakeClock(), list[str]()
    watchdog = made(clock, told, patience=patience)
    watchdog.start()
    watchdog.ready()
    watchdog.stopping()
    clock.pump([0.5] * 240)
    assert told[:3] == ["WATCHDOG=1", "READY=1", "STOPPING=1"]
    assert told.count("WATCHDOG=1") == pytest.approx(120 / (patience / 2 or 5), abs=2)
    watchdog.stop()
    assert not clock.getDelayedCalls()


def test_an_idle_server_is_woken_four_times_a_second_for_all_of_it() -> None:
    """Signs of life, how late it is and that it does not stand still are one beat, in time for the shortest of them."""
    clock, metrics = FakeClock(), Metrics()
    watchdog = Watchdog(
        reactor=clock, clock=clock, notify=list[str]().append, patience=60, stall_report=1.0, metrics=metrics
    )

    def beats() -> float:
        return metrics.registry.get_sample_value("cachew_reactor_lag_seconds_count", {"cause": "server"}) or 0

    watchdog.start()
    clock.pump([0.05] * 200)
    begun = beats()
    clock.pump([0.05] * 200)
    assert beats() - begun == pytest.approx(40, abs=6)
    assert len(clock.getDelayedCalls()) == 1
    watchdog.stop()
    assert not clock.getDelayedCalls()
    assert not metrics.registry.get_sample_value("cachew_reactor_stalls_total")


@pytest.mark.parametrize("abstract", [False, True])
def test_notifications_reach_the_socket_that_is_named(tmp_path: Path, abstract: bool) -> None:
    """By its path, or by its name in the abstract name space."""
    name = f"cachew-test-{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(f"\0{name}" if abstract else str(tmp_path / "notify"))
        Notifier(f"@{name}" if abstract else str(tmp_path / "notify"))("READY=1")
        assert receiving.recv(100) == b"READY=1"


def test_nobody_is_told_when_nobody_asks() -> None:
    """Without a socket nothing is sent, and nothing is wrong."""
    with capturedLogs() as logs:
        Notifier("")("READY=1")
    assert not logs


def test_a_socket_that_is_gone_is_told_of_once(tmp_path: Path) -> None:
    """It stops nothing and fills no log."""
    notify = Notifier(str(tmp_path / "gone"))
    with capturedLogs() as logs:
        notify("WATCHDOG=1")
        notify("WATCHDOG=1")
    assert len(logs) == 1
