"""Brings a fresh checkout from its snapshot's commit to the mirror's with the delta bundle that the server offers."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urljoin

from cachew.client.checkout import Checkout
from cachew.client.clienterrors import ClientError, ServerRefused
from cachew.client.download import Downloads, is_number
from cachew.client.gitconfig import is_branch
from cachew.client.room import Room

BUNDLE_HEADER = "X-Cachew-Bundle-Url"
HEAD_HEADER = "X-Cachew-Head"
_HEADS = "refs/heads/"
_FROM_FILES = {"protocol.file.allow": "always"}
"""Has git read the bundle for a user, too, who lets it fetch from no files; this is one of ours."""


def default_branch(headers: Mapping[str, str]) -> str | None:
    """Return the branch that is the upstream's default now, as the server says it, None when it does not."""
    name = unquote(headers.get(HEAD_HEADER, ""), errors="surrogateescape")
    return name.removeprefix(_HEADS) if name.startswith(_HEADS) and is_branch(name) else None


def resolve(bundle_url: str, *, server: str) -> str:
    """Return the absolute URL of a bundle.

    :param bundle_url: the header's value: a path on the server, or an absolute URL of the server.
    :param server: the server's base URL.
    """
    if bundle_url.startswith("/") and not bundle_url.startswith("//"):
        return server + bundle_url
    return urljoin(server + "/", bundle_url)


class DeltaBundles:
    """Applies delta bundles.

    :param downloads: the server.
    """

    def __init__(self, *, downloads: Downloads) -> None:
        self._downloads = downloads

    def apply(self, checkout: Checkout, bundle_url: str, *, file: Path) -> str | None:
        """Download a bundle, fetch from it, and fast-forward the branch that is checked out if the bundle is of it.

        :param file: where the bundle is kept meanwhile.
        :return: the branch that the bundle is of, when that is another one: the upstream's HEAD has moved there.
        :raise ClientError: when that fails; the checkout is then as it was.
        """
        url = self._on_the_server(bundle_url)
        try:
            self._download(url, file)
        except ServerRefused as answer:
            if answer.status == 204:
                return None
            raise
        git, tree, branch = checkout.git, checkout.tree, checkout.branch
        heads = git.run(tree, "bundle", "list-heads", str(file)).stdout.decode("utf-8", "surrogateescape").split("\n")
        names = [line.partition(" ")[2] for line in heads if line]
        branches = [name.removeprefix(_HEADS) for name in names if name.startswith(_HEADS)]
        for name in branches:
            refspec = f"+{_HEADS}{name}:refs/remotes/origin/{name}"
            git.run(tree, "fetch", "--quiet", "--prune", str(file), refspec, settings=_FROM_FILES)
        if branch in branches:
            git.run(tree, "merge", "--quiet", "--ff-only", f"refs/remotes/origin/{branch}")
            return None
        if branches:
            return branches[0]
        if branch is not None:
            raise ClientError("the bundle does not say which branch it is of")
        git.run(tree, "fetch", "--quiet", str(file), "HEAD", settings=_FROM_FILES)
        git.run(tree, "merge", "--quiet", "--ff-only", "FETCH_HEAD")
        return None

    def _on_the_server(self, bundle_url: str) -> str:
        http = self._downloads.http
        with suppress(ValueError):  # of what is no address
            url = resolve(bundle_url, server=http.server)
            if http.is_own(url):
                return url
        raise ClientError(f"the server names a bundle elsewhere: {bundle_url}")

    def _download(self, url: str, file: Path) -> None:
        download = self._downloads.open(url)
        try:
            length = download.headers.get("Content-Length", "")
            Room(file.parent).require(int(length) if is_number(length) else 0)
            with open(file, "wb") as sink:
                for piece in download.pieces():
                    sink.write(piece)
        finally:
            download.close()
