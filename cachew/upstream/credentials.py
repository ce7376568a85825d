"""The server's own credentials, by URL prefix.

They fill mirrors and nothing else. A credential goes only where its prefix says: same scheme, host and port, and whole
path segments. git gets it through the environment of one child process, bound to the repository's own URL, so that no
redirect, submodule or `.lfsconfig` takes it elsewhere; it never is in an argument, a file or a URL.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from cachew.plumbing.errors import CredentialUnavailable
from cachew.plumbing.percent import decoded_text, lower
from cachew.upstream.hosts import origin

_REMEMBERED = 10_000
"""The server's own credentials that are known again."""


class CredentialSource(Protocol):
    """Knows a credential."""

    async def header_for(self, url: str) -> str | None:
        """Return an ``Authorization`` value for a repository's URL, None when there is none.

        :raise CredentialUnavailable: when it can't be had at present.
        """


@runtime_checkable
class Renewable(Protocol):
    """A source that keeps what it was told for a while."""

    async def forget(self, url: str, header: str) -> bool:
        """Ask anew the next time, if this is what is kept for a URL.

        :return: whether it was refused too early, and is to be shown once more now.
        """


class Credentials:
    """Finds the credential for a URL.

    :param sources: pairs of a URL prefix and what knows the credential for it; of those that match, the longest that
        has one is taken.
    :param ignores_case: whether upper and lower case make no difference in the paths of a URL's host.
    """

    def __init__(
        self,
        *,
        sources: Sequence[tuple[str, CredentialSource]],
        ignores_case: Callable[[str], bool] = lambda url: False,
    ) -> None:
        self._ignores_case = ignores_case
        self._given: OrderedDict[bytes, frozenset[str]] = OrderedDict()
        self.replace(sources)

    def replace(self, sources: Sequence[tuple[str, CredentialSource]]) -> None:
        """Take credentials from these from now on; where those that were given may be shown stays known."""
        self._sources = sorted(sources, key=lambda pair: len(_segments(pair[0])), reverse=True)

    async def header_for(self, url: str) -> str | None:
        """Return the ``Authorization`` value for a repository's URL, None when there is none.

        :raise CredentialUnavailable: when it can't be had at present.
        """
        failure: CredentialUnavailable | None = None
        for prefix, source in self._covering(url):
            try:
                header = await source.header_for(url)
            except CredentialUnavailable as error:
                failure = failure or error
                continue
            if header is not None:
                self._note(header, prefix)
                return header
        if failure is not None:
            raise failure
        return None

    async def renewed(self, url: str, refused: str) -> str | None:
        """Return what to show for a repository's URL instead of what its upstream has just refused.

        :param refused: that; a client's own is none of ours.
        :return: None when there is nothing else; the same when it is to be shown again.
        """
        kept = [source for _, source in self._covering(url) if isinstance(source, Renewable)]
        too_early = [source for source in kept if await source.forget(url, refused)]
        try:
            header = await self.header_for(url) if kept else None
        except CredentialUnavailable:
            return None
        return None if header == refused and not too_early else header

    def _covering(self, url: str) -> Iterator[tuple[str, CredentialSource]]:
        for prefix, source in self._sources:
            if covers(prefix, url, ignore_case=self._ignores_case(url)):
                yield prefix, source

    def _note(self, header: str, prefix: str) -> None:
        digest = _digest(header)
        self._given[digest] = self._given.pop(digest, frozenset()) | {prefix}
        while len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)

    def may_see(self, credential: str, url: str) -> bool:
        """Whether a credential may be shown at a URL of its host: one of the server's own only below its prefix.

        :param credential: as :mod:`cachew.upstream.presented_credential` writes it, whoever it is of.
        """
        prefixes = self._given.get(_digest(credential.partition("\n")[0]))
        ignore_case = self._ignores_case(url)
        return prefixes is None or any(covers(prefix, url, ignore_case=ignore_case) for prefix in prefixes)

    async def git_environment(self, url: str, environment: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Return what to add to a git child's environment so that it has the credential for ``url`` and no other.

        :param url: the repository's URL.
        :param environment: the child's environment so far; configuration that it carries is kept.
        :raise CredentialUnavailable: when the credential can't be had at present.
        """
        header = await self.header_for(url)
        if header is None:
            return {}
        count = int((environment or {}).get("GIT_CONFIG_COUNT", "0"))
        return {
            "GIT_CONFIG_COUNT": str(count + 1),
            f"GIT_CONFIG_KEY_{count}": f"http.{url.rstrip('/')}.extraHeader",
            f"GIT_CONFIG_VALUE_{count}": f"Authorization: {header}",
        }


def _digest(header: str) -> bytes:
    return sha256(header.encode("utf-8", "surrogateescape")).digest()


def covers(prefix: str, url: str, *, ignore_case: bool = False) -> bool:
    """Whether a URL lies below a prefix: the same origin, and the prefix's path segments first."""
    try:
        if origin(prefix) != origin(url):
            return False
    except ValueError:
        return False
    wanted, found = _segments(prefix), _segments(url)
    if ignore_case:
        wanted, found = list(map(lower, wanted)), list(map(lower, found))
    return found[: len(wanted)] == wanted and ".." not in found


def _segments(url: str) -> list[str]:
    return [decoded_text(segment) for segment in urlsplit(url).path.split("/") if segment]
