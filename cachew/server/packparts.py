"""Answers of mirrors to fetches: for clients who ask, and ahead of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.jobs import Slots
from cachew.server.cacheparts import StoreParts
from cachew.server.runtime import Runtime
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.mirrorpacks import MirrorPacks, PacksOfTips
from cachew.smarthttp.preparation import Preparation

_LOWEST = 19
"""The niceness of what nobody waits for."""
_ANY_NUMBER = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PackParts:
    """Answers of mirrors.

    :param mirrored: has mirrors answer clients.
    :param preparation: makes ahead what they will ask for.
    """

    mirrored: MirrorPacks
    preparation: Preparation


def make_packs(
    runtime: Runtime, *, store: StoreParts, serving: Slots, find: Callable[[Identity], Mirror | None]
) -> PackParts:
    """Make what has mirrors answer.

    :param serving: places for git processes that serve clients.
    :param find: returns a repository's mirror, if that serves.
    """
    settings, of_tips = runtime.settings.pack_cache, PacksOfTips()
    unhurried = _backend(runtime, Slots(limit=1, queue_limit=_ANY_NUMBER), niceness=_LOWEST)
    preparation = Preparation(
        cache=store.pack_cache,
        mirrored=MirrorPacks(backend=unhurried, of_tips=of_tips),
        find=find,
        most=settings.prepare if settings.enabled else 0,
        busy=lambda: serving.waiting > 0,
        reactor=runtime.reactor,
        background=runtime.background,
    )
    return PackParts(
        mirrored=MirrorPacks(backend=_backend(runtime, serving), asked=preparation.asked, of_tips=of_tips),
        preparation=preparation,
    )


def _backend(runtime: Runtime, places: Slots, *, niceness: int = 0) -> Backend:
    search_path = runtime.environment.search_path
    return Backend(
        processes=runtime.processes,
        exec_path=Path(runtime.git.exec_path),
        slots=places,
        home=runtime.state / "home",
        search_path=search_path,
        silence=runtime.settings.git.serve_timeout,
        niceness=niceness,
    )
