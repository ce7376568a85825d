"""The parsers against what git itself says."""

import subprocess
from pathlib import Path

import pytest

from cachew.plumbing.pktline import FLUSH, Packet, decode
from cachew.upstream.listing import Listing, RemoteRef, ls_refs_request
from tests.fakes.parsing import head_target, parse_ls_refs, parse_v0_advertisement, parse_v2_capabilities


class Repository:
    """A real repository and its upload-pack."""

    def __init__(self, path: Path, object_format: str) -> None:
        self._path = path
        self.git("init", "-q", "-b", "trunk", f"--object-format={object_format}", str(path))

    def git(self, *words: str, stdin: bytes = b"", protocol: str = "version=0") -> bytes:
        identity = {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_PROTOCOL": protocol, **identity}
        argv = ["git", *(() if words[0] == "init" else ("-C", str(self._path))), *words]
        return subprocess.run(argv, input=stdin, env=environment, capture_output=True, check=True, timeout=20).stdout

    def fill(self) -> tuple[str, str]:
        """Make a commit and an annotated tag; return their ids."""
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        self.git("tag", "-a", "-m", "x", "v1")
        commit, tag = (self.git("rev-parse", name).decode().strip() for name in ("HEAD", "v1"))
        return commit, tag

    def v0(self) -> Listing:
        advertised = self.git("upload-pack", "--stateless-rpc", "--advertise-refs", ".")
        service: list[Packet] = [b"# service=git-upload-pack\n", FLUSH]  # git-http-backend's own
        return parse_v0_advertisement([*service, *decode(advertised)])

    def v2(self, *prefixes: str) -> Listing:
        advertised = self.git("upload-pack", "--stateless-rpc", "--advertise-refs", ".", protocol="version=2")
        capabilities = parse_v2_capabilities(decode(advertised))
        question = ls_refs_request(capabilities, prefixes)
        said = self.git("upload-pack", "--stateless-rpc", ".", stdin=question, protocol="version=2")
        return parse_ls_refs(decode(said), capabilities.object_format)


@pytest.fixture(params=["sha1", "sha256"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    """Return an empty repository."""
    return Repository(tmp_path / "repository", request.param)


def test_same_in_both_protocols(repository: Repository) -> None:
    """git tells the same refs in v0 and in v2."""
    commit, tag = repository.fill()
    expected = (
        RemoteRef("HEAD", commit, "refs/heads/trunk"),
        RemoteRef("refs/heads/trunk", commit),
        RemoteRef("refs/tags/v1", tag, None, commit),
    )
    assert repository.v0().refs == repository.v2().refs == expected
    assert repository.v2("refs/tags/").refs == expected[2:]


def test_empty(repository: Repository) -> None:
    """git tells of an empty repository in both protocols, and in v2 which branch is to be born."""
    assert repository.v0().empty and repository.v2().empty
    assert head_target(repository.v2()) == "refs/heads/trunk"
