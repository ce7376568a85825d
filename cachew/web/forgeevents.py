"""What forges tell in their events, and which repositories here an event may be about (pure).

GitHub: "Webhook events and payloads" in its documentation. GitLab: "Webhook events" and "System hooks"; the latter are
known by the name in their body, and some name a path only, of the instance that a header tells. Gitea, Forgejo and Gogs
sign the JSON also when they send it in a form. Bitbucket, in its cloud and in one's own house: "Event payloads"; it
links to repositories. Azure DevOps: "Service hooks events", whose names are in their bodies only.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from cachew.plumbing.errors import BadRequest
from cachew.web.pushedrefs import refs_before

_PUSHES = frozenset({
    "push", "create", "delete", "repository", "public",
    "push hook", "tag push hook", "tag_push", "repository_update",
    "project_rename", "project_transfer", "project_update", "project_destroy",
    "repo:push", "repo:updated", "repo:transfer", "repo:deleted", "repo:refs_changed", "repo:modified",
    "mirror:repo_synchronized",
    "git.push", "git.repo.renamed", "git.repo.deleted", "git.repo.statuschanged",
})  # fmt: skip
_NAMED_WITHIN = (None, "system hook", "project hook")
_URL_KEYS = ("clone_url", "git_http_url", "http_url", "html_url", "web_url", "remoteUrl")
_PATH_KEYS = ("full_name", "path_with_namespace")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORM_FIELDS = 20
_MOST_NAMES = 100
"""Addresses of one repository that are looked at; forges tell a handful."""
_LONGEST = 4096
"""Letters of an address or a path beyond which no repository has it."""
_NO_TEXT = re.compile("[\ud800-\udfff]")
"""Halves of letters, which JSON can hold and nothing else."""


@dataclass(frozen=True)
class ForgeEvent:
    """A change of a repository at its forge.

    :param urls: where it is by the forge's own words, the former place too when it has moved.
    :param paths: its path below the forge's address, likewise.
    :param before: where the refs were that were pushed to, see :func:`cachew.web.pushedrefs.refs_before`.
    """

    urls: tuple[str, ...]
    paths: tuple[str, ...]
    before: Mapping[str, str] = field(default_factory=dict)


def form_payload(body: bytes) -> bytes:
    """Return the JSON in a form's field ``payload``.

    :raise BadRequest: when there is none.
    """
    try:
        return parse_qs(body, max_num_fields=_FORM_FIELDS)[b"payload"][0]
    except (ValueError, KeyError):
        raise BadRequest("the form has no field 'payload'") from None


def read_event(body: bytes, *, name: str | None, instance: str = "") -> ForgeEvent | None:
    """Read an event.

    :param body: JSON.
    :param name: what the forge's header calls it, None where it has none.
    :param instance: the forge's own address, where a header tells it.
    :return: None for one that changes no ref, name or right.
    :raise BadRequest: when it names no repository.
    """
    name = None if name is None else name.lower()
    if name not in (*_PUSHES, *_NAMED_WITHIN):
        return None
    try:
        event = json.loads(body)
        if name in _NAMED_WITHIN and _own_name(event) not in _PUSHES:
            return None
        urls, paths, before = _written(_urls(event)), _written(_paths(event)), refs_before(event)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise _unreadable() from None
    if not urls and instance:
        urls = [f"{instance.rstrip('/')}/{path}" for path in paths]
    if not urls and not paths:
        raise _unreadable()
    return ForgeEvent(tuple(urls), tuple(paths), before)


def _unreadable() -> BadRequest:
    return BadRequest("not an event as JSON with the repository's URL")


def _written(names: Iterable[str]) -> list[str]:
    good = (name for name in dict.fromkeys(names) if len(name) <= _LONGEST and not _NO_TEXT.search(name))
    return list(islice(good, _MOST_NAMES))


def _own_name(event: Mapping[str, Any]) -> str:
    return str(event.get("event_name") or event.get("object_kind") or event.get("eventType") or "")


def _repository(event: Mapping[str, Any]) -> Mapping[str, Any]:
    found = event.get("project") or event.get("repository") or event.get("new") or _within_resource(event) or {}
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def _within_resource(event: Mapping[str, Any]) -> Any:
    resource = event.get("resource")
    return resource.get("repository") if isinstance(resource, dict) else None


def _before(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Bitbucket tells of a repository as it was before it was changed."""
    found = event.get("old")
    return found if isinstance(found, dict) else {}


