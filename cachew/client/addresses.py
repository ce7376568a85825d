"""Where a repository is: on its upstream and on a cachew server (pure).

``git restore`` takes either address of a repository, so that a user can paste what is at hand: the upstream's URL
(``https://github.com/org/repo``) or the server's (``http://cachew.example/git/github.com/org/repo``).
"""

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from cachew.client.clienterrors import BadUsage
from cachew.plumbing.percent import decoded, encoded, encoded_path, lower

_SCP_FORM = re.compile(r"(?:[^@/:]+@)?([A-Za-z0-9.-]+):(?!//)(.+)")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22}
_EXAMPLE = "Write it like https://github.com/org/repo or http://cachew.example/git/github.com/org/repo."


class RepositoryAddress(NamedTuple):
    """One repository as the server at ``server`` knows it.

    :param server: the server's base URL, without a trailing slash.
    :param host: the upstream host, with its port when that is not the default.
    :param path: the path on that host, percent-encoded, without ``.git``.
    :param upstream_url: the upstream URL as the user typed it, percent-encoded where that is missing;
        None when only the server's URL was given.
    """

    server: str
    host: str
    path: str
    upstream_url: str | None

    @property
    def name(self) -> str:
        """``github.com/org/repo``."""
        return f"{self.host}/{self.path}"

    @property
    def url(self) -> str:
        """The repository on the server, for git."""
        return f"{self.server}/git/{self.name}"

    def artefact(self, operation: str) -> str:
        """Return the URL of one of the repository's operations, such as ``snapshot.tar.zst``."""
        return f"{self.url}/{operation}"


def parse_server(url: str) -> str:
    """Check a server's base URL and return it without its trailing slash.

    :raise BadUsage: when it is not an http or https URL, or holds credentials.
    """
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise BadUsage(f"{url!r} is not the URL of a server", "Write it like http://cachew.example:8080.")
    _refuse_credentials(parts)
    if any(c.isspace() or not c.isprintable() for c in url):
        raise BadUsage(f"{url!r} is not the URL of a server", "It holds a blank, a line break or a control character.")
    try:
        if not _is_plain(parts.hostname):
            parts.hostname.encode("idna")
    except UnicodeError as error:
        raise BadUsage(f"{parts.hostname!r} is no host name", "Its labels have 1 to 63 characters each.") from error
    return url.rstrip("/")


def _is_plain(host: str) -> bool:
    """Tell whether a host's name needs no translation, nor the library that makes one."""
    return host.isascii() and all(0 < len(label) < 64 for label in host.split("."))


def parse_repository(url: str, *, server: str) -> RepositoryAddress:
    """Tell which repository a URL names.

    :param url: an upstream URL (http, https, ssh or git@host:path) or a repository's URL on a cachew server.
    :param server: the base URL of the server to use for upstream URLs.
    :raise BadUsage: when the URL names no repository.
    """
    scp = None if "://" in url else _SCP_FORM.fullmatch(url)
    if scp:
        # Such a path git takes as it is.
        return _address(server, scp[1], encoded_path(scp[2]), upstream_url=url)
    parts = _split(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.query or parts.fragment:
        raise BadUsage(f"{url!r} is not the URL of a repository", _EXAMPLE)
    if url.startswith(f"{server}/git/"):
        return _on_server(server, url.removeprefix(f"{server}/git/"))
    first, _, rest = parts.path.removeprefix("/git/").partition("/")
    if parts.path.startswith("/git/") and rest.strip("/") and re.search(r"[.:]|^localhost$", first):
        _refuse_credentials(parts)
        return _on_server(f"{parts.scheme}://{parts.netloc}", f"{first}/{rest}")
    if parts.scheme != "ssh":
        _refuse_credentials(parts)
    upstream_url = url.rstrip("/") if parts.scheme == "ssh" else _again(parts)
    return _address(server, _host(parts), parts.path, upstream_url=upstream_url)


def same_repository(url: str, address: RepositoryAddress) -> bool:
    """Tell whether a URL may be stored as the upstream of ``address``: plain http(s), no credentials, the same path.

    The host may differ, because a server can give an upstream a name of its own; and so may upper and lower case,
    because on many hosts they make no difference.
    """
    if not url.isascii() or not url.isprintable() or any(c in url for c in " \"'\\"):
        return False
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and port_is_valid
    return bool(plain and not parts.query and not parts.fragment and _is_path_of(parts.path, address))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadUsage(f"{url!r} is not a URL: {error}", _EXAMPLE) from error
    return parts


def _refuse_credentials(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise BadUsage(
            "the URL holds credentials",
            "Take them out: they would be stored in .git/config. Use --authorization for the server.",
        )


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    return host if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{parts.port}"


def _on_server(server: str, name: str) -> RepositoryAddress:
    host, _, path = name.partition("/")
    return _address(server, host, path, upstream_url=None)


def insteadof_prefix(origin: str, address: RepositoryAddress) -> str:
    """Return what the upstream URLs of a repository's host begin with, as ``insteadOf`` wants it."""
    whole = origin.removesuffix("/").removesuffix(".git")
    return whole[: -len(address.path)] if lower(whole).endswith(lower(address.path)) else whole


def _is_path_of(raw_path: str, address: RepositoryAddress) -> bool:
    try:
        return lower(_path(raw_path)) == lower(address.path)
    except BadUsage:
        return False


def _again(parts: SplitResult) -> str:
    path = "/".join(encoded(_segment(raw)) if raw else "" for raw in parts.path.rstrip("/").split("/"))
    return f"{parts.scheme}://{parts.netloc}{path}"


def _path(raw: str) -> str:
    """Return the path of a repository in its one form.

    :raise BadUsage: when it is none.
    """
    segments = [_segment(segment) for segment in raw.strip("/").split("/")]
    segments[-1] = segments[-1].removesuffix(".git")
    if not all(segments) or segments[-1] in (".", ".."):
        raise BadUsage(f"{raw!r} is not the path of a repository", _EXAMPLE)
    return "/".join(map(encoded, segments))


def _segment(raw: str) -> str:
    """Decode a segment once, as the server does.

    :raise BadUsage: when it breaks a rule of the server's.
    """
    data = raw.encode("utf-8", "surrogateescape")
    once = decoded(data)
    stray = re.search(rb"%(?![0-9A-Fa-f]{2})", data)
    twice = decoded(once) != once
    try:
        segment = once.decode("utf-8")
    except UnicodeDecodeError:
        raise BadUsage(f"{raw!r} in the URL is not UTF-8", _EXAMPLE) from None
    if stray or twice or segment in (".", "..") or re.search(r"[\x00-\x1f\x7f-\x9f/\\]", segment):
        raise BadUsage(f"{raw!r} can't be in the path of a repository", _EXAMPLE)
    return segment


def _address(server: str, host: str, raw_path: str, *, upstream_url: str | None) -> RepositoryAddress:
    path = _path(raw_path)
    if not host:
        raise BadUsage(f"{path!r} is on no host", _EXAMPLE)
    return RepositoryAddress(server=server, host=host.lower(), path=path, upstream_url=upstream_url)
