"""How a clone looks on disk that git never made."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cachew.snapshots.layout import Clone, bare_files, git_files, packed_refs, parse_refs

COMMIT, OTHER, TAG = "1" * 40, "2" * 40, "3" * 40
URL = "https://git.example/org/repo"
CLONE = Clone(
    commit=COMMIT,
    branch="main",
    default="main",
    refs={"refs/heads/main": COMMIT, "refs/heads/dev/x": OTHER, "refs/tags/v1": TAG, "refs/pull/1/head": OTHER},
    upstream_url=URL,
    object_format="sha1",
    made=1_700_000_000,
)


def config(files: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Read a configuration as git reads it."""
    path = tmp_path / "config"
    path.write_text(files["config"])
    command = ("git", "config", "--file", str(path), "--list", "-z")
    listed = subprocess.run(command, capture_output=True, check=True, timeout=20).stdout.decode()
    pairs = [entry.partition("\n") for entry in listed.split("\0") if entry]
    return {name: value for name, _, value in pairs}


def test_a_branch_is_checked_out() -> None:
    """It is a file of its own, every other branch is a packed one of the remote's, and nothing else is there."""
    files = git_files(CLONE)
    assert files["HEAD"] == "ref: refs/heads/main\n" and files["refs/heads/main"] == f"{COMMIT}\n"
    assert files["refs/remotes/origin/HEAD"] == "ref: refs/remotes/origin/main\n"
    assert parse_refs(files["packed-refs"].split("\n", 1)[1]) == {
        "refs/remotes/origin/main": COMMIT,
        "refs/remotes/origin/dev/x": OTHER,
        "refs/tags/v1": TAG,
    }
    assert set(files) == {
        "HEAD", "config", "packed-refs", "refs/heads/main", "refs/remotes/origin/HEAD",
        "logs/HEAD", "logs/refs/heads/main", "logs/refs/remotes/origin/HEAD",
    }  # fmt: skip


def test_a_detached_head_names_its_commit() -> None:
    """There is no branch then, nor a default where the upstream names none."""
    files = git_files(replace(CLONE, branch="", default=""))
    assert files["HEAD"] == f"{COMMIT}\n"
    assert set(files) == {"HEAD", "config", "packed-refs", "logs/HEAD"}


def test_reflogs_begin_as_a_clone_s() -> None:
    """Each with where its ref points, the upstream's default branch among them, from nothing."""
    files = git_files(replace(CLONE, default="dev/x"))
    nothing = "0" * 40
    tail = f"cachew <cachew@localhost> 1700000000 +0000\tclone: from {URL}\n"
    assert files["logs/HEAD"] == files["logs/refs/heads/main"] == f"{nothing} {COMMIT} {tail}"
    assert files["logs/refs/remotes/origin/HEAD"] == f"{nothing} {OTHER} {tail}"
    long = git_files(replace(CLONE, commit="a" * 64))
    assert long["logs/HEAD"].startswith("0" * 64 + " " + "a" * 64)


def test_a_branch_called_head_is_not_the_remote_s_head() -> None:
    """``refs/remotes/origin/HEAD`` is what the upstream's HEAD names, whatever branches there are."""
    files = git_files(replace(CLONE, refs={**CLONE.refs, "refs/heads/HEAD": OTHER}))
    assert "refs/remotes/origin/HEAD" not in files["packed-refs"]


@pytest.mark.parametrize("filter_", ["", "blob:none"])
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_the_configuration_is_what_git_reads(tmp_path: Path, object_format: str, filter_: str) -> None:
    """``origin`` is the upstream; extensions are there only with the version that allows them."""
    values = config(git_files(replace(CLONE, object_format=object_format, filter=filter_)), tmp_path)
    extended = object_format == "sha256" or bool(filter_)
    assert values["core.repositoryformatversion"] == ("1" if extended else "0")
    assert values.get("extensions.objectformat") == (None if object_format == "sha1" else "sha256")
    assert values.get("extensions.partialclone") == ("origin" if filter_ else None)
    assert values.get("remote.origin.promisor") == ("true" if filter_ else None)
    assert values.get("remote.origin.partialclonefilter") == (filter_ or None)
    assert values["remote.origin.url"] == URL
    assert values["remote.origin.fetch"] == "+refs/heads/*:refs/remotes/origin/*"
    assert (values["branch.main.remote"], values["branch.main.merge"]) == ("origin", "refs/heads/main")


def test_no_name_of_a_branch_says_anything_else(tmp_path: Path) -> None:
    """Quotes, semicolons and brackets in it are a part of its name, not of the configuration."""
    branch = 'x"];[core]hooksPath=#;'
    values = config(git_files(replace(CLONE, branch=branch)), tmp_path)
    assert values[f"branch.{branch}.merge"] == f"refs/heads/{branch}"
    assert not any("hookspath" in name.lower() for name in values if not name.startswith("branch."))


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_a_bare_repository_has_all_refs_of_its_own(tmp_path: Path, object_format: str) -> None:
    """Under their own names, and lets a partial clone be made of it."""
    files = bare_files(replace(CLONE, object_format=object_format))
    values = config(files, tmp_path)
    assert values["core.bare"] == "true" and values["uploadpack.allowfilter"] == "true"
    assert values.get("extensions.objectformat") == (None if object_format == "sha1" else "sha256")
    assert parse_refs(files["packed-refs"].split("\n", 1)[1]) == CLONE.refs
    assert bare_files(replace(CLONE, branch=""))["HEAD"] == f"{COMMIT}\n"


def test_packed_refs_are_sorted_by_their_bytes() -> None:
    """Git searches them so: not by code points where these differ, and also what is no UTF-8."""
    names = ["refs/heads/\uffee", "refs/heads/\U0001f600", "refs/heads/a", "refs/heads/\udcff"]
    lines = packed_refs(dict.fromkeys(names, COMMIT)).encode("utf-8", "surrogateescape").split(b"\n")
    assert lines[0] == b"# pack-refs with: sorted " and lines[-1] == b""
    assert lines[1:-1] == sorted(lines[1:-1]) and len(lines) == 6


def test_a_name_may_hold_what_ends_a_line_in_unicode() -> None:
    """Only a newline does in git."""
    refs = {"refs/heads/a\u2028b": COMMIT, "refs/heads/c\x85d": OTHER}
    assert parse_refs(packed_refs(refs).split("\n", 1)[1]) == refs
    assert parse_refs("") == {}
