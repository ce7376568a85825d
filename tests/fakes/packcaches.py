"""Pack caches over a directory of a test's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cachew.plumbing.clock import Clock
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.threads import InThread
from cachew.smarthttp.keptpacks import KeptPacks
from cachew.smarthttp.packcache import PackCache
from cachew.smarthttp.packplaces import PackDirectory
from cachew.smarthttp.packstore import PackStore
from tests.fakes.clock import FakeClock


def make_pack_cache(
    directory: Path,
    *,
    threads: InThread,
    limit: int | None = 1 << 20,
    min_free: int = 0,
    clock: Clock | None = None,
    free_space: Callable[[Path], int] = free_bytes,
    small: PackStore | None = None,
    **more: Any,
) -> PackCache:
    """Return a cache.

    :param small: where small packs are kept, if they aren't files.
    :param more: what the directory of the others takes.
    """
    files = PackDirectory(path=directory, threads=threads, clock=clock or FakeClock(), **more)
    kept = KeptPacks(
        stores=[files] if small is None else [files, small],
        limit=limit,
        directory=directory,
        min_free=min_free,
        threads=threads,
        free_space=free_space,
    )
    return PackCache(kept=kept, directory=directory)
