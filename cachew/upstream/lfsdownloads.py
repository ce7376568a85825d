"""The server's own downloads of LFS objects, for what it makes of mirrors.

They go the way of everything that clients have passed on: in the spelling that a repository's upstream answers, through
its proxy, under this server's name, with each address and each redirect judged before anything is asked of it.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamBusy, UpstreamRefused, UpstreamUnreachable
from cachew.plumbing.streams import Source, owned, read_all, read_start
from cachew.plumbing.together import all_of
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.client import UpstreamClient, UpstreamResponse
from cachew.upstream.headers import of_refusal, retry_after
from cachew.upstream.lfsbatch import MEDIA_TYPE, LfsDownload, WantedObject, asking_for, downloads_in
from cachew.upstream.lfscontent import Verified
from cachew.upstream.remotes import LocatedRepository, Remote, Remotes

BATCH = "info/lfs/objects/batch"
BATCH_HEADERS = [(b"Accept", MEDIA_TYPE.encode()), (b"Content-Type", MEDIA_TYPE.encode())]
_TOGETHER = 100
"""Objects in one batch request, as many as git-lfs puts into one."""
_AT_ONCE = 4
"""Downloads for one repository."""
_ANSWER_LIMIT = 16 * 1024 * 1024
_REFUSAL_TEXT = 4096

Keep = Callable[[WantedObject, Source], Awaitable[None]]
"""Takes an object, whose source ends only when it is what its id says."""


class LfsDownloads:
    """Downloads objects with the server's own credentials.

    :param client: the HTTP client.
    :param remotes: where upstreams are.
    :param posts: ask them, with the server's own credentials.
    :param clock: what time it is.
    """

    def __init__(self, *, client: UpstreamClient, remotes: Remotes, posts: AuthenticatedPosts, clock: Clock) -> None:
        self._client = client
        self._remotes = remotes
        self._posts = posts
        self._clock = clock

    async def fetch(self, repository: LocatedRepository, wanted: Sequence[WantedObject], keep: Keep) -> None:
        """Download objects.

        :param wanted: which.
        :param keep: is handed each of them; a few at a time.
        :raise UpstreamError: when one of them isn't to be had.
        :raise CorruptObject: when one is not what its id says.
        """
        remote = self._remotes.of(repository)
        try:
            for first in range(0, len(wanted), _TOGETHER):
                await self._fetch_batch(remote, wanted[first : first + _TOGETHER], keep)
        except UpstreamRefused as refused:
            # Nobody is to take it for a refusal of what he shows himself.
            what = f"answered {refused.status} to this server's own download of LFS objects"
            raise UpstreamUnreachable(remote.url, what) from refused

    async def _fetch_batch(self, remote: Remote, wanted: Sequence[WantedObject], keep: Keep) -> None:
        answer, credential = await self._posts.post(remote, BATCH, BATCH_HEADERS, asking_for(*wanted))
        text = await answer_to_batch(remote.url, answer, _ANSWER_LIMIT)
        allowed = downloads_in(text, now=self._clock.now())
        for one in wanted:
            if one not in allowed:
                raise UpstreamUnreachable(remote.url, f"gives no download of {one}")
            if not self._client.may_hold(allowed[one].href, home=remote.url):
                raise UpstreamUnreachable(remote.url, "names a place for LFS objects where none is fetched from")
        pending = iter([allowed[one] for one in wanted])
        await all_of(self._work(remote, credential, pending, keep) for _ in range(_AT_ONCE))

    async def _work(self, remote: Remote, credential: str | None, pending: Iterator[LfsDownload], keep: Keep) -> None:
        for download in pending:
            headers = [(name.encode(), value.encode()) for name, value in download.headers]
            response = await self._client.download(download.href, headers, home=remote.url, credential=credential)
            with owned(response.source):
                await keep(download.wanted, Verified(response.source, download.wanted, response.url))
            response.source.close()


async def answer_to_batch(home: str, response: UpstreamResponse, limit: int) -> bytes:
    """Return an upstream's answer to a batch request, and close it.

    :param home: the repository's URL.
    :param limit: the most bytes of it.
    :raise UpstreamRefused: when it refuses.
    :raise UpstreamError: when it answers anything else.
    """
    try:
        await _require_answer(home, response)
        return await read_all(response.source, limit)
    finally:
        response.source.close()


async def _require_answer(home: str, response: UpstreamResponse) -> None:
    status, headers = response.status, response.headers
    if status == 200:
        return
    if status == 429 or status >= 500:
        raise UpstreamBusy(home, f"answered {status}", status=status, retry_after=retry_after(headers))
    if status not in (401, 403, 404, 410):
        raise UpstreamUnreachable(home, f"answered {status} to an LFS batch")
    words = await read_start(response.source, _REFUSAL_TEXT)
    raise UpstreamRefused(home, status=status, headers=of_refusal(headers), body=words)
