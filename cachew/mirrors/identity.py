"""Which repository a URL names, and where its mirror lives (pure).

The raw path of a request is parsed here, once; the guard, the router, the cache keys and the directories all use the
result. Two spellings of one repository give one identity, and no two repositories ever share one.
"""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from cachew.plumbing.errors import BadPath, UnknownPath

PREFIX = b"/git/"
MAX_SEGMENTS = 16
MAX_PATH = 512
_MAX_FILE_NAME = 200

_SEGMENT = re.compile(r"[A-Za-z0-9._~+@-]+")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")

_OPERATIONS = (
    "info/refs",
    "git-upload-pack",
    "git-receive-pack",
    "snapshot.tar.zst",
    "snapshot.bundle",
    "lfs-snapshot.tar.zst",
    "bundle-list",
    "ensure-refs",
)


@dataclass(frozen=True, order=True, slots=True)
class Identity:
    """One upstream repository.

    :param host: lower-cased, with its port unless that is 443.
    :param path: without leading or trailing slash and without ``.git``.
    """

    host: str
    path: str

    @property
    def name(self) -> str:
        """``host/path``: what logs, metrics and cache keys call it."""
        return f"{self.host}/{self.path}"

    @property
    def directory_name(self) -> str:
        """Where its mirror lies below the mirror root: always two levels deep, so that none lies in another."""
        flat = self.path.replace("/", "=")
        if len(flat) > _MAX_FILE_NAME:
            digest = hashlib.sha256(self.path.encode()).hexdigest()
            flat = f"{flat[: _MAX_FILE_NAME - 65]}={digest}"
        return f"{self.host}/{flat}.git"

    @classmethod
    def from_name(cls, name: str) -> "Identity":
        """Parse ``host/path``.

        :raise BadPath: when it breaks a rule of the grammar.
        """
        host, *segments = name.removesuffix("/").split("/")
        return _identity(host, segments)

    @classmethod
    def from_url(cls, url: str) -> "Identity":
        """Parse an ``http(s)://host/path`` URL.

        :raise BadPath: when it is none, or breaks a rule of the grammar.
        """
        try:
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
        except ValueError as error:
            raise BadPath(f"not a repository URL: {error}") from None
        if parts.scheme not in ("http", "https"):
            raise BadPath("not an http or https URL")
        return cls.from_name(host + parts.path)


@dataclass(frozen=True, slots=True)
class RepositoryPath:
    """A parsed request path.

    :param identity: the repository it names.
    :param operation: the last element or elements, e.g. ``info/refs`` or ``info/lfs/objects/batch``.
    """

    identity: Identity
    operation: str


def parse_path(raw_path: bytes) -> RepositoryPath:
    """Parse the raw path of a request, as it came, without its query.

    :raise BadPath: when it breaks a rule of the grammar.
    :raise UnknownPath: when it is well formed but names no repository or no operation.
    """
    if not raw_path.startswith(PREFIX):
        raise UnknownPath("not a repository path")
    host, *segments = [_decode(segment) for segment in raw_path[len(PREFIX) :].split(b"/")]
    split = _operation_start(segments)
    if split is not None and split > 1 and not segments[split - 1]:
        # Some clients keep the slash at the end of a repository's URL.
        split -= 1
        del segments[split]
    for segment in segments[:-1]:
        _check_segment(segment)
    if segments and segments[-1]:
        _check_segment(segments[-1])
    if split is None:
        _normal_host(host)
        raise UnknownPath("no such operation on a repository")
    return RepositoryPath(_identity(host, segments[:split]), "/".join(segments[split:]))


def _operation_start(segments: list[str]) -> int | None:
    for operation in _OPERATIONS:
        length = operation.count("/") + 1
        if "/".join(segments[-length:]) == operation:
            return len(segments) - length
    if not segments or not segments[-1]:
        return None
    for start in range(len(segments) - 3, -1, -1):
        if segments[start : start + 2] == ["info", "lfs"]:
            return start
    return None


def _decode(segment: bytes) -> str:
    if re.search(rb"%(?![0-9A-Fa-f]{2})", segment):
        raise BadPath("a percent sign in the path is not followed by two hex digits")
    decoded = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), segment)
    if decoded != segment and decoded in (b".", b".."):
        raise BadPath("an encoded dot segment in the path")
    return decoded.decode("latin-1")


def _check_segment(segment: str) -> None:
    if not segment:
        raise BadPath("an empty segment in the path")
    if not _SEGMENT.fullmatch(segment):
        raise BadPath("a path segment has characters other than A-Z a-z 0-9 . _ ~ + @ -")
    if segment in (".", ".."):
        raise BadPath("a dot segment in the path")
    if segment.startswith("-") or segment.endswith(".lock"):
        raise BadPath("a path segment begins with '-' or ends in '.lock'")


def _identity(host: str, segments: list[str]) -> Identity:
    host = _normal_host(host)
    for segment in segments:
        _check_segment(segment)
    path = "/".join(segments).removesuffix(".git")
    if not segments:
        raise UnknownPath("the path names no repository")
    if not path or path.endswith(("/", ".git")):
        raise BadPath("the repository's name is empty or ends in '.git' twice")
    _check_segment(path.rpartition("/")[2])
    if len(segments) > MAX_SEGMENTS or len(path) > MAX_PATH:
        raise BadPath(f"the path has more than {MAX_SEGMENTS} segments or {MAX_PATH} characters")
    return Identity(host, path)


def _normal_host(host: str) -> str:
    name, colon, port = host.lower().partition(":")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise BadPath("the first path segment is not a host name")
    if not colon:
        return name
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise BadPath("the host's port is not a number from 1 to 65535")
    return name if port == "443" else f"{name}:{port}"
