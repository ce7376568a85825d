"""Brings a fresh checkout from its snapshot's commit to the mirror's with the delta bundle that the server offers."""

from pathlib import Path
from urllib.parse import urljoin

from cachew.client.checkout import Checkout
from cachew.client.download import Downloads, is_number
from cachew.client.errors import ClientError, ServerRefused
from cachew.client.room import Room

BUNDLE_HEADER = "X-Cachew-Bundle-Url"


def resolve(bundle_url: str, *, server: str) -> str:
    """Return the absolute URL of a bundle.

    :param bundle_url: the header's value: a path on the server, or an absolute URL of the server.
    :param server: the server's base URL.
    """
    if bundle_url.startswith("/") and not bundle_url.startswith("//"):
        return server + bundle_url
    return urljoin(server + "/", bundle_url)


class Bundles:
    """Applies delta bundles.

    :param downloads: the server.
    """

    def __init__(self, *, downloads: Downloads) -> None:
        self._downloads = downloads

    def apply(self, checkout: Checkout, bundle_url: str, *, file: Path) -> None:
        """Download a bundle, fetch from it and fast-forward the branch that is checked out.

        :param file: where the bundle is kept meanwhile.
        :raise ClientError: when that fails; the checkout is then as it was.
        """
        branch = checkout.branch
        if branch is None:
            raise ClientError("no branch is checked out")
        url = resolve(bundle_url, server=self._downloads.http.server)
        if not self._downloads.http.is_own(url):
            raise ClientError(f"the server names a bundle elsewhere: {url}")
        try:
            self._download(url, file)
        except ServerRefused as answer:
            if answer.status == 204:
                return
            raise
        git, tree = checkout.git, checkout.tree
        heads = git.run(tree, "bundle", "list-heads", str(file)).stdout.decode("utf-8", "replace").splitlines()
        names = [line.partition(" ")[2] for line in heads]
        name = f"refs/heads/{branch}"
        source = name if name in names else "HEAD"
        git.run(tree, "fetch", "--quiet", str(file), f"+{source}:refs/remotes/origin/{branch}")
        git.run(tree, "merge", "--quiet", "--ff-only", f"refs/remotes/origin/{branch}")

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
