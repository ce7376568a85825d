"""Advertisements and listings from memory, against those of the real git."""

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from cachew.plumbing.pktline import DELIM, FLUSH, decode, encode_all
from cachew.plumbing.streams import read_all
from cachew.smarthttp.advertise import ls_refs_response, v0_advertisement, v2_advertisement
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.clientcommands import V2LsRefs
from cachew.upstream.remoteref import RemoteRef
from tests.fakes.parsing import parse_command

pytestmark = pytest.mark.timeout(30)


def refs_of(git: Any, repository: Path) -> list[RemoteRef]:
    """The refs of a repository, in no useful order."""
    lines = git("-C", str(repository), "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)").splitlines()
    refs = [RemoteRef(name, oid, None, peeled or None) for name, oid, peeled in (line.split(" ") for line in lines)]
    refs.append(RemoteRef("HEAD", git("-C", str(repository), "rev-parse", "HEAD"), "refs/heads/main"))
    return refs


def agent_of(git: Any) -> str:
    return f"git/{git('version').split()[2]}"


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest_twisted.ensureDeferred
async def test_v2_advertisement(backend: Backend, git: Any, tmp_path: Path, object_format: str) -> None:
    """The v2 advertisement is that of the real backend, but for commands that are not announced."""
    git("init", "-q", "--bare", f"--object-format={object_format}", str(tmp_path / "bare"))
    for setting in ("allowFilter", "allowRefInWant"):
        git("-C", str(tmp_path / "bare"), "config", f"uploadpack.{setting}", "true")
    answer = await backend.info_refs(repository="r", directory=tmp_path / "bare", protocol="version=2")
    theirs = await read_all(answer.source, 10000)
    commands = ["object-info"] if b"object-info\n" in theirs else []
    assert v2_advertisement(object_format=object_format, commands=commands, agent=agent_of(git)) == theirs


@pytest.mark.parametrize("protocol", [None, "version=1"])
@pytest_twisted.ensureDeferred
async def test_v0_advertisement(backend: Backend, repository: Path, git: Any, protocol: str | None) -> None:
    """The v0 and v1 advertisements are those of the real backend, byte for byte."""
    answer = await backend.info_refs(repository="r", directory=repository, protocol=protocol)
    theirs = await read_all(answer.source, 10000)
    ours = v0_advertisement(
        refs_of(git, repository), object_format="sha1", version1=protocol is not None, agent=agent_of(git)
    )
    assert ours == theirs


def test_v0_advertisement_of_nothing() -> None:
    """Without refs the capabilities travel on a line of zeros."""
    body = v0_advertisement([RemoteRef("HEAD", None, "refs/heads/main")], object_format="sha256")
    packets = decode(body)
    assert packets[:2] == [b"# service=git-upload-pack\n", FLUSH] and packets[3:] == [FLUSH]
    line = packets[2]
    assert isinstance(line, bytes)
    assert line.startswith(b"0" * 64 + b" capabilities^{}\0multi_ack ")
    assert b"symref" not in line and b" filter " in line and b"object-format=sha256" in line


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["symrefs"],
        ["peel"],
        ["peel", "symrefs", "unborn"],
        ["peel", "symrefs", "ref-prefix HEAD", "ref-prefix refs/heads/m"],
        ["ref-prefix refs/tags/"],
        ["ref-prefix refs/heads/d"],
        ["ref-prefix nothing"],
    ],
)
@pytest_twisted.ensureDeferred
async def test_ls_refs(backend: Backend, repository: Path, git: Any, arguments: list[str]) -> None:
    """A listing is that of the real backend, byte for byte, whatever is asked."""
    body = encode_all([b"command=ls-refs", DELIM, *(line.encode() for line in arguments), FLUSH])
    answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol="version=2")
    theirs = await read_all(answer.source, 10000)
    command = parse_command(body, "version=2")
    assert isinstance(command, V2LsRefs)
    assert ls_refs_response(refs_of(git, repository), command) == theirs


@pytest.mark.parametrize("arguments", [[], ["unborn"], ["symrefs", "unborn"], ["symrefs", "unborn", "ref-prefix r"]])
@pytest_twisted.ensureDeferred
async def test_unborn_head(backend: Backend, git: Any, tmp_path: Path, arguments: list[str]) -> None:
    """An unborn HEAD is told to whom the real backend tells it."""
    git("init", "-q", "--bare", "-b", "trunk", str(tmp_path / "bare"))
    body = encode_all([b"command=ls-refs", DELIM, *(line.encode() for line in arguments), FLUSH])
    answer = await backend.upload_pack(repository="r", directory=tmp_path / "bare", body=body, protocol="version=2")
    command = parse_command(body, "version=2")
    assert isinstance(command, V2LsRefs)
    assert ls_refs_response([RemoteRef("HEAD", None, "refs/heads/trunk")], command) == await read_all(
        answer.source, 10000
    )
