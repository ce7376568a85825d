"""The config that the client writes."""

import subprocess
from pathlib import Path

import pytest

from cachew.client.gitconfig import branch_of, config_text, plain_origin, rewritten


def test_git_reads_what_was_written(tmp_path: Path) -> None:
    """Git understands the values, however odd the branch is called."""
    branch = 'fe"a;t#ure/ä'
    file = tmp_path / "config"
    file.write_text(config_text(origin="https://h/p", branch=branch, sha256=True, folds_case=True), encoding="utf-8")
    listed = subprocess.run(["git", "config", "--file", str(file), "--list"], capture_output=True, check=True).stdout
    assert listed.decode().splitlines() == [
        "core.repositoryformatversion=1",
        "core.filemode=true",
        "core.bare=false",
        "core.logallrefupdates=true",
        "core.ignorecase=true",
        "core.precomposeunicode=true",
        "extensions.objectformat=sha256",
        "remote.origin.url=https://h/p",
        "remote.origin.fetch=+refs/heads/*:refs/remotes/origin/*",
        f"branch.{branch}.remote=origin",
        f"branch.{branch}.merge=refs/heads/{branch}",
    ]


def test_refuses_control_characters() -> None:
    """No value can begin a new line."""
    with pytest.raises(ValueError, match="control"):
        config_text(origin="x\n[alias]", branch=None, sha256=False, folds_case=False)


def test_reads_head() -> None:
    """HEAD is a branch or a commit."""
    assert branch_of("ref: refs/heads/a/b\n") == "a/b"
    assert branch_of("ab" * 20 + "\n") is None


@pytest.mark.parametrize("head", ["", "ref: refs/tags/x", "ref: refs/heads/../../config", "ref: refs/heads/a b", "x"])
def test_refuses_other_heads(head: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="HEAD"):
        branch_of(head)


def test_reads_the_origin_that_git_wrote() -> None:
    """The URL in a config of the usual form is found without git, in quotes or not."""
    url = "http://10.0.0.5:3000/org/repo"
    text = config_text(origin=url, branch="main", sha256=False, folds_case=False)
    assert plain_origin(text) == plain_origin(text.replace(f'"{url}"', url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[remote "origin"]\n\turl = "http://h/p\n',
        '[remote "origin"]\n\turl = http://h/p # comment\n',
        '[remote "origin"]\n\turl = http://h/p\\\n/more\n',
        '[remote "origin"]\n\turl = http://h/p\n\turl = http://h/q\n',
        '[remote "origin"]\n\turl = http://h/p\n[remote "origin"]\n\tURL = http://h/q\n',
        '[remote "other"]\n\turl = http://h/p\n',
    ],
)
def test_leaves_other_forms_to_git(text: str) -> None:
    """What is not in the usual form is not guessed at."""
    assert plain_origin(text) is None


def test_rewrites_urls_as_git_does() -> None:
    """The longest prefix that fits counts."""
    rules = [("http://a/", "https://h/"), ("http://b/", "https://h/org/"), ("http://c/", "ssh://")]
    assert rewritten("https://h/org/repo", rules) == "http://b/repo"
    assert rewritten("https://h/other", rules) == "http://a/other"
    assert rewritten("https://g/x", rules) == "https://g/x"
