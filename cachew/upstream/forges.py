"""Which repositories an owner has, as the APIs of forges list them: GitHub's, GitLab's, Gitea's and Forgejo's.

The server asks with its own credential for the owner, where it has one, and gets what that may see. Archived
repositories are left out: nobody pushes to them, so they need not be kept warm.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from cachew.plumbing.errors import UpstreamRefused, UpstreamUnreachable
from cachew.upstream.credentials import Credentials
from cachew.upstream.jsonapi import JsonApi

Kind = Literal["github", "gitlab", "gitea"]

_GITLAB = "archived=false&simple=true&per_page=100&page={page}"
_QUESTIONS: dict[Kind, tuple[str, ...]] = {
    "github": ("/orgs/{owner}/repos?per_page=100&page={page}", "/users/{owner}/repos?per_page=100&page={page}"),
    "gitlab": (
        "/groups/{owner}/projects?include_subgroups={below}&" + _GITLAB,
        "/users/{owner}/projects?" + _GITLAB,
    ),
    "gitea": ("/orgs/{owner}/repos?limit=50&page={page}", "/users/{owner}/repos?limit=50&page={page}"),
}
"""What is asked of organisations or groups, and what of users, when there is no such organisation."""
_NAMES: dict[Kind, str] = {"github": "full_name", "gitlab": "path_with_namespace", "gitea": "full_name"}
_PATHS: dict[Kind, str] = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1"}
_OF_GHE_COM = re.compile(r"[a-z0-9-]+\.ghe\.com")
_ACCEPT = {"Accept": "application/json"}


@dataclass(frozen=True)
class Forge:
    """A host with an API.

    :param kind: whose API it has.
    :param home: the base URL of its repositories, without a trailing slash.
    :param api: the base URL of the API, without a trailing slash.
    """

    kind: Kind
    home: str
    api: str


def forge_at(kind: Kind, home: str) -> Forge:
    """Return the forge whose repositories are below a URL, with its API where such forges have it.

    GitHub has a host of its own for it, on GHE.com too ("About GitHub Enterprise Cloud with data residency", "API
    access"); a GitHub Enterprise Server has it below a path.
    """
    home = home.rstrip("/")
    host = home.removeprefix("https://")
    in_a_host_of_its_own = kind == "github" and (host == "github.com" or _OF_GHE_COM.fullmatch(host))
    return Forge(kind, home, f"https://api.{host}" if in_a_host_of_its_own else home + _PATHS[kind])


class Forges:
    """Lists repositories.

    :param api: makes what asks the API at a base URL.
    :param credentials: the server's own.
    """

    def __init__(self, *, api: Callable[[str], JsonApi], credentials: Credentials) -> None:
        self._api = api
        self._credentials = credentials

    async def repositories(self, forge: Forge, owner: str, *, most: int, below: bool = False) -> list[str]:
        """Return the paths of an organisation's, a group's or a user's repositories.

        :param owner: its name; on GitLab groups may lie in groups.
        :param most: how many are listed at most.
        :param below: whether also those of groups in a group.
        :raise UpstreamError: when the forge does not list them.
        :raise CredentialUnavailable: when the credential can't be had at present.
        """
        header = await self._credentials.header_for(f"{forge.home}/{owner}/")
        headers = _ACCEPT if header is None else {**_ACCEPT, "Authorization": _for_api(forge.kind, header)}
        api, refusal = self._api(forge.api), None
        for question in _QUESTIONS[forge.kind]:
            asked = question.replace("{owner}", quote(owner, safe="")).replace("{below}", str(below).lower())
            try:
                return await self._pages(api, forge.kind, asked, headers, most)
            except UpstreamRefused as error:
                if error.status != 404:
                    raise
                refusal = error
        assert refusal is not None
        raise refusal

    async def _pages(self, api: JsonApi, kind: Kind, question: str, headers: dict[str, str], most: int) -> list[str]:
        """Ask for pages until one is empty, since forges differ in how many they give at a time."""
        found: list[str] = []
        page = 1
        while len(found) < most:
            answer = await api.ask("GET", question.replace("{page}", str(page)), headers)
            if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
                raise UpstreamUnreachable(api.url, "its answer is not a list of repositories")
            if not answer:
                break
            found += _names(answer, _NAMES[kind])
            page += 1
        return found[:most]


def _names(answer: list[dict[str, Any]], key: str) -> Iterator[str]:
    return (one[key] for one in answer if isinstance(one.get(key), str) and not one.get("archived"))


def _for_api(kind: Kind, header: str) -> str:
    """Return how an API wants what git is shown: tokens as such, but for Gitea, which takes passwords too."""
    if kind == "gitea" or not header.startswith("Basic "):
        return header
    return "Bearer " + b64decode(header.removeprefix("Basic ")).decode().partition(":")[2]
