"""The files that the settings name: missing, empty and wrong ones are told with their keys."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cachew.config.files import file_problems
from cachew.config.load import ConfigErrors, load
from tests.functional.certificates import Authority

TOKEN = "[[credentials]]\nkind = 'token'\nurl-prefix = 'https://h/'\ntoken-file = '{}'"
NETRC = "[[credentials]]\nkind = 'netrc'\nurl-prefix = 'https://h/'\nfile = '{}'"
APP = "[[credentials]]\nkind = 'github-app'\nurl-prefix = 'https://h/'\napp-id = '1'\nprivate-key-file = '{}'"
ADMIN = "[admin]\ntoken-file = '{}'"
CA = "[upstreams.h]\nca-file = '{}'"
OWN = "[upstreams.h]\nclient-certificate-file = '{}'"
KEYS = "[manhole]\nlisten = 'tcp:1:interface=127.0.0.1'\nauthorized-keys = '{}'"
PROXY = "[proxy]\nurl = 'http://p:1'\ncredentials-file = '{}'"
OWN_PROXY = "[upstreams.h]\nproxy = 'http://p:1'\nproxy-credentials-file = '{}'"
EVERY = [
    (PROXY, "proxy.credentials-file"),
    (OWN_PROXY, "upstreams.h.proxy-credentials-file"),
    (TOKEN, "credentials[0].token-file"),
    (NETRC, "credentials[0].file"),
    (APP, "credentials[0].private-key-file"),
    (ADMIN, "admin.token-file"),
    (CA, "upstreams.h.ca-file"),
    (OWN, "upstreams.h.client-certificate-file"),
    (KEYS, "manhole.authorized-keys"),
]

RSA = rsa_key(65537, 2048)
PEM = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
UNKNOWN = "-----BEGIN PRIVATE KEY-----\nMBECAQAwBQYDKgMEBAUEA2FiYw==\n-----END PRIVATE KEY-----\n"
"""A key of a kind that nobody knows."""
with TemporaryDirectory() as directory:
    SHOWN = Authority(Path(directory)).server_pem("client").decode()


def complaints(config: str, file: Path) -> list[str]:
    try:
        load(config.format(file), environ={}, check_files=file_problems)
    except ConfigErrors as errors:
        return [str(problem).replace(str(file), "FILE") for problem in errors.problems]
    return []


@pytest.mark.parametrize(("config", "key"), EVERY)
def test_missing_empty_and_unreadable_files(config: str, key: str, tmp_path: Path) -> None:
    """A file that is missing, empty, blank or a directory is told at start, with file and key."""
    file = tmp_path / "file"
    assert complaints(config, file) == [f'{key}: "FILE" can\'t be read: No such file or directory']
    for content in (b"", b"\n", b"  \n\n"):
        file.write_bytes(content)
        (found,) = complaints(config, file)
        assert found.startswith(f'{key}: "FILE" ')
    assert complaints(config, tmp_path)[0].endswith("can't be read: Is a directory")


@pytest.mark.parametrize(("config", "key"), EVERY)
def test_what_is_no_file_of_ones_own(config: str, key: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to, and a device without end, keep no start waiting; neither does a link to itself."""
    os.mkfifo(tmp_path / "pipe")
    assert complaints(config, tmp_path / "pipe") == [f'{key}: "FILE" is no regular file']
    assert complaints(config, Path("/dev/zero")) == [f'{key}: "FILE" is no regular file']
    (tmp_path / "link").symlink_to("link")
    assert complaints(config, tmp_path / "link") == [f'{key}: "FILE" can\'t be read: Too many levels of symbolic links']


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    """It is not read to its end."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**40)
    assert complaints(ADMIN, tmp_path / "file") == ['admin.token-file: "FILE" is larger than 16 MiB']


def test_a_directory_whose_link_leads_to_itself(tmp_path: Path) -> None:
    """It is nobody else's; what it is not is told by whoever would write there."""
    (tmp_path / "link").symlink_to("link")
    assert complaints("state = '{}'", tmp_path / "link") == []


