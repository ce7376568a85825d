"""What those see and do who look after the server."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachew.mirrors.usage import RepositoryClients
from cachew.server.cacheparts import StoreParts
from cachew.server.mirrorparts import MirrorParts
from cachew.server.places import Places
from cachew.server.runtime import Runtime
from cachew.server.shell import Shell
from cachew.server.snapshotparts import SnapshotParts
from cachew.server.upstreamparts import UpstreamParts
from cachew.web.actions import RepositoryWork
from cachew.web.archivestatus import ArchiveStatuses
from cachew.web.currentwork import CurrentWork
from cachew.web.pushnotices import PushNotices
from cachew.web.repositorylist import RepositoryList
from cachew.web.repositorytable import RepositoryTable
from cachew.web.status import ServerStatus
from cachew.web.statuses import Statuses
from cachew.web.storecounts import StoreCounts
from cachew.web.upstreamchecks import UpstreamChecks


@dataclass(frozen=True, kw_only=True)
class StatusParts:
    """What is seen of the server, and done.

    :param server: it as a whole.
    :param stores: how full they are.
    :param current: what is done at the moment.
    :param briefs: all repositories in brief.
    :param statuses: each of them.
    :param table: all of them.
    :param checks: when upstreams were asked.
    :param work: what can be done with one.
    :param pushes: what a push elsewhere means.
    :param clients: who asks for each.
    """

    server: ServerStatus
    stores: StoreCounts
    current: CurrentWork
    briefs: RepositoryList
    statuses: Statuses
    table: RepositoryTable
    checks: UpstreamChecks
    work: RepositoryWork
    pushes: PushNotices
    clients: RepositoryClients


def make_status(
    runtime: Runtime,
    *,
    upstream: UpstreamParts,
    store: StoreParts,
    mirrors: MirrorParts,
    snapshots: SnapshotParts,
    places: Places,
    unready: Callable[[], str],
) -> StatusParts:
    """Make it.

    :param unready: why no traffic should be sent here.
    """
    stores = StoreCounts(
        cache=store.cache, packs=store.pack_cache.kept, background=runtime.background, reactor=runtime.reactor
    )
    current = CurrentWork(places=places.by_kind(), background=runtime.background, clock=runtime.clock)
    briefs = RepositoryList(
        mirrors=mirrors.collection, freshness=mirrors.freshness, usage=mirrors.usage, reactor=runtime.reactor
    )
    checks = UpstreamChecks(freshness=mirrors.freshness, usage=mirrors.usage, clock=runtime.clock)
    statuses = Statuses(
        mirrors=mirrors.collection,
        freshness=mirrors.freshness,
        checks=checks,
        archives=ArchiveStatuses(
            snapshots=snapshots.archives,
            bundles=snapshots.bundle_store,
            packs=store.pack_cache.kept,
            reactor=runtime.reactor,
        ),
        usage=mirrors.usage,
        clones=store.clones,
        background=runtime.background,
    )
    return StatusParts(
        server=ServerStatus(
            unready=unready,
            cache=store.cache,
            stores=stores,
            work=current,
            metrics=runtime.metrics,
            clock=runtime.clock,
        ),
        stores=stores,
        current=current,
        briefs=briefs,
        statuses=statuses,
        table=RepositoryTable(mirrors=mirrors.collection, briefs=briefs, statuses=statuses, reactor=runtime.reactor),
        checks=checks,
        work=RepositoryWork(
            mirrors=mirrors.collection,
            mirroring=mirrors.mirroring,
            background=runtime.background,
            fetch=mirrors.staleness.fetch,
            make=snapshots.archives.make,
            forget=mirrors.forget,
            keeps=mirrors.instances.keeps,
        ),
        pushes=PushNotices(
            mirrors=mirrors.collection,
            freshness=mirrors.freshness,
            background=runtime.background,
            fetch=mirrors.staleness.fetch,
            url_of=upstream.remotes.home,
            reactor=runtime.reactor,
        ),
        clients=mirrors.usage.clients,
    )


def shell_names(
    runtime: Runtime, *, store: StoreParts, mirrors: MirrorParts, snapshots: SnapshotParts, status: StatusParts
) -> dict[str, Any]:
    """Return what can be named in the shell."""
    functions = Shell(
        statuses=status.statuses,
        table=status.table,
        work=status.work,
        stores=status.stores,
        leases=snapshots.leases,
        grammar=runtime.grammar,
        clock=runtime.clock,
    )
    return {
        **functions.names(),
        "mirrors": mirrors.collection,
        "status": status.server,
        "cache": store.cache,
        "pack_cache": store.pack_cache,
        "snapshots": snapshots.archives,
        "freshness": mirrors.freshness,
        "metrics": runtime.metrics,
        "runtime": runtime,
    }
