"""What tells those outside how the server is: systemd by notifications, and the log when the reactor stands still.

See sd_notify(3) and sd_watchdog_enabled(3): datagrams of ``NAME=VALUE`` lines to the socket that the environment names.
It goes on being told that the server lives until the very end, because a shutdown may take longer than that waits.
"""

import socket
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from cachew.plumbing.clock import Clock
from cachew.plumbing.lag import LagWatch
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.stalls import StallWatch

_ALIVE = 5.0
"""Seconds between two signs of life where systemd says none of its own."""
_IN_TIME = 0.5
"""The part of systemd's patience after which it is told again, as sd_watchdog_enabled(3) recommends."""

Notify = Callable[[str], object]


class Notifier:
    """Sends notifications to systemd.

    :param address: the socket's path, with ``@`` before an abstract name; empty when nobody wants to be told.
    """

    log = Logger()

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = False

    def __call__(self, state: str) -> None:
        """Tell a state, e.g. ``READY=1``."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.setblocking(False)
                sending.sendto(state.encode(), self._address)
        except OSError as error:
            if not self._failed:
                self.log.warn("can't tell systemd {state}: {error}", state=state, error=str(error))
            self._failed = True


class Watchdog:
    """Says that the server lives, how late it is, and where it stands when it stands still: all of it at one beat.

    :param reactor: gives the turns.
    :param clock: tells how long the reactor has stood still.
    :param notify: tells systemd.
    :param patience: seconds after which systemd takes the server for dead without a sign; 0: it has not said.
    :param stall_report: seconds that the reactor may stand still before the log says where; 0: it never does.
    :param metrics: counts standstills and how late the reactor was.
    """

    log = Logger()

    def __init__(
        self, *, reactor: Any, clock: Clock, notify: Notify, patience: float, stall_report: float, metrics: Metrics
    ) -> None:
        self._reactor = reactor
        self._notify = notify
        self._metrics = metrics
        self._alive = patience * _IN_TIME if patience else _ALIVE
        self._stalls = StallWatch(longest=stall_report, tell=self._stands, clock=clock) if stall_report else None
        self._pulse = LagWatch(
            reactor=reactor,
            observe=self._turn,
            longest_pause=min(self._alive, self._stalls.pause if self._stalls else self._alive),
        )
        self._beats = False
        self._next_sign = 0.0

    def start(self) -> None:
        """Begin; to be called in the reactor's thread, once it runs."""
        if self._stalls is not None:
            self._stalls.start()
        self._live()
        self._beats = True
        self._pulse.start()

    def ready(self) -> None:
        """The server may be sent requests."""
        self._notify("READY=1")

    def stopping(self) -> None:
        """The server goes."""
        self._notify("STOPPING=1")

    def stop(self) -> None:
        """End."""
        if self._beats:
            self._beats = False
            self._pulse.stop()
        if self._stalls is not None:
            self._stalls.stop()

    def _turn(self, waited: float, own: float) -> None:
        self._metrics.note_reactor_lag(waited, own)
        self._live()

    def _live(self) -> None:
        if self._stalls is not None:
            self._stalls.beat()
        now = self._reactor.seconds()
        if now >= self._next_sign:
            self._next_sign = now + self._alive
            self._notify("WATCHDOG=1")

    def _stands(self, seconds: float, place: str) -> None:
        self._metrics.stalls.inc()
        self.log.error(
            "everybody waits: the reactor has stood still for {seconds:.1f} s at {place}", seconds=seconds, place=place
        )
