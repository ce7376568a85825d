"""What knows which instance every repository is of now."""

import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from cachew.mirrors.badhours import BadHours
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance, Voice
from cachew.mirrors.instancejournal import InstanceJournal
from cachew.mirrors.instances import Beginnings, Instances, Voices
from cachew.mirrors.sharedinstances import SharedInstances
from cachew.mirrors.succession import Succession
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.background import Background
from cachew.plumbing.errors import UpstreamError
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import Records
from cachew.replicas.sightings import Sightings
from cachew.server.runtime import Runtime
from cachew.upstream.listing import Listing
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.remotes import Remotes
from cachew.upstream.replica_verdicts import Elsewhere
from cachew.upstream.verdicts import Verdicts

_NEW_ONES = 10
"""Instances of one host that may follow on earlier ones in a minute: each new mirror takes time and space."""


@dataclass(frozen=True)
class Surroundings:
    """What is kept of repositories, and who is asked about them; made after what knows the instances.

    :param mirrors: gives what knows the mirrors of instances that have ended.
    :param freshness: gives the ref gate.
    :param verdicts: gives what upstreams said of who may read.
    :param withdraw: removes what was made of an instance.
    :param background: where that is done.
    """

    mirrors: Callable[[], Succession]
    freshness: Callable[[], Freshness]
    verdicts: Callable[[], Verdicts]
    withdraw: Callable[[Instance], Coroutine[Any, Any, None]]
    background: Background

    def shares(self, instance: Instance, listing: Listing) -> bool | None:
        """Whether the refs of an instance's mirror have anything that is listed; None when it has no mirror."""
        return self.mirrors().shares(instance, listing)

    def ended(self, instance: Instance) -> None:
        """Give up what is kept of an instance."""
        self.freshness().forget(instance.identity)
        self.mirrors().ended(instance)
        self.background.start(self.withdraw(instance), f"withdrawal of {instance.identity.name}")


def make_instances(runtime: Runtime, *, remotes: Remotes, records: Records, surroundings: Surroundings) -> Instances:
    """Make what knows the instances.

    :param records: what replicas share.
    """
    reactor, clock = runtime.reactor, runtime.clock
    upstreams_decide = runtime.settings.access.mode == "upstream"

    async def ask_anonymously(identity: Identity) -> None:
        verdicts = surroundings.verdicts()
        if upstreams_decide:
            await verdicts.find_out_whether_public(identity)
            if verdicts.memory.allows(identity, None):
                await surroundings.freshness().begin(identity)

    return Instances(
        journal=InstanceJournal(path=runtime.state / "instances.jsonl", in_thread=runtime.threads),
        shared=None if isinstance(records, MemoryRecords) else SharedInstances(records=records, reactor=reactor),
        voices=Voices(
            of=_voices(remotes) if upstreams_decide else _servers_own,
            ask_anonymously=ask_anonymously,
            knows=lambda identity, credential: surroundings.verdicts().memory.knows(identity, credential),
            bad_hours=BadHours(clock=clock),
        ),
        kept=surroundings,
        beginnings=Beginnings(
            unique=lambda: secrets.token_hex(16),
            new_ones=Allowance(clock=clock, per_minute=_NEW_ONES),
            clock=clock,
        ),
        reactor=reactor,
        background=runtime.background,
    )


async def _servers_own(identity: Identity, credential: str | None) -> Voice:
    """Say as whom upstreams are asked on a network whose clients are trusted."""
    return Voice.OWN


def _voices(remotes: Remotes) -> Callable[[Identity, str | None], Awaitable[Voice]]:
    async def voice_of(identity: Identity, credential: str | None) -> Voice:
        if credential is None:
            return Voice.ANONYMOUS
        try:
            own = await remotes.authorization(identity)
        except UpstreamError:
            return Voice.CLIENT
        return Voice.OWN if credential == own else Voice.CLIENT

    return voice_of


def make_public_record(runtime: Runtime, records: Records) -> PublicRecord:
    """Make what remembers which repositories are public."""
    grace = runtime.settings.access.public_grace
    return PublicRecord(
        path=runtime.state / "public.json",
        clock=runtime.clock,
        grace=grace,
        in_thread=runtime.threads,
        background=runtime.background,
        elsewhere=Elsewhere(
            sightings=Sightings(what="public", records=records, clock=runtime.clock),
            clock=runtime.clock,
            grace=grace,
            background=runtime.background,
        ),
    )
