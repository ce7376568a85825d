"""What knows which instance every repository is of now."""

import secrets
from collections.abc import Callable

from cachew.mirrors.badhours import BadHours
from cachew.mirrors.instancehistory import InstanceHistory
from cachew.mirrors.instancejournal import InstanceJournal
from cachew.mirrors.instances import Beginnings, Instances
from cachew.mirrors.sharedinstances import SharedInstances
from cachew.mirrors.voices import Voices
from cachew.plumbing.allowance import Allowance
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import Records
from cachew.replicas.sightings import Sightings
from cachew.server.runtime import Runtime
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.remotes import Remotes
from cachew.upstream.replica_verdicts import Elsewhere
from cachew.upstream.verdicts import Verdicts

_NEW_ONES = 10
"""Instances of one host that may follow on earlier ones in a minute: each new mirror takes time and space."""


def make_instances(
    runtime: Runtime,
    *,
    remotes: Remotes,
    records: Records,
    history: InstanceHistory,
    verdicts: Callable[[], Verdicts],
) -> Instances:
    """Make what knows the instances.

    :param records: what replicas share.
    :param history: what is kept of them.
    :param verdicts: gives what upstreams said of who may read.
    """
    reactor, clock = runtime.reactor, runtime.clock
    return Instances(
        journal=InstanceJournal(path=runtime.state / "instances.jsonl", in_thread=runtime.threads),
        shared=None if isinstance(records, MemoryRecords) else SharedInstances(records=records, reactor=reactor),
        voices=Voices(
            remotes=remotes if runtime.settings.access.mode == "upstream" else None,
            verdicts=verdicts,
            begin=lambda identity: history.freshness().begin(identity),
            bad_hours=BadHours(clock=clock),
        ),
        kept=history,
        beginnings=Beginnings(
            unique=lambda: secrets.token_hex(16),
            new_ones=Allowance(clock=clock, per_minute=_NEW_ONES),
            clock=clock,
        ),
        reactor=reactor,
        background=runtime.background,
    )


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
