"""The mirrors, the ref gate in front of them, and who may read them as their upstreams say."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from cachew.config.settings import Settings
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.commands import GitCommands
from cachew.mirrors.discovery import Discovery
from cachew.mirrors.firstclones import FirstClones
from cachew.mirrors.following import Following
from cachew.mirrors.freshness import Freshness, ref_gate
from cachew.mirrors.gatelisteners import GateListeners
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.instancehistory import InstanceHistory
from cachew.mirrors.instances import Instances
from cachew.mirrors.listings import Listings
from cachew.mirrors.mirroring import Mirroring, MirrorRoom
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.packindex import OpenIndexes
from cachew.mirrors.quota import MirrorBounds
from cachew.mirrors.refknowledge import MirroredListings
from cachew.mirrors.resources import MirrorListeners, MirrorResources
from cachew.mirrors.staleness import Staleness
from cachew.mirrors.succession import Succession
from cachew.mirrors.tidying import Tidying
from cachew.mirrors.usage import MirrorUsage
from cachew.mirrors.wants import Supply
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.errors import UpstreamError
from cachew.replicas.records import Records
from cachew.server.gitparts import make_git, make_indexes
from cachew.server.instanceparts import make_instances, make_public_record
from cachew.server.places import Places
from cachew.server.runtime import Runtime
from cachew.snapshots.seed import Seeder
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.listing import Listing
from cachew.upstream.presented_credential import ClientsOwn, ServersOwn, ShownCredentials
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.remotes import Remotes
from cachew.upstream.verdictmemory import UpstreamChanges, VerdictTerms
from cachew.upstream.verdicts import Verdicts


@dataclass(frozen=True, kw_only=True)
class MirrorParts:
    """The mirrors and what is asked about their upstreams.

    :param instances: knows which instance every repository is of now.
    :param collection: the mirrors themselves.
    :param root: where they lie.
    :param mirroring: has more made when they are asked for.
    :param discovery: finds those on disk at the start.
    :param succession: knows those of instances that have ended.
    :param freshness: the ref gate.
    :param supply: brings what clients want into mirrors.
    :param verdicts: what upstreams said of who may read.
    :param public: what was public lately.
    :param presented: whose credential upstreams are shown.
    :param staleness: compares mirrors with their upstreams on behalf of nobody in particular.
    :param usage: remembers when mirrors were asked for.
    :param tidying: forgets mirrors that are not used.
    :param indexes: the mirrors' pack indexes that are open.
    :param forget: gives up all that is kept of a repository.
    :param listings: the ref listings that are at hand.
    :param changes: which upstreams have changed since they were asked.
    :param follow: has them follow other settings.
    """

    instances: Instances
    collection: Mirrors
    root: MirrorRoot
    mirroring: Mirroring
    discovery: Discovery
    succession: Succession
    freshness: Freshness
    supply: Supply
    verdicts: Verdicts
    public: PublicRecord
    presented: ClientsOwn | ServersOwn
    staleness: Staleness
    usage: MirrorUsage
    tidying: Tidying
    forget: Callable[[Identity], Coroutine[Any, Any, None]]
    indexes: OpenIndexes
    listings: Listings
    changes: UpstreamChanges
    follow: Callable[[Settings], None]


def make_mirrors(
    runtime: Runtime,
    *,
    remotes: Remotes,
    posts: AuthenticatedPosts,
    commands: GitCommands,
    places: Places,
    records: Records,
    seeder: Seeder,
    withdraw: Callable[[str, float], Coroutine[Any, Any, None]],
    withdraw_instance: Callable[[Instance], Coroutine[Any, Any, None]],
    grown: Callable[[Identity], None],
    on_changed: Callable[[Identity], object],
    on_asked: Callable[[Identity, Listing | UpstreamError], object],
) -> MirrorParts:
    """Make the mirrors.

    :param remotes: the ways to upstreams.
    :param posts: ask them with the server's own credentials.
    :param records: what replicas share.
    :param seeder: fills new mirrors from mirror snapshots.
    :param withdraw_instance: removes what was made of an instance that has ended.
    :param grown: told of each mirror that has fetched something.
    :param on_changed: told of repositories of which people see something else than before.
    :param on_asked: told what upstreams say of their refs.
    :param withdraw: removes what was made of a repository since a moment, because its mirror was damaged.
    """
    settings = runtime.settings
    listings = Listings(limit=settings.limits.listings)
    changes = UpstreamChanges()
    indexes = make_indexes(runtime)
    instances = make_instances(
        runtime,
        remotes=remotes,
        records=records,
        history=InstanceHistory(
            succession=lambda: succession,
            freshness=lambda: freshness,
            withdraw=withdraw_instance,
            background=runtime.background,
        ),
        verdicts=lambda: verdicts,
    )

    def has_grown(identity: Identity) -> None:
        tidying.grown(identity)
        grown(identity)

    def forgotten(identity: Identity) -> None:
        freshness.forget(identity)
        tidying.forget(identity)
        usage.forget(identity)

    def damaged(identity: Identity, since: float) -> None:
        runtime.background.start(withdraw(identity.name, since), f"withdrawal of {identity.name}")
        mirroring.lost(identity)

    def made(identity: Identity) -> None:
        if (mirror := collection.ready(identity)) is not None:
            mirror.maintenance.index_behind()

    root = MirrorRoot(path=runtime.state / "mirrors", grammar=runtime.grammar)
    resources = MirrorResources(
        git=make_git(runtime, commands, places, indexes),
        reactor=runtime.reactor,
        clock=runtime.clock,
        metrics=runtime.metrics,
        listings=listings,
        background=runtime.background,
        posts=posts,
        list_refs=lambda identity: staleness.listing(identity),
        first=FirstClones(reactor=runtime.reactor),
        ref_interval=lambda: freshness.interval,
        changes=changes,
    )
    listeners = MirrorListeners(made=made, grown=has_grown, changed=on_changed, forgotten=forgotten, damaged=damaged)
    collection = Mirrors(root=root, remote=remotes.of, resources=resources, standing=instances, listeners=listeners)
    succession = Succession(mirrors=collection, clock=runtime.clock)
    discovery = Discovery(mirrors=collection, root=root, threads=runtime.threads)
    mirroring = Mirroring(
        mirrors=collection,
        discovery=discovery,
        resources=resources,
        listeners=listeners,
        slots=places.cloning,
        room=MirrorRoom(path=root.path, threads=runtime.threads, least=settings.limits.min_free),
        seed=seeder.restore,
    )
    following = Following(mirrors=collection, background=runtime.background)
    public = make_public_record(runtime, records)
    verdicts = Verdicts(
        reactor=runtime.reactor,
        clock=runtime.clock,
        probe=lambda identity, authorization: freshness.probe(identity, authorization),
        public=public,
        terms=VerdictTerms(allow=settings.access.auth_ttl),
        eras=instances,
        changes=changes,
    )

    usage = MirrorUsage(
        mirrors=collection, file=runtime.state / "used.json", threads=runtime.threads, clock=runtime.clock
    )
    mirrored = MirroredListings(ready=collection.ready)
    presented = _presented(runtime, remotes, mirrored)
    freshness = ref_gate(
        remotes=remotes,
        clock=runtime.clock,
        interval=settings.git.ref_check_interval,
        metrics=runtime.metrics,
        mirrored=mirrored,
        listings=listings,
        listeners=GateListeners(
            instances=instances,
            listing=(usage.checked, following.listed),
            part=following.listed_in_part,
            verdict=verdicts.memory.record,
            asked=on_asked,
        ),
        presented=ShownCredentials(to_check=presented.to_check, to_read=presented.to_read),
        changes=changes,
    )
    staleness = Staleness(
        freshness=freshness,
        mirrors=collection,
        mirroring=mirroring,
        remotes=remotes,
        background=runtime.background,
        is_public=instances.is_public,
        clock=runtime.clock,
    )
    tidying = Tidying(
        mirrors=collection,
        succession=succession,
        usage=usage,
        threads=runtime.threads,
        background=runtime.background,
        clock=runtime.clock,
        bounds=_bounds(settings),
    )

    async def forget(identity: Identity) -> None:
        try:
            await instances.end(identity)
        finally:
            await collection.forget(identity)

    def follow(new: Settings) -> None:
        freshness.keep_for(new.git.ref_check_interval)
        tidying.replace(_bounds(new))

    return MirrorParts(
        instances=instances,
        forget=forget,
        collection=collection,
        root=root,
        mirroring=mirroring,
        discovery=discovery,
        succession=succession,
        freshness=freshness,
        supply=Supply(
            freshness=freshness,
            reactor=runtime.reactor,
            wait=settings.git.fetch_wait,
            allowance=Allowance(clock=runtime.clock, per_minute=settings.limits.ids_per_minute),
        ),
        verdicts=verdicts,
        public=public,
        presented=presented,
        staleness=staleness,
        usage=usage,
        tidying=tidying,
        indexes=indexes,
        listings=listings,
        changes=changes,
        follow=follow,
    )


def _bounds(settings: Settings) -> MirrorBounds:
    return MirrorBounds(limit=settings.git.mirror_limit, forget_after=settings.git.forget_after)


def _presented(runtime: Runtime, remotes: Remotes, mirrored: MirroredListings) -> ClientsOwn | ServersOwn:
    if runtime.settings.access.mode == "trusted-network":
        return ServersOwn(own=remotes.authorization)
    return ClientsOwn(own=remotes.authorization, mirrored=mirrored.serves)
