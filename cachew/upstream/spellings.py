"""How an upstream wants a repository's name to be written: with ``.git`` at its end, or without.

A repository has one identity here, without it. GitLab serves POST, push and LFS only below ``PATH.git`` and redirects
nothing but ``info/refs``; other hosts know only one spelling, whichever it is. What a repository was found to answer is
remembered for it, across restarts, and told to the other replicas.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError
from cachew.plumbing.keptdocument import KeptDocument
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.threads import InThread

Kind = Literal["git", "lfs"]
"""LFS is often served by something else, which may want another spelling."""

DOT_GIT = ".git"
_BOTH = ("", DOT_GIT)
_LOOK_AGAIN = 10.0
_MOST = 10_000
"""Repositories remembered; the longest unused goes first."""
_PATIENCE = 1.0
"""Seconds for which the other replicas are asked before a spelling is tried."""


class SharedSpellings(Protocol):
    """Where replicas write down what they found out; may fail with :class:`CachewError`."""

    async def read(self, name: str) -> dict[str, Any]:
        """Return what was written down of a repository's URL, nothing when nothing was."""

    async def write(self, name: str, found: dict[str, str]) -> None:
        """Write something down."""


class Spellings:
    """Remembers spellings by a repository's URL without ``.git``.

    :param fixed: what the config says of a URL, None where it is to be found out.
    :param path: the file that keeps what was found out; None keeps nothing.
    :param shared: what the other replicas found out.
    :param reactor: bounds how long they are asked.
    :param clock: tells how long ago they were asked.
    :param in_thread: runs the writing of the file.
    :param background: where it is written and told.
    """

    def __init__(
        self,
        *,
        fixed: Callable[[str], str | None],
        path: Path | None,
        shared: SharedSpellings,
        reactor: IReactorTime,
        clock: Clock,
        in_thread: InThread,
        background: Background,
    ) -> None:
        self.replace(fixed=fixed)
        self._shared = shared
        self._reactor = reactor
        self._background = background
        self._found: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._looked: Expiring[str, bool] = Expiring(clock=clock, capacity=_MOST)
        self._file = None
        if path is not None:
            self._file = KeptDocument(
                path=path,
                what="how repositories are spelled",
                content=lambda: {"spellings": dict(self._found)},
                in_thread=in_thread,
                background=background,
                clock=clock,
            )

    def replace(self, *, fixed: Callable[[str], str | None]) -> None:
        """Go by what another config says from now on."""
        self._config = fixed
        self._said: dict[str, str | None] = {}

    def _fixed(self, url: str) -> str | None:
        """Return what the config says of a URL, which is found out once."""
        if url not in self._said:
            if len(self._said) >= _MOST:
                self._said.clear()
            self._said[url] = self._config(url)
        return self._said[url]

    def load(self) -> None:
        """Read the file, if there is one."""
        if self._file is not None:
            known = self._file.load(lambda said: {url: _sound(kinds) for url, kinds in said["spellings"].items()})
            self._found = OrderedDict(known or {})

    def of(self, url: str, kind: Kind = "git", written: str = "") -> tuple[str, ...]:
        """Return what to put after a URL, in the order in which it is to be tried.

        :param written: how the client has spelled it.
        """
        fixed = self._fixed(url)
        if fixed is not None:
            return (fixed,)
        found = self._found.get(url, {})
        first = found.get(kind, written or found.get("git", ""))
        return (first, _other(first))

    def knows(self, url: str, kind: Kind = "git") -> bool:
        """Whether nothing is to be found out."""
        return self._fixed(url) is not None or kind in self._found.get(url, {})

    async def look(self, url: str) -> None:
        """Ask the other replicas, unless that was done just now."""
        if self._fixed(url) is not None or self._looked.get(url):
            return
        self._looked.put(url, True, _LOOK_AGAIN)
        looking = Deferred.fromCoroutine(self._look(url))
        with contextlib.suppress(DeferredTimeout):
            await looking.addTimeout(_PATIENCE, self._reactor)

    async def _look(self, url: str) -> None:
        with contextlib.suppress(CachewError):
            said = _sound(await self._shared.read(url))
            if said:
                self._remember(url, said | self._found.get(url, {}))

    def learn(self, url: str, kind: Kind, suffix: str) -> None:
        """Note that an upstream has just answered to a spelling."""
        if self._fixed(url) is not None or self._found.get(url, {}).get(kind) == suffix:
            return
        found = self._found.get(url, {}) | {kind: suffix}
        self._remember(url, found)
        if self._file is not None:
            self._background.start(self._tell(url, found), f"telling how {url} is spelled")
            self._file.follow()

    def _remember(self, url: str, found: dict[str, str]) -> None:
        self._found[url] = found
        self._found.move_to_end(url)
        while len(self._found) > _MOST:
            self._found.popitem(last=False)

    async def _tell(self, url: str, found: dict[str, str]) -> None:
        with contextlib.suppress(CachewError):
            await self._shared.write(url, found)


def base_of(url: str) -> tuple[str, str]:
    """Return a repository's URL without ``.git``, and what was taken away."""
    stripped = url.removesuffix(DOT_GIT)
    return stripped, url[len(stripped) :]


def _other(suffix: str) -> str:
    return "" if suffix else DOT_GIT


def _sound(said: Any) -> dict[str, str]:
    """Return what of a record can be true."""
    if not isinstance(said, dict):
        return {}
    return {kind: said[kind] for kind in ("git", "lfs") if said.get(kind) in _BOTH}
