"""What ``git-remote-cachew`` does for a repository that git has just made, before git looks at what is in it."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from cachew.cli.environmentproxy import git_proxy
from cachew.cli.terminal import harmless
from cachew.client.addressedsettings import values_for
from cachew.client.clienterrors import ClientError
from cachew.client.connections import Connections
from cachew.client.download import Downloads
from cachew.client.gitcommand import settings_told
from cachew.client.gitcredentials import GitCredentials
from cachew.client.gitdir import GitDirectory
from cachew.client.gitprogress import GitProgress
from cachew.client.helperoptions import HelperOptions
from cachew.client.http import Http
from cachew.client.httpsettings import read, without_credentials
from cachew.client.peer import watched
from cachew.client.repositorygit import HERE, RepositoryGit
from cachew.client.retries import Retries
from cachew.client.seeding import Seeding
from cachew.client.sharedpermissions import shared_umask
from cachew.client.workers import Job, Workers
from cachew.plumbing.clock import machine_clock

_PIECE = 2 * 1024 * 1024
_ATTEMPTS, _LONGEST_WAIT = 3, 10.0
_CONNECT, _IDLE = 5.0, 10.0
_TRUE = ("true", "yes", "on", "1", "")
_ONLY_GIT = ("http.pinnedpubkey", "http.curloptresolve")
_HAS_BUNDLES, _ALL_BUNDLES = "fetch.bundleCreationToken", str(2**64 - 1)
_CHECKING = ("fetch.fsckobjects", "transfer.fsckobjects")


class RemoteRepository:
    """A repository on a server, as git names it, and the repository that is fetched into.

    :param directory: of that one.
    :param name: the remote's.
    :param url: its address, which may hold credentials.
    :param config: returns what ``git config --null --list`` says in that repository.
    :param is_clone: whether ``git clone`` has just made the repository, and leaves its object format to the server.
    """

    def __init__(
        self, directory: GitDirectory, name: str, url: str, *, config: Callable[[], bytes], is_clone: bool
    ) -> None:
        self.directory = directory
        self.name = name
        self.is_clone = is_clone
        self.plain, self.user, self.authorization = without_credentials(url)
        environ = {**os.environ, "GIT_DIR": os.fsdecode(directory.path)}
        self.git = RepositoryGit(program="git", environ=environ)
        self.secrets = [self.authorization] if self.authorization else []
        self._config = config

    @cached_property
    def settings(self) -> list[tuple[str, str]]:
        """All that git is configured to do there, what counts most last."""
        return settings_told(self._config())

    @cached_property
    def asks_for_bundles(self) -> bool:
        """Whether git fetches the bundles that a server names, beside whatever it has (``transfer.bundleURI``)."""
        known = dict(self.settings)
        return known.get("transfer.bundleuri", "no").lower() in _TRUE and _HAS_BUNDLES.lower() not in known

    def settings_for(self, url: str) -> list[tuple[str, str]]:
        """Return what is set for HTTP with an address; only git knows which settings are meant."""
        if not any(name.startswith("http.") for name, _ in self.settings):
            return []
        one_each = self.git.values("--get-urlmatch", "http", url)
        headers = [("http.extraheader", value) for value in values_for("extraheader", url, self.settings)]
        return [*(pair for pair in one_each if pair[0] != "http.extraheader"), *headers]


def prepare(remote: RemoteRepository, options: HelperOptions, *, seeds: bool) -> bool:
    """Let git-lfs know the plain address, and seed the repository when that is to be done.

    Whatever fails is told, and git's own way goes on.

    :return: whether the repository was seeded.
    """
    with closing(Workers(1, "config")) as workers:
        address = _lfs_address(remote)
        telling = Job.done(None)
        try:
            telling = workers.submit(_tell_lfs, remote, address) if address else telling
        except ClientError:  # no thread for it
            _tell_lfs(remote, address)
        seeded = seeds and _seeded(remote, options)
        telling.result()
    if seeded and remote.asks_for_bundles:
        _spare_bundles(remote)
    return seeded


def _seeded(remote: RemoteRepository, options: HelperOptions) -> bool:
    try:
        with watched(0):
            _seed(remote, options)
        return True
    except (ClientError, OSError, ValueError) as error:
        if options.verbosity >= 1:
            from cachew.cli.secrets import masked, secrets_of

            shown = masked(str(error), [*remote.secrets, *secrets_of(remote.authorization, os.environ)])
            sys.stderr.write(f"cachew: {remote.plain} is fetched without its snapshot: {harmless(shown)}\n")
            sys.stderr.flush()
        return False


def _spare_bundles(remote: RemoteRepository) -> None:
    """Let git take the server's bundles for older than what it has, which holds all of them."""
    with suppress(OSError):  # where no process can be started they come besides
        remote.git.run(HERE, "config", "--local", _HAS_BUNDLES, _ALL_BUNDLES, check=False)


