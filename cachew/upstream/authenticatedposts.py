"""Posts to upstreams with the server's own credential, which is renewed once when it is refused."""

from http import HTTPStatus

from cachew.plumbing.errors import UpstreamBusy
from cachew.plumbing.streams import BytesSource, Source, owned
from cachew.upstream.client import UpstreamClient, UpstreamResponse
from cachew.upstream.credentials import Credentials
from cachew.upstream.headers import RawHeaders, media_type, retry_after
from cachew.upstream.remotes import ABOUT_CREDENTIALS, Remote

_RESULT = "application/x-git-upload-pack-result"
_FETCH = [
    (b"Content-Type", b"application/x-git-upload-pack-request"),
    (b"Accept", _RESULT.encode()),
    (b"Git-Protocol", b"version=2"),
]


class AuthenticatedPosts:
    """Posts what the server itself asks: for packs of its mirrors, for LFS objects.

    :param client: the HTTP client.
    :param credentials: the server's own.
    """

    def __init__(self, *, client: UpstreamClient, credentials: Credentials) -> None:
        self._client = client
        self._credentials = credentials

    async def post(
        self, remote: Remote, operation: str, headers: RawHeaders, question: bytes
    ) -> tuple[UpstreamResponse, str | None]:
        """Post a question.

        :param remote: where to.
        :param operation: what comes after the repository's URL, without the first slash.
        :return: the answer, and the credential that it was given to.
        :raise UpstreamError: when there is none.
        """
        own = await remote.authorization()
        answer = await self._post(remote, operation, headers, question, own)
        if own is None or answer.status not in ABOUT_CREDENTIALS:
            return answer, own
        with owned(answer.source):
            renewed = await self._credentials.renewed(remote.url, own)
        if renewed is None:
            return answer, own
        answer.source.close()
        return await self._post(remote, operation, headers, question, renewed), renewed

    async def fetch(self, remote: Remote, question: bytes) -> Source | None:
        """Return the answer to a ``fetch`` of protocol v2; whoever gets it closes it.

        :param remote: where to.
        :param question: the request's body.
        :return: None where it is not certain that it is asked for where git would ask, and answered as git would be.
        :raise UpstreamBusy: when it wants to be left alone.
        :raise UpstreamError: when there is no answer.
        """
        known = remote.capabilities
        if known is None or known.protocol != 2 or "fetch" not in known.features:
            return None
        here = remote.url.removesuffix(".git")
        if {remote.address.removesuffix(".git"), (known.base_url or remote.url).removesuffix(".git")} != {here}:
            return None
        response, _ = await self.post(remote, "git-upload-pack", _FETCH, question)
        status, asked = response.status, retry_after(response.headers)
        if status == HTTPStatus.TOO_MANY_REQUESTS or (status != HTTPStatus.OK and asked is not None):
            response.source.close()
            raise UpstreamBusy(remote.url, f"answered {status}", status=status, retry_after=asked)
        if status != HTTPStatus.OK or media_type(response.headers) != _RESULT:
            response.source.close()
            return None
        return response.source

    async def _post(
        self, remote: Remote, operation: str, headers: RawHeaders, question: bytes, credential: str | None
    ) -> UpstreamResponse:
        return await self._client.forward(
            b"POST",
            f"{remote.url}/{operation}",
            headers,
            BytesSource(question),
            len(question),
            credential=credential,
            written=".git",
        )
