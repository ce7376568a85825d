"""Which repository a URL names, and where its mirror lives (pure).

The raw path of a request is parsed here, once; the guard, the router, the cache keys and the directories all use the
result. Two spellings of one repository give one identity, and no two repositories ever share one: every name that is
made of an identity is one of its percent-encoding, which can be undone.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from urllib.parse import urlsplit

from cachew.plumbing.errors import BadPath, UnknownPath
from cachew.plumbing.percent import decoded, encoded, encoded_path, lower

PREFIX = b"/git/"
MAX_SEGMENTS = 16
MAX_PATH = 512
ANY_HOST = "*"
_REMEMBERED = 1024
"""Parsed paths that are remembered: clients ask for the same few again and again. What breaks a rule is not."""
_MAX_FILE_NAME = 200
_SHORTENED = "%~"
"""What tells a shortened name from every other: a percent sign that begins no escape is in no encoding."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_OPERATIONS = (
    "info/refs",
    "git-upload-pack",
    "git-receive-pack",
    "git-upload-archive",
    "snapshot.tar.zst",
    "snapshot.bundle",
    "lfs-snapshot.tar.zst",
    "bundle-list",
    "ensure-refs",
    "HEAD",
)
_FILES = re.compile(
    r"objects/(info/(packs|alternates|http-alternates)|[0-9a-f]{2}/[0-9a-f]{38,62}|pack/pack-[0-9a-f]{40,64}\.(pack|idx))"
)
"""What else git's dumb protocol asks a repository for (gitprotocol-http(5), "Dumb Clients")."""


