"""What the pages for people remember of what goes on: events, clients, outages, traffic; and the pages themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from cachew.config.cachetiers import S3Tier
from cachew.mirrors.identity import Identity
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.clock import Clock
from cachew.plumbing.disposabledatabase import DisposableDatabase
from cachew.plumbing.happenings import Happenings
from cachew.replicas.fleet import Fleet
from cachew.server.runtime import Runtime
from cachew.server.statusparts import StatusParts
from cachew.upstream.listing import Listing
from cachew.upstream.outages import Outages
from cachew.web.access.login import AdminAccess
from cachew.web.access.policy import Policy
from cachew.web.actions import RepositoryActions
from cachew.web.app import Routes
from cachew.web.dashboard import DashboardRoutes
from cachew.web.fleetpage import FleetPage
from cachew.web.keptevents import KeptEvents
from cachew.web.loginroutes import LOGINS_PER_MINUTE, LoginRoutes
from cachew.web.pages import Pages
from cachew.web.repositorypage import RepositoryFacts, RepositoryPage
from cachew.web.trafficcounts import TrafficHistory
from cachew.web.trafficfile import TrafficFile


@dataclass(frozen=True, kw_only=True)
class ViewParts:
    """What is remembered to be shown.

    :param happenings: what happened to each repository lately.
    :param events: keeps that across restarts.
    :param outages: which upstreams do not answer.
    :param traffic: what clients were answered in the last day.
    """

    happenings: Happenings
    events: KeptEvents
    clock: Clock
    outages: Outages
    traffic: TrafficHistory

    async def load(self) -> None:
        """Recall what earlier runs knew."""
        await self.traffic.load()
        await self.events.load()

    async def save(self) -> None:
        """Write down what the next run is to know."""
        await self.traffic.save()
        await self.events.save()

    def asked(self, identity: Identity, result: object) -> None:
        """Take notice of what came of asking a repository's upstream for its refs."""
        if isinstance(result, Listing):
            # Why it failed is in the log.
            self.happenings.note(identity.name, self.clock.now(), "info", "the upstream was asked for its refs")
        self.outages.note(identity.host, result)


def make_views(runtime: Runtime) -> ViewParts:
    """Make what remembers."""
    clock, happenings = runtime.clock, runtime.environment.log.happenings
    return ViewParts(
        happenings=happenings,
        events=KeptEvents(
            happenings=happenings, database=_database(runtime, "events.sqlite", "the last events of repositories")
        ),
        clock=clock,
        outages=Outages(clock=clock),
        traffic=TrafficHistory(
            metrics=runtime.metrics,
            file=TrafficFile(database=_database(runtime, "traffic.sqlite", "the traffic of the last day")),
            clock=clock,
        ),
    )


def _database(runtime: Runtime, name: str, what: str) -> DisposableDatabase:
    return DisposableDatabase(path=runtime.state / name, threads=runtime.threads, what=what)


def make_pages(
    runtime: Runtime,
    *,
    views: ViewParts,
    status: StatusParts,
    actions: RepositoryActions,
    access: AdminAccess,
    policy: Policy,
    fleet: Fleet,
) -> Sequence[Routes]:
    """Make the pages.

    :param status: what is shown of the server.
    :param actions: what can be done with a repository.
    :param access: who may see them.
    :param policy: tells who a client is.
    :param fleet: the replicas.
    """
    pages = Pages(version=runtime.environment.version, reactor=runtime.reactor)
    return [
        DashboardRoutes(
            access=access,
            status=status.server,
            table=status.table,
            pages=pages,
            traffic=views.traffic,
            outages=views.outages.current,
        ),
        LoginRoutes(
            access=access,
            pages=pages,
            attempts=Allowance(clock=runtime.clock, per_minute=LOGINS_PER_MINUTE),
            client_of=policy.client_of,
        ),
        RepositoryPage(
            access=access,
            facts=RepositoryFacts(
                statuses=status.statuses,
                current=status.current,
                events=views.happenings.of,
                clients=status.clients.of,
                clock=runtime.clock,
            ),
            actions=actions,
            pages=pages,
            grammar=runtime.grammar,
        ),
        FleetPage(
            access=access,
            fleet=fleet,
            shared=any(isinstance(tier, S3Tier) for tier in runtime.settings.cache),
            pages=pages,
        ),
    ]
