"""Which upstreams do not answer, since when and why, as the questions for refs that were asked tell."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamError, UpstreamRefused

_MOST = 1000


@dataclass(frozen=True)
class Outage:
    """An upstream that does not answer.

    :param host: which.
    :param since: when it failed first after it had answered, in seconds since the epoch.
    :param asked: when it was asked last.
    :param reason: what came of that.
    """

    host: str
    since: float
    asked: float
    reason: str


class Outages:
    """Remembers them until they answer.

    :param clock: tells the time of day.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Outage] = OrderedDict()

    def note(self, host: str, result: object) -> None:
        """Take notice of what came of a question; a refusal is an answer."""
        if not isinstance(result, UpstreamError) or isinstance(result, UpstreamRefused):
            self._known.pop(host, None)
            return
        now = self._clock.now()
        known = self._known.get(host) or Outage(host, now, now, "")
        self._known[host] = replace(known, asked=now, reason=str(result))
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def current(self) -> Sequence[Outage]:
        """Return those that last, the longest first."""
        return sorted(self._known.values(), key=lambda outage: outage.since)
