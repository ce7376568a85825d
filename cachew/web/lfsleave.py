"""Whether leave to download LFS objects that an upstream has given would be given still.

The answer to a batch request is good for the credential that asked, for as long as any verdict is. After that the
upstream is asked again, with a batch request for the object in question and the same credential: a token that was
revoked, or a repository that was closed or removed, ends what grants are good for, however long they would last.
"""

import hmac

from cachew.mirrors.identity import Identity
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Forbidden
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.shared import Shared
from cachew.plumbing.streams import BytesSource
from cachew.upstream.client import UpstreamClient
from cachew.upstream.lfsbatch import WantedObject, allows, asking_for
from cachew.upstream.lfsdownloads import BATCH, BATCH_HEADERS, answer_to_batch
from cachew.upstream.remotes import Remotes

_ANSWER_LIMIT = 64 * 1024


class LfsLeave:
    """Remembers to which credentials leave was given lately, and asks upstreams again.

    :param client: the HTTP client.
    :param remotes: where the upstreams are.
    :param clock: what time it is.
    :param ttl: for how many seconds leave is good.
    :param key: random bytes of this process; credentials are remembered as HMAC under it.
    """

    def __init__(
        self,
        *,
        client: UpstreamClient,
        remotes: Remotes,
        clock: Clock,
        ttl: float,
        key: bytes,
    ) -> None:
        self._client, self._remotes = client, remotes
        self._clock = clock
        self._ttl = ttl
        self._secret = key
        self._given: Expiring[bytes, bool] = Expiring(clock=clock, capacity=10_000)
        self._asked: Shared[bytes, None] = Shared()

    def given(self, identity: Identity, instance: str, credential: str | None) -> None:
        """Note that an upstream has just given leave.

        :param instance: the repository's id.
        :param credential: of whom, None for whoever shows nothing.
        """
        self._given.put(self._key(identity, instance, credential), True, self._ttl)

    async def require(self, identity: Identity, instance: str, credential: str | None, wanted: WantedObject) -> None:
        """Let a download begin that its upstream would still allow.

        :param wanted: the object.
        :raise UpstreamRefused: when the upstream no longer lets this credential ask.
        :raise Forbidden: when it no longer gives leave for this object.
        :raise UpstreamError: when it can't be asked.
        """
        key = self._key(identity, instance, credential)
        if self._given.get(key):
            return
        await self._asked.run(key + wanted.oid.encode(), lambda: self._ask(identity, credential, wanted))
        self.given(identity, instance, credential)

    async def _ask(self, identity: Identity, credential: str | None, wanted: WantedObject) -> None:
        home, question = self._remotes.of(identity).url, asking_for(wanted)
        response = await self._client.forward(
            b"POST",
            f"{home}/{BATCH}",
            BATCH_HEADERS,
            BytesSource(question),
            len(question),
            credential=credential,
            written=".git",
        )
        answer = await answer_to_batch(home, response, _ANSWER_LIMIT)
        if not allows(answer, wanted, now=self._clock.now()):
            raise Forbidden("the upstream no longer lets this object be downloaded")

    def _key(self, identity: Identity, instance: str, credential: str | None) -> bytes:
        shown = "-" if credential is None else f"+{credential}"
        text = "\0".join((identity.name, instance, shown)).encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, text, "sha256")