def tidy(remote: RemoteRepository) -> None:
    """Take back what git was told for the time of this fetch, when it waits for this process to end.

    That is about bundles, and ``refs/bundles/*`` of a repository that may be pushed on as it is: a bare one, or a
    mirror. Git says that it is a mirror only after it has fetched.
    """
    if remote.asks_for_bundles:
        with suppress(OSError):
            remote.git.run(HERE, "config", "--local", "--unset", _HAS_BUNDLES, _ALL_BUNDLES, check=False)
    if not remote.directory.is_bare and b"mirror" not in remote.directory.config():
        return
    mirror = ("--local", "--type=bool", "--get", f"remote.{remote.name}.mirror")
    with suppress(OSError):  # where no process can be started they stay, and the fetch has succeeded all the same
        if not remote.directory.is_bare and not remote.git.values(*mirror):
            return
        listed = remote.git.run(HERE, "for-each-ref", "--format=delete %(refname)", "refs/bundles", check=False).stdout
        remote.git.run(HERE, "update-ref", "--stdin", stdin=listed, check=False)


def _lfs_address(remote: RemoteRepository) -> str:
    """Return where LFS objects are, for git-lfs does not know the scheme of our addresses; empty when it is said."""
    plain, known = remote.plain.rstrip("/"), dict(remote.settings)
    if not remote.directory.lacks_lfs_address(os.fsencode(remote.name), os.fsencode(plain)):
        return ""
    said, address = known.get(f"remote.{remote.name}.lfsurl", ""), f"{plain}/info/lfs"
    good = f"remote.{remote.name}.url" in known and (not said or _was_its_own(said, address, known))
    return address if good else ""


def _was_its_own(said: str, address: str, known: Mapping[str, str]) -> bool:
    """Tell whether an address of LFS objects was written for what the remote was before it got another address."""
    ours = said.startswith(f"{address.partition('/git/')[0]}/git/") and said.endswith("/info/lfs")
    # Where pushes go elsewhere, the two addresses would take turns.
    return ours and said != address and not any(name.endswith((".pushurl", ".pushinsteadof")) for name in known)


def _tell_lfs(remote: RemoteRepository, address: str) -> None:
    with suppress(OSError):  # where no process can be started the next fetch tells it
        remote.git.run(HERE, "config", "--local", f"remote.{remote.name}.lfsurl", address, check=False)


def _seed(remote: RemoteRepository, options: HelperOptions) -> None:
    refs_place = dict(remote.settings).get("extensions.refstorage", "")
    if "://" in refs_place:
        raise ClientError("its refs are kept outside of it (extensions.refStorage)")
    if any(name in _CHECKING and value.lower() in _TRUE for name, value in remote.settings):
        raise ClientError("objects are to be checked as they come (transfer.fsckObjects)")
    os.umask(shared_umask(dict(remote.settings).get("core.sharedrepository", "umask"), _umask()))
    progress = GitProgress(stream=sys.stderr, clock=machine_clock(), shown=options.progress)
    downloads = Downloads(
        http=_http(remote),
        progress=progress,
        retries=Retries(pause=time.sleep, attempts=_ATTEMPTS, longest=_LONGEST_WAIT),
        piece_size=_PIECE,
    )
    chosen = options.snapshot_filter
    sha256 = dict(remote.settings).get("extensions.objectformat", "sha1") == "sha256"
    seeding = Seeding(
        repository=remote.directory,
        downloads=downloads,
        # A clone learns its format later, but what tables of refs hold is of the one that it has now.
        sha256=None if remote.is_clone and not remote.directory.has_reftable else sha256,
        threads=min(4, os.cpu_count() or 1),
        checks_out=not chosen and not remote.directory.is_bare,
    )
    query = f"?{urlencode({'filter': chosen}, safe=':')}" if chosen else ""
    refs = seeding.seed(f"{remote.plain.rstrip('/')}/snapshot.tar.zst{query}")
    progress.done()
    if remote.directory.has_reftable:
        if refs_place == "reftable":
            os.makedirs(remote.directory.reftable, exist_ok=True)
        lines = b"".join(b"create %s %s\n" % (name, oid) for name, oid in refs.items())
        remote.git.run(HERE, "update-ref", "--stdin", stdin=lines)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _http(remote: RemoteRepository) -> Http:
    said = remote.settings_for(remote.plain)
    unlike = next((name for name, _ in said if name in _ONLY_GIT), None)
    if unlike is not None:
        raise ClientError(f"only git itself can follow {unlike}")
    settings = read(said, os.environ)
    proxy = dict(remote.settings).get(f"remote.{remote.name}.proxy", settings.proxy)
    home = os.environ.get("HOME")
    credentials = GitCredentials(
        git=remote.git, home=Path(home) if home else None, user=remote.user, learnt=remote.secrets.append
    )
    authorization = settings.authorization or remote.authorization
    if authorization:
        remote.secrets.append(authorization)
    parts = urlsplit(remote.plain)

    def elsewhere(url: str) -> Connections:
        # What git is told of the server does not count there, and nobody is to know there who we are.
        theirs = read(remote.settings_for(url.partition("?")[0]), os.environ).anonymous()
        return Connections(connect_timeout=_CONNECT, proxy=git_proxy(theirs.proxy), tls=theirs.tls)

    return Http(
        server=f"{parts.scheme}://{parts.netloc}",
        authorization=authorization,
        connections=Connections(connect_timeout=_CONNECT, proxy=git_proxy(proxy), tls=settings.tls),
        idle_timeout=_IDLE,
        offers=lambda _, challenge: credentials.offers(remote.plain, challenge),
        headers=settings.headers,
        elsewhere=elsewhere,
    )