@pytest.mark.parametrize(
    ("config", "content", "complaint"),
    [
        (TOKEN, "abc def", "holds more than a token"),
        (TOKEN, "secret\n", ""),
        (PROXY, "me:", "does not hold USER:PASSWORD"),
        (PROXY, "secret", "does not hold USER:PASSWORD"),
        (OWN_PROXY, "me:secret\n", ""),
        (ADMIN, "short", "holds fewer than 16 characters"),
        (ADMIN, "0123456789abcdef\n", ""),
        (NETRC, "machine other login me password secret", "has no entry for h"),
        (NETRC, "machne h login me password secret", "is no netrc file"),
        (NETRC, 'machine h login me password ""', "has no password for h"),
        (NETRC, "machine h login me password secret", ""),
        (APP, "secret", "holds no private key in PEM form without a password"),
        (APP, PEM, ""),
        (APP, UNKNOWN, "holds no private key in PEM form without a password"),
        (OWN, UNKNOWN + SHOWN, "holds no certificate and private key in PEM form without a password"),
        (CA, "secret", "holds no certificate in PEM form"),
        (CA, PEM, "holds no certificate in PEM form"),
        (OWN, PEM, "holds no certificate and private key in PEM form without a password"),
        (
            OWN,
            SHOWN.partition("-----BEGIN PRIVATE")[0],
            "holds no certificate and private key in PEM form without a password",
        ),
        (OWN, SHOWN.partition("-----BEGIN PRIVATE")[0] + PEM, "holds a certificate first that is not its key's"),
        (OWN, SHOWN, ""),
        (KEYS, "# nobody\nssh-rsa secret", "holds no public key in OpenSSH's form, so nobody could log in"),
    ],
)
def test_files_that_hold_something_else(config: str, content: str, complaint: str, tmp_path: Path) -> None:
    """A file that does not hold what it is for is told at start; what it holds is not shown."""
    file = tmp_path / "file"
    file.write_text(content)
    found = complaints(config, file)
    assert [text.partition('"FILE" ')[2] for text in found] == ([complaint] if complaint else [])
    assert "secret" not in "".join(found)


@pytest.mark.parametrize("key", [RSA, ec_key(SECP256R1()), Ed25519PrivateKey.generate()])
def test_keys_of_every_usual_kind(key: object, tmp_path: Path) -> None:
    """RSA, ECDSA and Ed25519 keys may log in to the manhole."""
    file = tmp_path / "file"
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined]
    file.write_bytes(b"# me\n" + public + b" me@here\n")
    assert complaints(KEYS, file) == []


def test_programs_and_directories(tmp_path: Path) -> None:
    """A credential command that can't be run, and two tiers in one directory by way of a link, are told at start."""
    command = "[[credentials]]\nkind = 'command'\nurl-prefix = 'https://h/'\ncommand = ['{}']"
    assert complaints(command, tmp_path / "none") == ['credentials[0].command: "FILE" is no program that can be run']
    (tmp_path / "file").touch()
    assert len(complaints(command, tmp_path / "file")) == 1 and not complaints(command, Path("/bin/true"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    tiers = "[[cache]]\nbackend='disk'\npath='{0}/a'\n[[cache]]\nbackend='disk'\npath='{0}/b'"
    assert complaints(tiers, tmp_path) == ["cache[1].path: is by way of a link in the directory of cache[0]"]


KEY = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
WRITABLE = {KEYS: KEY, ADMIN: b"a-long-enough-admin-token"}


@pytest.mark.parametrize("config", WRITABLE)
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_files_that_let_in_must_not_be_written_by_others(config: str, mode: int, tmp_path: Path) -> None:
    """Keys and tokens that others may write, or put others in the place of, are refused at start."""
    file = tmp_path / "own" / "file"
    file.parent.mkdir(mode=0o755)
    file.write_bytes(WRITABLE[config])
    file.chmod(0o644)
    assert complaints(config, file) == []
    file.chmod(mode)
    (found,) = complaints(config, file)
    assert found.endswith('"FILE" may be written by others')
    file.chmod(0o600)
    file.parent.chmod(0o777)
    (found,) = complaints(config, file)
    assert "may be replaced by others" in found
    file.parent.chmod(0o1777)
    assert complaints(config, file) == []
