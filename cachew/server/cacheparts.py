"""What is kept: the cache of one tier or several, kept packs, and the records that replicas share."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from cachew.cache.debts import Debt
from cachew.cache.disk import DiskCache
from cachew.cache.diskstore import DiskStore
from cachew.cache.interface import Cache
from cachew.cache.memory import MemoryCache
from cachew.cache.presigned import Presigning
from cachew.cache.tiered import TieredCache
from cachew.config.cachetiers import CacheTier, DiskTier, MemoryTier, S3Tier
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.journal import Journal
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.threads import Threads
from cachew.replicas.completions import TaskCompletions
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import Records
from cachew.replicas.secret import SharedSecret
from cachew.replicas.tally import Tally
from cachew.server.runtime import Runtime
from cachew.smarthttp.keptpacks import KeptPacks
from cachew.smarthttp.packcache import PackCache
from cachew.smarthttp.packplaces import PackDirectory, SmallPacks

if TYPE_CHECKING:
    from cachew.cache.bucketrules import BucketRuleCheck
    from cachew.plumbing.bucket import Bucket

_SMALL_SHARE = 8
"""Small answers take no more than one in so many bytes of the kept packs."""


@dataclass(frozen=True, kw_only=True)
class StoreParts:
    """What is kept.

    :param records: what replicas share.
    :param progress: what of the schedule was done, by any replica.
    :param clones: how often repositories are cloned, from any replica.
    :param grant_secret: what grants are signed with.
    """

    cache: TieredCache
    pack_cache: PackCache
    records: Records
    progress: TaskCompletions
    clones: Tally
    grant_secret: SharedSecret


def make_store(runtime: Runtime) -> StoreParts:
    """Make what is kept."""
    settings = runtime.settings
    records = make_records(settings.cache, runtime.store_threads)
    progress = TaskCompletions(records=records, clock=runtime.clock)
    return StoreParts(
        cache=make_cache(
            settings.cache,
            state=runtime.state,
            reactor=runtime.reactor,
            clock=runtime.clock,
            threads=runtime.threads,
            store_threads=runtime.store_threads,
            background=runtime.background,
            metrics=runtime.metrics,
        ),
        pack_cache=_pack_cache(runtime),
        records=records,
        progress=progress,
        clones=Tally(what="clones", progress=progress, clock=runtime.clock),
        grant_secret=SharedSecret(
            records=records,
            name="lfs-grants",
            own=secrets.token_bytes(32),
            clock=runtime.clock,
            background=runtime.background,
        ),
    )


def _pack_cache(runtime: Runtime) -> PackCache:
    settings = runtime.settings.pack_cache
    limit = (settings.limit or None) if settings.enabled else 0
    directory = runtime.state / "packs"
    files = PackDirectory(
        path=directory,
        threads=runtime.threads,
        clock=runtime.clock,
        on_damage=runtime.metrics.damage.labels("pack").inc,
    )
    kept = KeptPacks(
        stores=[files, _small_packs(runtime, limit)] if limit != 0 else [files],
        limit=limit,
        directory=directory,
        min_free=settings.min_free,
        threads=runtime.threads,
    )
    return PackCache(kept=kept, directory=directory)


def _small_packs(runtime: Runtime, limit: int | None) -> SmallPacks:
    return SmallPacks(
        path=runtime.state / "small-packs" / "answers.sqlite",
        limit=None if limit is None else limit // _SMALL_SHARE,
        threads=runtime.threads,
        clock=runtime.clock,
        on_damage=runtime.metrics.damage.labels("pack").inc,
    )


def make_cache(
    tiers: Sequence[CacheTier],
    *,
    state: Path,
    reactor: IReactorTime,
    clock: Clock,
    threads: Threads,
    store_threads: Threads,
    background: Background,
    metrics: Metrics,
) -> TieredCache:
    """Make the cache.

    :param tiers: the config's ``[[cache]]``.
    :param state: the state directory, where a disk tier lies that names no path.
    :param threads: for files.
    :param store_threads: for object stores; threads of their own, since a store that hangs holds them.
    """
    caches = {
        f"{number}-{tier.backend}": _tier(
            tier,
            state=state,
            clock=clock,
            threads=threads,
            store_threads=store_threads,
            background=background,
            on_damage=metrics.damage.labels("object").inc,
        )
        for number, tier in enumerate(tiers, 1)
    }
    return TieredCache(
        tiers=caches,
        reactor=reactor,
        clock=clock,
        background=background,
        metrics=metrics,
        debts=_debts_file(state, threads) if len(tiers) > 1 or isinstance(tiers[-1], S3Tier) else None,
    )


def _debts_file(state: Path, threads: Threads) -> Journal[Debt]:
    return Journal(
        path=state / "cache-debts.jsonl",
        in_thread=threads,
        read=Debt.read,
        write=Debt.fields,
        lost="what was stored or removed while the last cache tier failed is not stored or removed there",
    )


def make_records(tiers: Sequence[CacheTier], store_threads: Threads) -> Records:
    """Make the records of the replicas that share the farthest object store, or of this one alone."""
    shared = [tier for tier in tiers if isinstance(tier, S3Tier)]
    if not shared:
        return MemoryRecords()
    from cachew.replicas.objectstorerecords import ObjectStoreRecords

    return ObjectStoreRecords(bucket=bucket_of(shared[-1], store_threads))


def make_bucket_checks(tiers: Sequence[CacheTier], threads: Threads, clock: Clock) -> "Sequence[BucketRuleCheck]":
    """Return what looks at the rules of each bucket whose credentials the config names.

    :param threads: for object stores.
    :param clock: what time it is.
    """
    named = [tier for tier in tiers if isinstance(tier, S3Tier) and tier.access_key and tier.secret_key]
    if not named:
        return []
    from cachew.cache.bucketrules import BucketAddress, BucketRuleCheck

    return [
        BucketRuleCheck(
            address=BucketAddress(
                bucket=tier.bucket,
                endpoint=tier.endpoint,
                region=tier.region,
                prefix=tier.prefix,
                access_key=tier.access_key.get_secret_value() if tier.access_key else "",
                secret_key=tier.secret_key.get_secret_value() if tier.secret_key else "",
                path_style=tier.path_style,
            ),
            threads=threads,
            clock=clock,
            timeout=tier.timeout,
        )
        for tier in named
    ]


def _tier(
    tier: CacheTier,
    *,
    state: Path,
    clock: Clock,
    threads: Threads,
    store_threads: Threads,
    background: Background,
    on_damage: Callable[[], object],
) -> Cache:
    if isinstance(tier, MemoryTier):
        return MemoryCache(limit=tier.limit, max_ttl=tier.max_ttl, clock=clock)
    if isinstance(tier, DiskTier):
        return DiskCache(
            store=DiskStore(directory=tier.path or state / "cache", limit=tier.limit or None, min_free=tier.min_free),
            max_ttl=tier.max_ttl,
            clock=clock,
            threads=threads,
            on_damage=on_damage,
        )
    return _object_store(tier, clock=clock, threads=store_threads, background=background)


def _object_store(tier: S3Tier, *, clock: Clock, threads: Threads, background: Background) -> Cache:
    # The library takes a tenth of a second to load, which only those need who have such a store.
    from cachew.cache.objectstore import ObjectStoreCache

    presigning = Presigning(tier.redirect, tier.redirect_from) if tier.redirect else None
    return ObjectStoreCache(
        bucket=bucket_of(tier, threads),
        max_ttl=tier.max_ttl,
        limit=tier.limit or None,
        clock=clock,
        background=background,
        presigning=presigning,
    )


def bucket_of(tier: S3Tier, threads: Threads) -> "Bucket":
    """Return the way to a tier's object store.

    :param threads: where its calls block.
    """
    from cachew.plumbing.bucket import Bucket
    from cachew.plumbing.s3store import s3_store

    described = partial(
        s3_store,
        bucket=tier.bucket,
        endpoint=tier.endpoint,
        region=tier.region,
        prefix=tier.prefix or None,
        access_key=tier.access_key.get_secret_value() if tier.access_key else None,
        secret_key=tier.secret_key.get_secret_value() if tier.secret_key else None,
        timeout=tier.timeout,
        path_style=tier.path_style,
    )
    return Bucket(store=described(), plain=described(checksums=False), threads=threads)
