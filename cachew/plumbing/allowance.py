"""What each client may take of something in a minute."""

from collections import OrderedDict
from dataclasses import dataclass

from cachew.plumbing.clock import Clock

_MINUTE = 60.0
_CLIENTS = 10_000


@dataclass
class _Balance:
    left: float
    at: float


class Allowance:
    """Gives every client so much at once, and again as much in the course of a minute.

    :param clock: fills it as seconds pass.
    :param per_minute: how much that is.
    """

    def __init__(self, *, clock: Clock, per_minute: int) -> None:
        self._clock, self._most = clock, float(per_minute)
        self._balances: OrderedDict[str, _Balance] = OrderedDict()

    def __len__(self) -> int:
        return len(self._balances)

    def take(self, client: str, count: int) -> float:
        """Take so much, if the client has it left.

        What is more than anybody ever has is taken when he has all.

        :return: 0 when it was taken, else the seconds until it can be.
        """
        now = self._clock.seconds()
        balance = self._balances.get(client) or _Balance(self._most, now)
        balance.left = min(self._most, balance.left + (now - balance.at) * self._most / _MINUTE)
        balance.at = now
        lacking = min(count, self._most) - balance.left
        if lacking <= 0:
            balance.left -= min(count, self._most)
        self._keep(client, balance)
        return max(0.0, lacking * _MINUTE / self._most)

    def _keep(self, client: str, balance: _Balance) -> None:
        self._balances[client] = balance
        self._balances.move_to_end(client)
        # Who has taken nothing for a minute has all again, as a stranger has.
        while self._balances:
            oldest = next(iter(self._balances))
            if len(self._balances) <= _CLIENTS and balance.at - self._balances[oldest].at < _MINUTE:
                return
            del self._balances[oldest]
