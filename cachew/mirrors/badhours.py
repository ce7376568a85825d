"""Bad hours of hosts and credentials: when everything is refused, that says little about any one repository (pure).

A host that answers 404 or 401 for all it has, or a credential that was revoked, is known by this: several repositories
that used to be served are refused one after the other, and none is served in between.
"""

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Voice
from cachew.plumbing.clock import Clock

SEVERAL = 3
_WINDOW = 600.0
_MOST = 10_000


class BadHours:
    """Tells whether a host or a credential is refused everything at the moment.

    :param clock: what time it is.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._refused: dict[tuple[str, Voice], dict[Identity, float]] = {}

    def served(self, identity: Identity, voice: Voice) -> None:
        """Note that a repository was served."""
        self._refused.pop((identity.host, voice), None)

    def refused(self, identity: Identity, voice: Voice) -> list[Identity]:
        """Note that a repository was refused that used to be served.

        :return: all that were since one of the host was served to this voice, if they are several; else none.
        """
        now = self._clock.seconds()
        since = self._refused.get((identity.host, voice), {})
        since = {name: at for name, at in since.items() if now - at < _WINDOW and name != identity}
        if len(since) < _MOST:
            since[identity] = now
        self._refused[identity.host, voice] = since
        return list(since) if len(since) >= SEVERAL else []
