"""The replicas that share a store, as each of them says now and then how it is.

Each writes a record of its own, so that none waits for another; who there is stands in one record that is seldom
written. What a replica said last stays until it was silent for a day.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError
from cachew.plumbing.together import all_of
from cachew.replicas.change import change, moment_of, said
from cachew.replicas.records import Records, escaped

BEAT = 30.0
"""Seconds between two reports of a replica."""
SILENT = 4 * BEAT
"""Seconds without a report after which a replica is taken for gone, stopped or cut off."""
_MEMBERS = "fleet/members"
_GONE = 86_400.0
_SIGN_AGAIN = 3600.0
_PATIENCE = 2.0
_TRIES = 5
_MOST = 200


@dataclass(frozen=True)
class Replica:
    """What a replica said last.

    :param name: its host and state directory.
    :param at: when, in seconds since the epoch, by its own clock.
    :param report: what it said of itself.
    """

    name: str
    at: float
    report: Mapping[str, Any]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "Replica | None":
        """Read a record; None when it is damaged."""
        name, at, report = fields.get("name"), moment_of(fields.get("at")), fields.get("report")
        if not isinstance(name, str) or at is None or not isinstance(report, dict):
            return None
        return cls(name, at, report)


class Fleet:
    """The replicas.

    :param records: where they tell each other.
    :param name: this one's name.
    :param report: returns what this one has to say of itself, of JSON's types.
    :param clock: what time it is.
    :param reactor: how long a store is waited for.
    """

    log = Logger()

    def __init__(
        self,
        *,
        records: Records,
        name: str,
        report: Callable[[], Awaitable[Mapping[str, Any]]],
        clock: Clock,
        reactor: IReactorTime,
    ) -> None:
        self._records = records
        self.name = name
        self._report = report
        self._clock = clock
        self._reactor = reactor

    async def beat(self) -> None:
        """Say how this replica is; while the store fails nobody hears it."""
        present = await self.present()
        mine = {"name": present.name, "at": present.at, "report": present.report}
        try:
            await change(self._records, _record(self.name), read=Replica.read, to=lambda *_: mine, tries=_TRIES)
            await change(self._records, _MEMBERS, read=_members, to=self._signed, tries=_TRIES)
        except CachewError as error:
            self.log.debug("the other replicas are not told how this one is: {error}", error=str(error))

    def _signed(self, members: Mapping[str, float] | None, damaged: bool) -> Mapping[str, Any] | None:
        now, known = self._clock.now(), members or {}
        if 0 <= now - known.get(self.name, float("-inf")) < _SIGN_AGAIN:
            return None
        others = {name: at for name, at in known.items() if name != self.name and now - at < _GONE}
        newest = sorted(others, key=lambda name: -others[name])[: _MOST - 1]
        return {"members": {**{name: others[name] for name in newest}, self.name: now}}

    async def present(self) -> Replica:
        """Return how this replica is now."""
        return Replica(self.name, self._clock.now(), dict(await self._report()))

    async def others(self) -> Sequence[Replica]:
        """Return what the other replicas said last, in the order of their names.

        :raise CachewError: when the store fails, or takes long.
        """
        members = said(await self._soon(self._records.get(_MEMBERS)), _members) or {}
        names = [name for name in sorted(members) if name != self.name]
        found = await all_of(self._read(name) for name in names)
        return [replica for replica in found if replica is not None and self._clock.now() - replica.at < _GONE]

    async def _read(self, name: str) -> Replica | None:
        """Return what a replica said, None when that can't be read now."""
        with suppress(CachewError):
            return said(await self._soon(self._records.get(_record(name))), Replica.read)
        return None

    async def _soon(self, work: Any) -> Any:
        try:
            return await Deferred.fromCoroutine(work).addTimeout(_PATIENCE, self._reactor)
        except DeferredTimeout:
            raise CachewError("the store that replicas share does not answer") from None


def _record(name: str) -> str:
    return f"fleet/replica/{escaped(name)}"


def _members(fields: Mapping[str, Any]) -> Mapping[str, float] | None:
    members = fields.get("members")
    if not isinstance(members, dict):
        return None
    signed = {name: moment_of(at) for name, at in members.items()}
    return {name: at for name, at in signed.items() if at is not None}
