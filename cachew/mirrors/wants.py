"""How objects that a client wants come into a mirror that does not have them yet.

All who want something join the one fetch in flight. When none is, the refs are asked for first, because what a client
wants is nearly always the tip of one; only what no ref brings is fetched by its id, in a lane of its own and within
what one client may ask for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.mirrors.byid import Told
from cachew.mirrors.freshness import Answer, Freshness
from cachew.mirrors.kinds import EVERYTHING, MIRRORED_KIND, bounded, is_mirrored
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.errors import CachewError, TooMany, TooOften, UpstreamError, UpstreamTimeout, UpstreamUnreachable

MOST_IDS = 1000
"""Objects that one request may ask for by their ids."""
_PATIENCE = 20
"""How many times as long as others those wait for a fetch who can't be answered otherwise."""
_BASES = 4
"""Objects of a client that are tried, the first that it names, which are its newest."""
_BASE_WAIT = 5.0
"""Seconds that they may take: without them more is sent, and nothing else is lost."""


@dataclass(frozen=True)
class Ensured:
    """What ``ensure-refs`` found.

    :param refs: each requested ref with its object id, empty when there is no such ref.
    :param missing_commits: the requested commits that are nowhere to be had.
    :param fetched: whether the upstream was asked.
    """

    refs: Mapping[str, str] = field(default_factory=dict)
    missing_commits: tuple[str, ...] = ()
    fetched: bool = False


@dataclass(frozen=True)
class Asker:
    """Who wants something.

    :param client: the client's address.
    :param authorization: its own credential, for the ref check that this may need.
    """

    client: str
    authorization: str | None = field(default=None, repr=False)


