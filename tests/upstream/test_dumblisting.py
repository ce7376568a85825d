"""What dumb upstreams say in ``info/refs`` and ``HEAD``."""

import pytest

from cachew.upstream.dumblisting import DumbRefsReader, begins_dumb, head_of
from cachew.upstream.listing import Listing, NotGit, RemoteRef

A, B, C = "a" * 40, "b" * 40, "c" * 40
REFS = f"{A}\trefs/heads/main\n{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n".encode()


def read(body: bytes, head: bytes = b"", size: int = 10**9) -> Listing:
    """Read an answer in pieces of a size."""
    reader = DumbRefsReader("text/plain")
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    return reader.listing(head)


@pytest.mark.parametrize("size", [1, 50, 10**9])
def test_refs_and_what_tags_peel_to_are_read_however_they_are_cut(size: int) -> None:
    """HEAD comes first, with what it leads to."""
    listing = read(REFS, b"ref: refs/heads/main\n", size)
    assert listing.refs == (
        RemoteRef("HEAD", A, "refs/heads/main"),
        RemoteRef("refs/heads/main", A),
        RemoteRef("refs/tags/v1", B, None, C),
    )
    assert (listing.object_format, listing.protocol) == ("sha1", 0)


def test_head_says_a_branch_that_is_not_born_or_a_commit() -> None:
    """As in a repository without a commit, or one whose HEAD is detached."""
    assert read(b"", b"ref:  refs/heads/new\n").refs == (RemoteRef("HEAD", None, "refs/heads/new"),)
    assert read(REFS, f"{B}\n".encode()).refs[0] == RemoteRef("HEAD", B)


def test_a_head_that_says_nothing_is_left_out() -> None:
    """The refs are there all the same."""
    assert read(REFS, b"<html>").by_name.keys() == {"refs/heads/main", "refs/tags/v1"}


def test_object_ids_tell_the_object_format() -> None:
    """Those of refs, or where there are none that of HEAD."""
    assert read(f"{'d' * 64}\trefs/heads/main\n".encode()).object_format == "sha256"
    assert read(b"", b"d" * 64).object_format == "sha256"


def test_a_head_of_another_object_format_says_nothing() -> None:
    """Its id can be no object's here."""
    listing = read(REFS, b"d" * 64)
    assert listing.object_format == "sha1" and "HEAD" not in listing.by_name


def test_what_a_tag_peels_to_belongs_to_the_ref_before_it() -> None:
    """Elsewhere it says nothing."""
    assert read(f"{C}\trefs/tags/v1^{{}}\n{A}\trefs/heads/main\n".encode()).refs == (RemoteRef("refs/heads/main", A),)


def test_a_name_that_git_does_not_take_costs_nobody_the_others() -> None:
    """It is passed over."""
    body = f"{A}\trefs/heads/q?\n".encode() + REFS
    assert [ref.name for ref in read(body).refs] == ["refs/heads/main", "refs/tags/v1"]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>\n", REFS + b"half a line", b"x" * 9000, f"{A}\trefs/heads/a\n{'d' * 64}\trefs/heads/b\n".encode()],
)
def test_what_is_no_list_of_refs_is_refused(body: bytes) -> None:
    """Nothing, a page, one that breaks off, a line without an end, ids of two formats."""
    with pytest.raises(NotGit):
        read(body)


def test_the_beginning_tells_whether_it_is_one() -> None:
    """Smart upstreams begin with a packet's length."""
    assert begins_dumb(REFS)
    assert not begins_dumb(b"001e# service=git-upload-pack\n") and not begins_dumb(b"")


@pytest.mark.parametrize("head", [b"ref: refs/heads/main\n", f"{B}\n".encode(), b""])
def test_head_is_told_on_as_it_was(head: bytes) -> None:
    """A branch, a commit, or nothing."""
    assert head_of(read(REFS, head)) == head