def _texts(fields: Mapping[str, Any], keys: Iterable[str]) -> Iterator[str]:
    return (fields[key] for key in keys if isinstance(fields.get(key), str) and fields[key])


def _urls(event: Mapping[str, Any]) -> Iterator[str]:
    """Give the URLs of now, and those of before a renaming."""
    urls = [*_texts(_repository(event), _URL_KEYS), *_linked(_repository(event)), *_linked(_before(event))]
    yield from urls
    if former := _dig(event, "resource", "oldName"):
        yield from (f"{url.rpartition('/')[0]}/{quote(former, safe='')}" for url in urls)
    now = next(_texts(_repository(event), _PATH_KEYS), "")
    for url in urls:
        bare = url.removesuffix(".git")
        if now and bare.endswith(f"/{now}"):
            yield from (bare.removesuffix(now) + before for before in _former_paths(event, now))


def _linked(repository: Mapping[str, Any]) -> Iterator[str]:
    """Give the addresses that Bitbucket links to: in its cloud the page's, else those to clone from."""
    links = repository.get("links")
    if not isinstance(links, dict):
        return
    clones = links.get("clone")
    for link in (links.get("html"), *(clones if isinstance(clones, list) else ())):
        if (address := _dig(link, "href")) and address.startswith(("https://", "http://")):
            yield address


def _paths_of_project(repository: Mapping[str, Any]) -> Iterator[str]:
    """Give the paths at which a Bitbucket in one's own house has a repository, with and without its own prefix."""
    key, slug = _dig(repository, "project", "key"), _dig(repository, "slug")
    if key and slug and "full_name" not in repository:
        yield from (f"scm/{key}/{slug}", f"{key}/{slug}")


def _paths(event: Mapping[str, Any]) -> Iterator[str]:
    paths = [*_texts(_repository(event), _PATH_KEYS), *_texts(event, ("path_with_namespace",))]
    yield from paths
    yield from _paths_of_project(_repository(event))
    yield from _paths_of_project(_before(event))
    for now in dict.fromkeys(paths or [""]):
        yield from _former_paths(event, now)


def _former_paths(event: Mapping[str, Any], now: str) -> Iterator[str]:
    yield from _texts(event, ("old_path_with_namespace",))
    changes = event.get("changes")
    if not isinstance(changes, dict) or "/" not in now:
        return
    if (before := _dig(changes, "full_name", "old")) is not None:
        yield before
    owner, _, name = now.rpartition("/")
    before = _dig(changes, "repository", "name", "from")
    if before is not None:
        yield f"{owner}/{before}"
    for kind in ("user", "organization"):
        former_owner = _dig(changes, "owner", "from", kind, "login")
        if former_owner is not None:
            yield f"{former_owner}/{name}"


def _dig(fields: Any, *steps: str) -> str | None:
    for step in steps:
        fields = fields.get(step) if isinstance(fields, dict) else None
    return fields if isinstance(fields, str) and fields else None


@dataclass(frozen=True)
class _Place:
    """Where a host's repositories are, by one of its names.

    :param host: as clients write it after ``/git/``.
    :param netloc: the host, with its port when that is not the scheme's.
    :param base: what its paths begin with, empty or with a slash at the end.
    """

    host: str
    netloc: str
    base: str


class ForgeHosts:
    """By which addresses hosts are known to their forges.

    :param names: host as clients write it to the addresses it has: host names, or base URLs.
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._places = [_place(host, address) for host, addresses in names.items() for address in addresses]

    def knows(self, url: str) -> bool:
        """Say whether a URL's host is one of them."""
        netloc = address_of(url).partition("/")[0]
        return any(place.netloc == netloc for place in self._places)

    def names(self, url: str) -> list[str]:
        """Return what a repository may be called here, as ``host/path``.

        :param url: where it is by its forge's words.
        """
        netloc, _, path = address_of(url).partition("/")
        found = [
            f"{place.host}/{path.removeprefix(place.base)}"
            for place in self._places
            if place.netloc == netloc and path.startswith(place.base)
        ]
        return list(dict.fromkeys(found))


def _place(host: str, address: str) -> _Place:
    netloc, _, base = address_of(address if "://" in address else f"https://{address}/").partition("/")
    return _Place(host, netloc, f"{base}/" if base else "")


def address_of(url: str) -> str:
    """Return a URL's host and path, without what does not tell one repository from another; empty when it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return ""
    host = parts.hostname if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{parts.hostname}:{port}"
    return f"{host}/{parts.path.strip('/').removesuffix('.git')}".rstrip("/")