class Supply:
    """Gets wanted objects into mirrors.

    :param freshness: the ref gate.
    :param reactor: bounds the wait.
    :param wait: seconds that a client waits for a fetch.
    :param allowance: how many objects one client may have fetched by their ids.
    """

    def __init__(self, *, freshness: Freshness, reactor: IReactorTime, wait: float, allowance: Allowance) -> None:
        self._freshness = freshness
        self._reactor = reactor
        self._wait = wait
        self._allowance = allowance

    async def missing(self, mirror: Mirror, oids: Sequence[str], asker: Asker, *, patient: bool = False) -> list[str]:
        """Return those of the objects that the mirror does not have, after trying to get them.

        What is more than a client may have fetched is not tried: his own request is then the upstream's.

        :param patient: whether what the upstream lists is waited for as long as the mirror is brought there.
        :raise TooMany: when it is more than one request may ask for, and no ref leads there.
        """
        missing = await mirror.objects.lacking(oids)
        try:
            for _ in range(_PATIENCE if patient else 1):
                missing = await self._get_in_time(mirror, missing, asker)
                if not missing or not mirror.updates.under_way or any(self._unlisted(mirror, missing)):
                    break
            return missing
        except TooOften:
            return missing
        except TooMany:
            # Whoever mirrors every ref there is asks for what the upstream lists; of very many it is not known what.
            many = self._freshness.mirrored.has_many(mirror.identity)
            if not many and _too_many(self._unlisted(mirror, missing)):
                raise
            return missing

    async def bring_base(self, mirror: Mirror, had: Sequence[str], asker: Asker) -> None:
        """Get some of what a client has where the mirror knows nothing of it, or all would be sent to it once more.

        So it is with a workspace that has a pull request's merge commit alone, from elsewhere than this mirror.

        :param had: the client's objects.
        """
        if not had or len(await mirror.objects.lacking(had)) < len(had):
            return
        if self._freshness.known.failure(mirror.identity) is not None:
            return
        tried = Deferred.fromCoroutine(self._try_base(mirror, had[:_BASES], asker))
        with suppress(DeferredTimeout, TooOften, OSError):
            await tried.addTimeout(min(self._wait, _BASE_WAIT), self._reactor)

    async def _try_base(self, mirror: Mirror, oids: Sequence[str], asker: Asker) -> None:
        self._charge(mirror, oids, asker)
        await mirror.wanted.ensure(oids, asker.client)

    def _unlisted(self, mirror: Mirror, oids: Iterable[str]) -> Iterator[str]:
        return self._freshness.known.unlisted(mirror.identity, oids)

    async def _get_in_time(
        self, mirror: Mirror, missing: list[str], asker: Asker, told: Told = lambda failure: None
    ) -> list[str]:
        if not missing:
            return []
        work = Deferred.fromCoroutine(self._get(mirror, missing, asker, told))
        work.addTimeout(self._wait, self._reactor)
        try:
            return await work
        except DeferredTimeout:
            what = f"what was asked for has not come within {self._wait:g} seconds"
            told(UpstreamTimeout(mirror.upstream_url, what))
            return await mirror.objects.lacking(missing)

    async def _get(self, mirror: Mirror, missing: list[str], asker: Asker, told: Told) -> list[str]:
        if not mirror.updates.under_way and not self._freshness.mirrored.has_many(mirror.identity):
            try:
                await self._freshness.refs(mirror.identity, MIRRORED_KIND, asker.authorization)
            except UpstreamError as error:
                told(error)
                return missing
        await mirror.updates.followed()
        missing = await mirror.objects.lacking(missing)
        self._charge(mirror, missing, asker)
        return await mirror.wanted.ensure(missing, asker.client, told)

    def _charge(self, mirror: Mirror, missing: Iterable[str], asker: Asker) -> None:
        """Count what is asked for by its id alone.

        :raise TooMany: when that is more than one request may ask for.
        :raise TooOften: when it is more than the client may.
        """
        known = self._freshness.known.listing(mirror.identity)
        listed: Set[str] = frozenset() if known is None else known.oids()
        alone = (oid for oid in missing if oid not in listed and not mirror.wanted.asked_for(oid))
        charged = list(islice(alone, MOST_IDS + 1))
        if len(charged) > MOST_IDS:
            raise TooMany(f"no more than {MOST_IDS} objects may be asked for by their ids in one request")
        wait = self._allowance.take(asker.client, len(charged))
        if wait:
            message = (
                f"{asker.client} has asked for too many objects of repositories by their ids; in {wait:.0f} s again"
            )
            raise TooOften(message, wait)

    async def ensure(self, mirror: Mirror, refs: Mapping[str, str], commits: Iterable[str], asker: Asker) -> Ensured:
        """Have the refs at the given ids (empty: where they are) and the commits, asking the upstream at most once.

        Where nothing is missing, a ref that may be anywhere is where the ref gate has it.

        :param refs: HEAD and full names; any other name is that of no ref, and resolves to nothing.
        :raise UpstreamError: when the upstream had to be asked and failed, or nothing has come in time.
        :raise TooOften: when the client asks for more objects by their ids than it may.
        """
        present, wanted = mirror.refs.by_name, list(commits)
        answer = await self._lists_more(mirror, refs, wanted, asker)
        if answer is None:
            return Ensured({name: oid or present[name] for name, oid in refs.items()})
        asked = {name for name in refs if name.startswith("refs/") and not is_mirrored(name)}
        others = (await self._others(mirror, asked, asker)) if asked else {}
        listed = answer.listing.by_name
        known = {name: listed[name].oid or "" for name in refs if name in listed} | others
        resolved = {name: known.get(name, "") for name in refs}
        needed = [*wanted, *filter(None, resolved.values())]
        failures: list[CachewError] = []
        still = set(await self._get_in_time(mirror, mirror.objects.missing(needed), asker, failures.append))
        if still and failures:
            raise failures[0]
        await self._moved(mirror, resolved)
        if late := [name for name, oid in resolved.items() if oid in still]:
            # The upstream has just listed it, so it is not for want of it.
            raise UpstreamUnreachable(mirror.upstream_url, f"what {late[0]} leads to could not be fetched")
        return Ensured(resolved, tuple(oid for oid in wanted if oid in still), True)

    async def _lists_more(
        self, mirror: Mirror, refs: Mapping[str, str], wanted: Sequence[str], asker: Asker
    ) -> Answer | None:
        """Return what the upstream lists, None where the mirror has all that is needed.

        :raise UpstreamError: when the upstream had to be asked and failed.
        """
        present = mirror.refs.by_name
        if mirror.objects.missing(wanted) or not all(
            name in present and oid in ("", present[name]) for name, oid in refs.items()
        ):
            answer = await self._freshness.refs(mirror.identity, MIRRORED_KIND, asker.authorization, interval=0)
            _require_fresh(answer, mirror)
            return answer
        anywhere = [name for name, oid in refs.items() if not oid]
        if not anywhere:
            return None
        answer = await self._freshness.answer(mirror.identity, tuple(sorted(refs)), asker.authorization)
        listed = answer.listing.by_name
        level = all(name in listed and listed[name].oid == present[name] for name in anywhere)
        return None if answer.stale or level else answer

    async def _moved(self, mirror: Mirror, resolved: Mapping[str, str]) -> None:
        """Wait until a mirror's refs are where they were found, if they are being moved: who asks next is told so."""
        refs = mirror.refs.by_name
        found = {name: oid for name, oid in resolved.items() if name != "HEAD" and is_mirrored(name)}
        if mirror.updates.under_way and any(refs.get(name, "") != oid for name, oid in found.items()):
            following = Deferred.fromCoroutine(mirror.updates.followed())
            with suppress(DeferredTimeout):
                await following.addTimeout(self._wait, self._reactor)

    async def _others(self, mirror: Mirror, names: set[str], asker: Asker) -> dict[str, str]:
        """Look up refs other than heads and tags."""
        kind = bounded(sorted(names)) or EVERYTHING
        answer = await self._freshness.refs(mirror.identity, kind, asker.authorization, interval=0)
        _require_fresh(answer, mirror)
        return {ref.name: ref.oid or "" for ref in answer.listing.refs if ref.name in names}


def _too_many(oids: Iterator[str]) -> bool:
    return next(islice(oids, MOST_IDS, None), None) is not None


def _require_fresh(answer: Answer, mirror: Mirror) -> None:
    if answer.stale:
        raise UpstreamUnreachable(mirror.upstream_url, "does not answer, so nothing could be fetched")
