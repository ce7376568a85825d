"""How git would talk HTTP to an address: its ``http.*`` settings and variables (git-config(1)), for our requests."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from os.path import expanduser
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from ssl import SSLContext

_FALSE = ("false", "no", "off", "0")


class HttpSettings(NamedTuple):
    """What git would do.

    :param authorization: the header that the user has configured, None for none.
    :param headers: other headers that he has.
    :param proxy: of ``http.proxy``; empty for none, None when nothing is said.
    :param verify: whether the server's certificate is checked.
    :param authority: file of the authorities that sign certificates, empty for the system's.
    :param authorities: directory of such files.
    :param certificate: the client's own, and the file of its key.
    """

    authorization: "str | None" = None
    headers: "Mapping[str, str]" = MappingProxyType({})
    proxy: "str | None" = None
    verify: bool = True
    authority: str = ""
    authorities: str = ""
    certificate: "tuple[str, str]" = ("", "")

    def anonymous(self) -> "HttpSettings":
        """Return the settings without what proves who the user is."""
        return self._replace(authorization=None, headers={}, certificate=("", ""))

    def tls(self) -> "SSLContext":
        """Make the settings of a TLS connection.

        :raise OSError: when a file can't be read.
        """
        import ssl  # which those without TLS need not wait for

        context = ssl.create_default_context(cafile=self.authority or None, capath=self.authorities or None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate[0]:
            context.load_cert_chain(self.certificate[0], self.certificate[1] or None)
        return context


def read(values: "Sequence[tuple[str, str]]", environ: Mapping[str, str]) -> HttpSettings:
    """Understand settings.

    :param values: of ``git config --get-urlmatch http URL``, and every ``http.extraHeader``.
    :param environ: has git's own variables, which come first.
    """
    said = {name.lower().partition(".")[2]: value for name, value in values}
    headers = _headers(value for name, value in values if name.lower() == "http.extraheader")
    authorization = [value for name, value in headers.items() if name.lower() == "authorization"]
    return HttpSettings(
        authorization=authorization[-1] if authorization else None,
        headers={name: value for name, value in headers.items() if name.lower() != "authorization"},
        proxy=said.get("proxy"),
        verify="GIT_SSL_NO_VERIFY" not in environ and said.get("sslverify", "true").lower() not in _FALSE,
        authority=environ.get("GIT_SSL_CAINFO") or expanduser(said.get("sslcainfo", "")),
        authorities=environ.get("GIT_SSL_CAPATH") or expanduser(said.get("sslcapath", "")),
        certificate=(
            environ.get("GIT_SSL_CERT") or expanduser(said.get("sslcert", "")),
            environ.get("GIT_SSL_KEY") or expanduser(said.get("sslkey", "")),
        ),
    )


def _headers(lines: Iterable[str]) -> "dict[str, str]":
    """Return header fields as git collects them: an empty line takes back all before it."""
    found = dict[str, str]()
    for line in lines:
        name, _, value = line.partition(":")
        if not line:
            found.clear()
        elif value.strip():
            found[name.strip()] = value.strip()
    return found


def without_credentials(url: str) -> "tuple[str, str, str | None]":
    """Take the credentials out of an address.

    :return: the plain address, the user's name (empty for none), and the ``Authorization`` that a password makes.
    """
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    pair = f"{unquote(name)}:{unquote(password)}".encode("utf-8", "surrogateescape")
    plain = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return plain, unquote(name), f"Basic {b64encode(pair).decode()}" if colon else None
