"""How objects that a client wants come into a mirror that does not have them yet.

All who want something join the one fetch in flight. When none is, the refs are asked for first, because what a client
wants is nearly always the tip of one; only what no ref brings is fetched by its id.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.mirrors.freshness import Answer, Freshness
from cachew.mirrors.kinds import EVERYTHING, MIRRORED_KIND, bounded, is_mirrored
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import UpstreamError, UpstreamUnreachable


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


class Supply:
    """Gets wanted objects into mirrors.

    :param freshness: the ref gate.
    :param clock: where the time limit comes from.
    :param wait: seconds that a client waits for a fetch.
    """

    def __init__(self, *, freshness: Freshness, clock: IReactorTime, wait: float) -> None:
        self._freshness, self._clock, self._wait = freshness, clock, wait

    async def missing(self, mirror: Mirror, oids: Iterable[str], authorization: str | None) -> list[str]:
        """Return those of the objects that the mirror does not have, after trying to get them.

        :param authorization: the client's own, for the ref check this may need.
        """
        missing = mirror.missing(oids)
        if not missing:
            return []
        work = Deferred.fromCoroutine(self._get(mirror, missing, authorization))
        work.addTimeout(self._wait, self._clock)
        try:
            return await work
        except DeferredTimeout:
            return mirror.missing(missing)

    async def _get(self, mirror: Mirror, missing: list[str], authorization: str | None) -> list[str]:
        if not mirror.fetching:
            try:
                await self._freshness.refs(mirror.identity, MIRRORED_KIND, authorization)
            except UpstreamError:
                return missing
        return await mirror.ensure(missing)

    async def ensure(
        self, mirror: Mirror, refs: Mapping[str, str], commits: Iterable[str], authorization: str | None
    ) -> Ensured:
        """Have the refs at the given ids (empty: at any) and the commits, asking the upstream at most once.

        :param refs: HEAD and full names; any other name is that of no ref, and resolves to nothing.
        :raise UpstreamError: when the upstream had to be asked and failed.
        """
        present = mirror.refs
        wanted = list(commits)
        if all(name in present and oid in ("", present[name]) for name, oid in refs.items()):
            missing = mirror.missing(wanted)
            if not missing:
                return Ensured({name: present[name] for name in refs})
        answer = await self._freshness.refs(mirror.identity, MIRRORED_KIND, authorization, interval=0)
        _require_fresh(answer, mirror)
        asked = {name for name in refs if name.startswith("refs/") and not is_mirrored(name)}
        others = (await self._others(mirror, asked, authorization)) if asked else {}
        known = {name: ref.oid or "" for name, ref in answer.listing.by_name.items()} | others
        resolved = {name: known.get(name, "") for name in refs}
        needed = [*wanted, *filter(None, resolved.values())]
        still = set(await self.missing(mirror, needed, authorization))
        return Ensured(resolved, tuple(oid for oid in wanted if oid in still), True)

    async def _others(self, mirror: Mirror, names: set[str], authorization: str | None) -> dict[str, str]:
        """Look up refs other than heads and tags."""
        kind = bounded(sorted(names)) or EVERYTHING
        answer = await self._freshness.refs(mirror.identity, kind, authorization, interval=0)
        _require_fresh(answer, mirror)
        return {ref.name: ref.oid or "" for ref in answer.listing.refs if ref.name in names}


def _require_fresh(answer: Answer, mirror: Mirror) -> None:
    if answer.stale:
        raise UpstreamUnreachable(mirror.upstream_url, "does not answer, so nothing could be fetched")
