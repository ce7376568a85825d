"""Looks at the files that the settings name: each is there, can be read, and holds what it is for.

Only the outermost layer calls this; nothing else of the config touches a disk. What is in the files is never shown.
"""

import errno
import netrc
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_public_key
from cryptography.x509 import load_pem_x509_certificates

from cachew.config.cachetiers import DiskTier
from cachew.config.contradictions import Problem
from cachew.config.credentialkinds import (
    CommandCredential,
    Credential,
    GitHubAppCredential,
    NetrcCredential,
    TokenCredential,
)
from cachew.config.settings import Settings

SHORTEST_ADMIN_TOKEN = 16
"""Characters that make an admin token hard enough to guess."""

_LARGEST = 16 * 2**20

_Where = tuple[str | int, ...]
_OPENING: tuple[_Where, ...] = (("manhole", "authorized-keys"), ("admin", "token-file"))
"""Files whose writers are let in."""
_Check = Callable[[bytes], str]
"""Says what is wrong with a file's content, nothing when it is as it should be."""


class _NotTaken(Exception):
    """A file is none that would do, whatever it holds; the message says why."""


def file_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong with each file that the settings name."""
    for where, file, check in _files(settings):
        try:
            complaint = check(_content(file)) or (_writers(file) if where in _OPENING else "")
        except _NotTaken as reason:
            complaint = str(reason)
        except OSError as error:
            complaint = f"can't be read: {error.strerror}"
        if complaint:
            yield Problem(where, f'"{file}" {complaint}')
    yield from _programs(settings)
    yield from _shared_directories(settings)


def _content(file: Path) -> bytes:
    """Return what is in a file, which is read again while the server runs: a pipe would be empty then.

    :raise _NotTaken: when it is none that can be read to its end.
    """
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        kind = os.fstat(opened.fileno()).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind):
            raise _NotTaken("is no regular file")
        content = opened.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise _NotTaken(f"is larger than {_LARGEST // 2**20} MiB")
    return content


def _files(settings: Settings) -> Iterator[tuple[_Where, Path, _Check]]:
    for host, upstream in settings.upstreams.items():
        if upstream.ca_file is not None:
            yield ("upstreams", host, "ca-file"), upstream.ca_file, _certificates
        if upstream.client_certificate_file is not None:
            where = ("upstreams", host, "client-certificate-file")
            yield where, upstream.client_certificate_file, _certificate_and_key
        if upstream.proxy_credentials_file is not None:
            yield ("upstreams", host, "proxy-credentials-file"), upstream.proxy_credentials_file, _user_and_password
    if settings.proxy.credentials_file is not None:
        yield ("proxy", "credentials-file"), settings.proxy.credentials_file, _user_and_password
    if settings.admin.token_file is not None:
        yield ("admin", "token-file"), settings.admin.token_file, _admin_token
    for index, credential in enumerate(settings.credentials):
        for key, file, check in _of_credential(credential):
            yield ("credentials", index, key), file, check
    if settings.manhole.listen is not None and settings.manhole.authorized_keys is not None:
        yield ("manhole", "authorized-keys"), settings.manhole.authorized_keys, _public_keys


def _of_credential(credential: Credential) -> Iterator[tuple[str, Path, _Check]]:
    if isinstance(credential, TokenCredential) and credential.token_file is not None:
        yield "token-file", credential.token_file, _token
    elif isinstance(credential, NetrcCredential):
        host = urlsplit(credential.url_prefix).hostname or ""
        yield "file", credential.file, lambda content: _netrc(credential.file, host)
    elif isinstance(credential, GitHubAppCredential):
        yield "private-key-file", credential.private_key_file, _rsa_key


def _certificates(content: bytes) -> str:
    try:
        found = load_pem_x509_certificates(content)
    except ValueError:
        found = []
    return "" if found else "holds no certificate in PEM form"


def _certificate_and_key(content: bytes) -> str:
    try:
        key = load_pem_private_key(content, None)
        certified = load_pem_x509_certificates(content)[0].public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "holds no certificate and private key in PEM form without a password"
    return "" if certified == key.public_key() else "holds a certificate first that is not its key's"


def _token(content: bytes) -> str:
    try:
        token = content.decode("utf-8").strip()
    except UnicodeDecodeError:
        return "holds no text"
    if not token:
        return "is empty"
    return "" if token.isprintable() and " " not in token else "holds more than a token"


def _user_and_password(content: bytes) -> str:
    text = content.decode("utf-8", "replace").strip()
    if not text:
        return "is empty"
    user, _, password = text.partition(":")
    return "" if user and password and text.isprintable() else "does not hold USER:PASSWORD"


def admin_token_complaint(token: str) -> str:
    """Say what is wrong with an admin token, nothing when it is fit."""
    if not token:
        return "is empty"
    if len(token) < SHORTEST_ADMIN_TOKEN:
        return f"holds fewer than {SHORTEST_ADMIN_TOKEN} characters"
    return "" if token.isascii() and token.isprintable() and " " not in token else "holds more than a token"


def _admin_token(content: bytes) -> str:
    return admin_token_complaint(content.decode("utf-8", "replace").strip())


def _netrc(file: Path, host: str) -> str:
    try:
        found = netrc.netrc(str(file)).hosts.get(host)
    except (netrc.NetrcParseError, ValueError):
        return "is no netrc file"  # the parser's own message quotes the file, secrets included
    if found is None:
        return f"has no entry for {host}"
    return "" if found[2] else f"has no password for {host}"


def _rsa_key(content: bytes) -> str:
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "holds no private key in PEM form without a password"
    return "" if isinstance(key, RSAPrivateKey) else "holds no RSA key"


def _public_keys(content: bytes) -> str:
    lines = [line.strip() for line in content.split(b"\n") if line.strip() and not line.strip().startswith(b"#")]
    return "" if any(map(_is_public_key, lines)) else "holds no public key in OpenSSH's form, so nobody could log in"


def _is_public_key(line: bytes) -> bool:
    try:
        load_ssh_public_key(line)
    except Exception:
        # The library raises several kinds for what it doesn't know.
        return False
    return True


def _writers(file: Path) -> str:
    """Say who else may write to a file, or put another in its place; what is in it is then not the operator's word."""
    for path in (file, *file.resolve().parents):
        status = path.stat()
        others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if others and not (path.is_dir() and status.st_mode & stat.S_ISVTX):
            return "may be written by others" if path == file else f"may be replaced by others, who may write to {path}"
    return ""


def _programs(settings: Settings) -> Iterator[Problem]:
    for index, credential in enumerate(settings.credentials):
        if isinstance(credential, CommandCredential):
            program = Path(credential.command[0])
            if program.is_absolute() and not (program.is_file() and os.access(program, os.X_OK)):
                yield Problem(("credentials", index, "command"), f'"{program}" is no program that can be run')


def _shared_directories(settings: Settings) -> Iterator[Problem]:
    """Find what is one directory by way of links; what is by its name was found without looking."""
    seen: dict[Path, int] = {}
    for index, tier in enumerate(settings.cache):
        if isinstance(tier, DiskTier):
            path = Path(os.path.realpath(tier.path or settings.state / "cache"))
            for other, number in seen.items():
                if path.is_relative_to(other) or other.is_relative_to(path):
                    yield Problem(("cache", index, "path"), f"is by way of a link in the directory of cache[{number}]")
            seen[path] = index
