"""What this replica tells the others of itself, and where."""

import socket
from collections.abc import Mapping
from typing import Any

from cachew.replicas.fleet import Fleet
from cachew.server.cacheparts import StoreParts
from cachew.server.runtime import Runtime
from cachew.server.snapshotparts import SnapshotParts
from cachew.server.statusparts import StatusParts
from cachew.server.views import ViewParts
from cachew.web.traffic import HOUR, total

_MOST = 50


def make_fleet(
    runtime: Runtime, *, store: StoreParts, snapshots: SnapshotParts, status: StatusParts, views: ViewParts
) -> Fleet:
    """Make what knows the replicas.

    :param status: what is told of this one.
    """

    async def report() -> Mapping[str, Any]:
        await status.briefs.refresh()
        sums, traffic = status.briefs.sums, total(views.traffic.steps(HOUR))
        outages = [f"upstream {outage.host} does not answer: {outage.reason}" for outage in views.outages.current()]
        return {
            "version": runtime.environment.version,
            "started": status.server.started,
            "unready": status.server.unready(),
            "troubles": [*status.server.troubles(), *outages][:_MOST],
            "numbers": {
                "mirrors ready": sums.ready,
                "repositories": sums.known,
                "with an error": max(0, sums.states["error"]),
                "requests in the last hour": traffic.requests,
                "bytes from the cache": traffic.cached,
                "bytes from upstreams": traffic.relayed,
            },
            "leases": dict(list(snapshots.leases.held.items())[:_MOST]),
        }

    return Fleet(
        records=store.records,
        name=f"{socket.gethostname()}:{runtime.state}",
        report=report,
        clock=runtime.clock,
        reactor=runtime.reactor,
    )