@dataclass(frozen=True, order=True, slots=True)
class Identity:
    """One upstream repository.

    :param host: lower-cased, with its port unless that is 443.
    :param path: percent-decoded, without leading or trailing slash and without ``.git``.
    """

    host: str
    path: str
    name: str = field(init=False, compare=False, repr=False)
    """``host/path``, percent-encoded: what URLs, logs, metrics and cache keys call it.

    It holds neither spaces nor quotes, nor any of ``: = ? & # % "``, but for the port's colon and the percent signs of
    escapes, so that whatever is joined to it with one of them can be told from it.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.host}/{encoded_path(self.path)}")

    @property
    def directory_name(self) -> str:
        """Where its mirror lies below the mirror root: always two levels deep, so that none lies in another."""
        return f"{_file_name(self.host)}/{_file_name(self.path)}.git"

    @classmethod
    def from_name(cls, name: str) -> "Identity":
        """Parse ``host/path``, percent-encoded or as it is.

        :raise BadPath: when it breaks a rule of the grammar.
        """
        host, *segments = _decoded_segments(name.removesuffix("/").encode("utf-8", "surrogateescape"))
        return _identity(host, segments)

    @classmethod
    def from_decoded(cls, name: str) -> "Identity":
        """Parse ``host/path`` that was percent-decoded already.

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
    :param written: how the repository's name ends in it: ``.git``, or nothing.
    """

    identity: Identity
    operation: str
    written: str = field(default="", compare=False)


@lru_cache(maxsize=_REMEMBERED)
def parse_path(raw_path: bytes) -> RepositoryPath:
    """Parse the raw path of a request, as it came, without its query.

    :raise BadPath: when it breaks a rule of the grammar.
    :raise UnknownPath: when it is well formed but names no repository or no operation.
    """
    if not raw_path.startswith(PREFIX):
        raise UnknownPath("not a repository path")
    return _parse(_decoded_segments(raw_path[len(PREFIX) :]))


def parse_decoded(path: str) -> RepositoryPath:
    """Parse the path of a request whose segments were percent-decoded already.

    :raise BadPath: when it breaks a rule of the grammar.
    :raise UnknownPath: when it is well formed but names no repository or no operation.
    """
    prefix = PREFIX.decode("ascii")
    if not path.startswith(prefix):
        raise UnknownPath("not a repository path")
    return _parse(path.removeprefix(prefix).split("/"))


def _parse(parts: list[str]) -> RepositoryPath:
    host, *segments = parts
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
    written = ".git" if segments[split - 1].lower().endswith(".git") else ""
    return RepositoryPath(_identity(host, segments[:split]), "/".join(segments[split:]), written)


def _operation_start(segments: list[str]) -> int | None:
    for operation in _OPERATIONS:
        length = operation.count("/") + 1
        if "/".join(segments[-length:]) == operation:
            return len(segments) - length
    if not segments or not segments[-1]:
        return None
    if _FILES.fullmatch("/".join(segments[-3:])):
        return len(segments) - 3
    for start in range(len(segments) - 3, -1, -1):
        if segments[start : start + 2] == ["info", "lfs"]:
            return start
    return None


def _decoded_segments(path: bytes) -> list[str]:
    return [_decode(segment) for segment in path.split(b"/")]


def _decode(segment: bytes) -> str:
    if _STRAY_PERCENT.search(segment):
        raise BadPath("a percent sign in the path is not followed by two hex digits")
    once = decoded(segment)
    if once != segment and once in (b".", b".."):
        raise BadPath("an encoded dot segment in the path")
    try:
        return once.decode("utf-8")
    except UnicodeDecodeError:
        raise BadPath("a path segment is not UTF-8") from None


def _check_segment(segment: str) -> None:
    if not segment:
        raise BadPath("an empty segment in the path")
    if segment in (".", ".."):
        raise BadPath("a dot segment in the path")
    if any(character in "/\\" or unicodedata.category(character) in ("Cc", "Cs") for character in segment):
        raise BadPath("a path segment has a slash, a backslash or a control character in it")
    raw = segment.encode("utf-8")
    if decoded(raw) != raw:
        raise BadPath("a path segment is percent-encoded twice")


def _file_name(path: str) -> str:
    """Return the name of a directory for a path, another one for any other path.

    Segments are joined with a sign that none holds when encoded, and a shortened name has one that no encoding holds.
    """
    name = "=".join(map(_file_segment, path.split("/")))
    if len(name) <= _MAX_FILE_NAME:
        return name
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
    return name[: _MAX_FILE_NAME - len(digest) - len(_SHORTENED)] + _SHORTENED + digest


def _file_segment(segment: str) -> str:
    """Encode a segment so that no program takes it for an option, a hidden file or a lock."""
    name = encoded(segment)
    if name.startswith(("-", ".")):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return f"{name.removesuffix('.lock')}%2Elock" if name.endswith(".lock") else name


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


@dataclass(frozen=True)
class Grammar:
    """How repositories are named on this server: the rules of this module, and which hosts ignore case.

    :param ignore_case: whether they do, by host as in identities; ``"*"`` stands for all others.
    """

    ignore_case: Mapping[str, bool] = field(default_factory=dict)

    def ignores_case(self, host: str) -> bool:
        """Say whether upper and lower case in paths make no difference on a host."""
        return self.ignore_case.get(host, self.ignore_case.get(ANY_HOST, False))

    def normal(self, identity: Identity) -> Identity:
        """Return the one identity that a repository has here.

        :raise BadPath: when a name that is good where case matters breaks a rule where it doesn't.
        """
        if not self.ignores_case(identity.host):
            return identity
        # The ending and its rules once more: ".GIT" is one here.
        return _identity(identity.host, lower(identity.path).split("/"))

    @cached_property
    def parse_path(self) -> Callable[[bytes], RepositoryPath]:
        """Parses the raw path of a request, see :func:`parse_path`."""
        return lru_cache(maxsize=_REMEMBERED)(self._parse_path) if self.ignore_case else parse_path

    def _parse_path(self, raw_path: bytes) -> RepositoryPath:
        found = parse_path(raw_path)
        return replace(found, identity=self.normal(found.identity))

    def from_name(self, name: str) -> Identity:
        """Parse ``host/path``, see :meth:`Identity.from_name`."""
        return self.normal(Identity.from_name(name))

    def from_decoded(self, name: str) -> Identity:
        """Parse ``host/path`` that was percent-decoded already, see :meth:`Identity.from_decoded`."""
        return self.normal(Identity.from_decoded(name))

    def from_url(self, url: str) -> Identity:
        """Parse a URL, see :meth:`Identity.from_url`."""
        return self.normal(Identity.from_url(url))


CASE_MATTERS = Grammar()
"""The rules where no host ignores case."""
