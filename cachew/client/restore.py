"""``git restore``: a repository out of the server's snapshot, whole or not at all.

Everything happens in a staging directory, which becomes the target only at the end: a failure leaves nothing, so the
same command can simply be run again.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from cachew.client.addresses import RepositoryAddress, insteadof_prefix
from cachew.client.archives import Archives, Extracted
from cachew.client.checkout import Checkout
from cachew.client.clienterrors import ArchiveBroken, ClientError, FileDamaged, NotCached, ServerRefused
from cachew.client.deltabundle import BUNDLE_HEADER, DeltaBundles, default_branch
from cachew.client.existing import ExistingCheckout
from cachew.client.extract import Unpack, folds_case
from cachew.client.freshen import Freshener, WantedRefs
from cachew.client.gitcommand import Git
from cachew.client.gitconfig import rewritten
from cachew.client.lfssnapshots import LfsSnapshots
from cachew.client.snapshotrules import CONFIG, SnapshotRules
from cachew.client.staging import Staging, check_target, has_content, publish
from cachew.client.transferprogress import TransferProgress
from cachew.client.workers import Workers

_NOT_SERVED = "is not among the configured upstreams"
"""How a server says that it serves no repository of a host."""


class RestoreRequest(NamedTuple):
    """What the user asked for.

    :param address: the repository.
    :param directory: where it is to be.
    :param wanted: refs and commits that it must have.
    :param use_bundle: whether the delta bundle is applied.
    :param lfs: whether LFS objects are fetched.
    :param force: whether a checkout of the repository that is there is replaced though it has something of its own.
    """

    address: RepositoryAddress
    directory: Path
    wanted: WantedRefs
    use_bundle: bool = True
    lfs: bool = False
    force: bool = False


class GitRestore:
    """Restores repositories.

    :param archives: fetches and extracts archives.
    :param unpack: how archives are extracted.
    :param bundles: applies delta bundles.
    :param freshener: fetches what a snapshot lacks.
    :param lfs: fetches LFS objects.
    :param git: the git program.
    :param progress: is told of what happens.
    """

    def __init__(
        self,
        *,
        archives: Archives,
        unpack: Unpack,
        bundles: DeltaBundles,
        freshener: Freshener,
        lfs: LfsSnapshots,
        git: Git,
        progress: TransferProgress,
    ) -> None:
        self._archives = archives
        self._unpack = unpack
        self._bundles = bundles
        self._freshener = freshener
        self._lfs = lfs
        self._git = git
        self._progress = progress

    def restore(self, request: RestoreRequest) -> None:
        """Restore a repository.

        :raise ClientError: when that fails; the target is then as it was.
        """
        target = check_target(request.directory)
        existing = self._existing(target, request)
        within = target.exists() and existing is None
        with closing(Workers(1, "config")) as asking, Staging(target=target, within=within) as staging:
            rewritings = asking.submit(self._git.rewritings)
            folds = folds_case(staging.path("."))
            extracted = self._extract(request.address, lambda: staging.fresh("tree"), folds)
            checkout = Checkout(tree=staging.path("tree"), git=self._git)
            said_config = extracted.captured.get(CONFIG, b"")
            origin = checkout.configure(address=request.address, said_config=said_config, folds_case=folds)
            checkout.refresh_index()
            if request.use_bundle:
                self._bring_up_to_date(checkout, request.address, extracted, origin, staging.path("delta.bundle"))
            if request.wanted:
                self._freshener.satisfy(checkout, request.address, origin=origin, wanted=request.wanted)
            if request.lfs:
                self._lfs.fetch(checkout, request.address, fresh_directory=lambda: staging.fresh("lfs"))
            commit, rules = checkout.commit[:12], rewritings.result()
            if existing is not None:
                existing.check(request.address, force=request.force)
                existing.replace(checkout.tree)
            else:
                publish(checkout.tree, target)
        if within:  # what was moved there one by one has another time of change
            Checkout(tree=target, git=self._git).refresh_index()
        self._progress.say(f"Restored {request.address.name} at {commit} to {request.directory}")
        self._advise(request.address, origin, rules)

    def _extract(self, address: RepositoryAddress, fresh_directory: Callable[[], Path], folds: bool) -> Extracted:
        try:
            return self._archives.fetch(
                address.artefact("snapshot.tar.zst"),
                unpack=self._unpack,
                rules=lambda: SnapshotRules(folds_case=folds),
                fresh_directory=fresh_directory,
            )
        except NotCached as error:
            advice = f"Check the name. `git clone {address.url}` may work meanwhile."
            if _NOT_SERVED in str(error):
                where = address.upstream_url or f"https://{address.name}"
                advice = f"The server does not serve {address.host}. `git clone {where}` goes there without it."
            raise NotCached(
                f"no snapshot of {address.name} can be had ({error})", status=error.status, advice=advice
            ) from error
        except FileDamaged as error:
            raise ArchiveBroken(
                f"the snapshot of {address.name} is damaged on the server: {error}",
                f"Nothing was kept. Tell the server's operator; `git clone {address.url}` may work meanwhile.",
            ) from error
        except ServerRefused as error:
            error.advice = error.advice or f"`git clone {address.url}` may work meanwhile."
            raise

    def _existing(self, target: Path, request: RestoreRequest) -> ExistingCheckout | None:
        """Return the checkout that is to be replaced, None where there is nothing.

        :raise BadUsage: when what is there may not be replaced.
        """
        if not has_content(target):
            return None
        existing = ExistingCheckout(directory=target, git=self._git)
        existing.check(request.address, force=request.force)
        return existing

    def _bring_up_to_date(
        self, checkout: Checkout, address: RepositoryAddress, extracted: Extracted, origin: str, file: Path
    ) -> None:
        """Apply the delta bundle, then let HEAD be where the upstream's is now."""
        default = default_branch(extracted.headers)
        if bundle_url := extracted.headers.get(BUNDLE_HEADER):
            default = self._apply_bundle(checkout, bundle_url, file) or default
        if default is None or default == checkout.branch:
            return
        try:
            self._freshener.follow_default(checkout, address, origin=origin, branch=default)
        except (ClientError, OSError) as error:
            self._progress.warn(
                f"the upstream's default branch is {default} now, which could not be had ({error}); "
                f"`git fetch --prune origin` and `git checkout {default}` go there"
            )

    def _apply_bundle(self, checkout: Checkout, bundle_url: str, file: Path) -> str | None:
        try:
            other = self._bundles.apply(checkout, bundle_url, file=file)
        except (ClientError, OSError) as error:
            self._progress.warn(f"the delta bundle was not applied: {error}; `git pull` brings what is newer")
            return None
        finally:
            file.unlink(missing_ok=True)
        self._progress.say("Delta bundle applied")
        return other

    def _advise(self, address: RepositoryAddress, origin: str, rules: Sequence[tuple[str, str]]) -> None:
        if rewritten(origin, rules).removesuffix(".git") == address.url:
            return
        prefix = insteadof_prefix(origin, address)
        self._progress.say(
            "To fetch through this server from now on:\n"
            f'  git config --global url."{address.server}/git/{address.host}/".insteadOf {prefix}'
        )
