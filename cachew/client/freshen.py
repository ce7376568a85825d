"""Makes sure that a fresh checkout has the refs and commits that its user asks for.

The server is asked to have them (``ensure-refs``), and then git fetches through the server, whatever the user's own
config says, by a rewriting of ``origin`` that holds for that one command.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cachew.client.addresses import RepositoryAddress
from cachew.client.checkout import Checkout
from cachew.client.clienterrors import BadUsage, ClientError, GitFailed
from cachew.client.gitconfig import is_ref
from cachew.client.http import Http
from cachew.client.retries import Retries
from cachew.client.transferprogress import TransferProgress

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class WantedRefs(NamedTuple):
    """What a checkout must have.

    :param refs: full names to object ids; an empty id means whatever the upstream has.
    :param commits: ids of commits, under whatever ref.
    """

    refs: Mapping[str, str]
    commits: Sequence[str]

    def __bool__(self) -> bool:
        """Whether anything is wanted."""
        return bool(self.refs or self.commits)

    @property
    def oids(self) -> list[str]:
        """Every object id that was named."""
        return [*(oid for oid in self.refs.values() if oid), *self.commits]


def parse_wanted(refs: Sequence[str], commits: Sequence[str]) -> WantedRefs:
    """Read ``NAME=SHA`` arguments; a name without ``refs/`` is a branch.

    :raise BadUsage: when one is malformed.
    """
    parsed = {}
    for text in refs:
        name, _, oid = text.partition("=")
        name, oid = name if name.startswith("refs/") else f"refs/heads/{name}", oid.lower()
        if not is_ref(name) or (oid and not _OID.fullmatch(oid)):
            raise BadUsage(
                f"{text!r} is not NAME=SHA", "Write it like refs/heads/main=<40 hex digits>, or main= for any."
            )
        parsed[name] = oid
    lowered = [commit.lower() for commit in commits]
    for commit in lowered:
        if not _OID.fullmatch(commit):
            raise BadUsage(f"{commit!r} is not a full commit id", "Write all of its 40 (or 64) hex digits.")
    return WantedRefs(parsed, lowered)


class Freshener:
    """Fetches what a checkout lacks.

    :param http: the server.
    :param progress: is told of what happens.
    :param retries: when it is asked again after a failure.
    :param patience: seconds that the server may take to fetch.
    """

    def __init__(self, *, http: Http, progress: TransferProgress, retries: Retries, patience: float = 900.0) -> None:
        self._http = http
        self._retries = retries
        self._progress = progress
        self._patience = patience

    def satisfy(self, checkout: Checkout, address: RepositoryAddress, *, origin: str, wanted: WantedRefs) -> None:
        """Fetch through the server until everything wanted is here, and fast-forward the branch.

        :param origin: the URL of the remote that is called so.
        :raise ClientError: when something wanted cannot be had.
        """
        if all(wanted.refs.values()) and not self._missing(checkout, wanted.oids):
            return
        resolved = self._ensure(address, wanted)
        if not self._missing(checkout, [*wanted.oids, *resolved.values()]):
            return
        self._progress.say("Fetching what is newer through the server")
        settings = self._through_server(address, origin)
        names = [name for name in wanted.refs if not name.startswith("refs/heads/")]
        refspecs = [f"+{name}:{name}" if name.startswith("refs/tags/") else name for name in names]
        checkout.git.run(
            checkout.tree,
            *("fetch", "--quiet", "--prune", "origin", "+refs/heads/*:refs/remotes/origin/*", *refspecs),
            settings=settings,
        )
        if missing := self._missing(checkout, wanted.oids):
            checkout.git.run(checkout.tree, "fetch", "--quiet", "origin", *missing, settings=settings)
        self._fast_forward(checkout)

    def follow_default(self, checkout: Checkout, address: RepositoryAddress, *, origin: str, branch: str) -> None:
        """Let HEAD be the branch that is the upstream's default now, as in a clone; no other branch is moved.

        :param origin: the URL of the remote that is called so.
        :param branch: that branch.
        :raise ClientError: when it can't be had; the checkout is then as it was.
        """
        git, tree, old = checkout.git, checkout.tree, checkout.branch
        tip = f"refs/remotes/origin/{branch}"
        refspec = "+refs/heads/*:refs/remotes/origin/*"
        git.run(tree, "fetch", "--quiet", "--prune", "origin", refspec, settings=self._through_server(address, origin))
        git.run(tree, "read-tree", "-m", "-u", "HEAD", tip)
        if old is not None:
            # First, as git can't keep a branch below another.
            git.run(tree, "update-ref", "-d", f"refs/heads/{old}")
        git.run(tree, "update-ref", f"refs/heads/{branch}", tip)
        git.run(tree, "symbolic-ref", "-m", "cachew: the upstream's HEAD", "HEAD", f"refs/heads/{branch}")
        git.run(tree, "symbolic-ref", "refs/remotes/origin/HEAD", tip)
        for key, value in (("remote", "origin"), ("merge", f"refs/heads/{branch}")):
            git.run(tree, "config", f"branch.{branch}.{key}", value)
        gone = False
        if old is not None:
            git.run(tree, "config", "--remove-section", f"branch.{old}", check=False)
            gone = (
                git.run(tree, "rev-parse", "-q", "--verify", f"refs/remotes/origin/{old}", check=False).returncode != 0
            )
        what = (
            f"{old} is gone upstream"
            if gone
            else f"{old or 'a detached HEAD'} is no more the upstream's default branch"
        )
        self._progress.say(f"{what}: {branch} is checked out")

    def _ensure(self, address: RepositoryAddress, wanted: WantedRefs) -> dict[str, str]:
        value = {"refs": dict(wanted.refs), "commits": list(wanted.commits)}
        url = address.artefact("ensure-refs")
        answer = self._retries.when_welcome(lambda: self._http.json("POST", url, value=value, patience=self._patience))
        refs, missing = (answer.get("refs"), answer.get("missing_commits")) if isinstance(answer, dict) else ({}, [])
        if not isinstance(refs or {}, dict) or not isinstance(missing or [], list):
            raise ClientError(f"the server's answer about {address.name} is none", "Try again in a moment.")
        if missing:
            raise ClientError(
                f"{address.name} has no commit {', '.join(map(str, missing))} upstream either",
                "Check that it has been pushed.",
            )
        resolved = {name: str((refs or {}).get(name) or "") for name in wanted.refs}
        if absent := [name for name, oid in resolved.items() if not _OID.fullmatch(oid)]:
            raise ClientError(f"{address.name} has no {', '.join(absent)} upstream", "Check the name.")
        return resolved

    def _missing(self, checkout: Checkout, oids: Sequence[str]) -> list[str]:
        return [oid for oid in oids if not checkout.git.has_object(checkout.tree, oid)]

    def _through_server(self, address: RepositoryAddress, origin: str) -> dict[str, str]:
        settings = {f"url.{address.url}.insteadOf": origin}
        if self._http.authorization and self._http.is_own(address.url):
            settings[f"http.{address.server}/.extraHeader"] = f"Authorization: {self._http.authorization}"
        return settings

    def _fast_forward(self, checkout: Checkout) -> None:
        branch = checkout.branch
        if branch is None:
            return
        try:
            checkout.git.run(checkout.tree, "merge", "--quiet", "--ff-only", f"refs/remotes/origin/{branch}")
        except GitFailed as error:
            self._progress.warn(
                f"{branch} stays where the snapshot has it, because the upstream's is no fast-forward ({error}); "
                f"`git reset --hard origin/{branch}` goes there"
            )
