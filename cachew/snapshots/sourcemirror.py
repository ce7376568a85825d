"""What snapshots need of a mirror, and nothing else of it."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Protocol

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import Superseded


class SourceRefs(Protocol):
    """The refs of a mirror."""

    @property
    def head_commit(self) -> str | None:
        """The commit that HEAD names, in hex; None when HEAD is unborn or the mirror isn't ready."""

    @property
    def head_ref(self) -> str | None:
        """The ref that HEAD names, None when it is detached."""

    @property
    def by_name(self) -> Mapping[str, str]:
        """Full names of heads and tags, to object ids in hex."""

    @property
    def object_format(self) -> str:
        """``sha1`` or ``sha256``."""


class SourceLocks(Protocol):
    """What is held while one works on a mirror."""

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Hold fetches, repacks and other archives off while the block runs."""


class SourceVerification(Protocol):
    """Finds out whether a mirror is sound."""

    async def prove(self) -> Callable[[], None]:
        """Have everything in it verified before something is made of it.

        :return: what raises ``CorruptObject`` when it is not what was verified any more.
        :raise CorruptObject: when it is damaged; it is made anew then.
        """

    def doubt(self, *, serving: bool) -> None:
        """Have it looked at, because git has failed on it.

        :param serving: whether it may go on answering until then.
        """


class SourcePlace(Protocol):
    """Where a mirror lies."""

    def relinking(self) -> AbstractContextManager[None]:
        """Make or remove links to its files while the block runs (blocking)."""


class SourceMirror(Protocol):
    """A bare mirror on disk."""

    @property
    def identity(self) -> Identity:
        """The repository it mirrors."""

    @property
    def instance(self) -> Instance:
        """The instance of the repository that it is of."""

    @property
    def directory(self) -> Path:
        """The bare repository; there only while :attr:`ready`."""

    @property
    def upstream_url(self) -> str:
        """Where the repository really is, without credentials."""

    @property
    def ready(self) -> bool:
        """Whether it can be read."""

    @property
    def refs(self) -> SourceRefs:
        """Its refs."""

    @property
    def locks(self) -> SourceLocks:
        """What is held while one works on it."""

    @property
    def verification(self) -> SourceVerification:
        """Finds out whether it is sound."""

    @property
    def place(self) -> SourcePlace:
        """Where it lies."""


FindMirror = Callable[[Identity], SourceMirror | None]
"""Gives the mirror of a repository if it is ready now."""

ReadyMirror = Callable[[Identity], Awaitable[SourceMirror]]
"""Gives the mirror of a repository, made first if there is none; raises what kept it from being made."""


def require(mirror: SourceMirror, instance: Instance) -> None:
    """See that what is made of a mirror is of an instance.

    :raise Superseded: when it is of another one.
    """
    if mirror.instance != instance:
        raise Superseded(f"{instance.identity.name} has become another repository")
