"""What is fetched ahead, made out of the settings."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from twisted.application.service import IService

from cachew.config.credentialkinds import GitHubAppCredential
from cachew.config.grammar import forge_of
from cachew.config.namepatterns import NamePattern, is_pattern, pattern_of
from cachew.config.settings import PrefetchSettings, Settings
from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import UnknownPath
from cachew.plumbing.periodic import Periodic
from cachew.server.prefetch import NamedByPattern, Prefetch
from cachew.server.runtime import Runtime
from cachew.server.upstreamparts import UpstreamParts
from cachew.upstream.forges import Forge, forge_at
from cachew.upstream.hosts import origin


def make_prefetching(
    runtime: Runtime,
    *,
    upstream: UpstreamParts,
    bring: Callable[[Identity], Awaitable[object]],
    used: Callable[[Identity], object],
) -> Iterator[IService]:
    """Yield a job for each ``[[prefetch]]``.

    :param bring: see :class:`Prefetch`, as the following.
    """

    async def listed(pattern: NamePattern, most: int) -> Sequence[str]:
        forge = forge_for(runtime.in_force.now, pattern.host)
        return await upstream.forges.repositories(forge, pattern.owner, most=most, below=pattern.below)

    def patterns(group: PrefetchSettings) -> Iterator[NamedByPattern]:
        for name in filter(is_pattern, group.repositories):
            yield NamedByPattern(
                pattern=pattern_of(name), listed=listed, identity_of=runtime.grammar.from_decoded, most=group.most
            )

    for group in runtime.settings.prefetch:
        prefetch = Prefetch(
            repositories=[runtime.grammar.from_decoded(name) for name in group.repositories if not is_pattern(name)],
            patterns=list(patterns(group)),
            bring=bring,
            used=used,
            at_once=max(1, runtime.settings.git.max_clones // 2),
        )
        yield Periodic(name="prefetch", interval=group.interval, work=prefetch.turn, reactor=runtime.reactor, now=True)


def forge_for(settings: Settings, host: str) -> Forge:
    """Return the forge that a host is; the API of a GitHub App for the same place is its own.

    :raise UnknownPath: when it is not told whose API the host has.
    """
    kind = forge_of(settings.upstreams, host)
    if kind is None:
        raise UnknownPath(f'it is not known whose API {host} has: upstreams."{host}".forge')
    upstream = settings.upstreams.get(host)
    forge = forge_at(kind, (upstream and upstream.url) or f"https://{host}")
    for one in settings.credentials:
        if isinstance(one, GitHubAppCredential) and origin(one.url_prefix) == origin(forge.home):
            return Forge(forge.kind, forge.home, one.api_url.rstrip("/"))
    return forge
