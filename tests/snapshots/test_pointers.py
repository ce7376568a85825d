"""Finding LFS pointers in what git says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.snapshots.pointers import BatchScanner, Pointer, TreeScanner, parse_pointer

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
TEXT = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n".encode()


def test_a_pointer_is_read() -> None:
    """The object's id and size, and where git-lfs keeps it."""
    assert parse_pointer(TEXT) == Pointer(OID, 12345)
    assert Pointer(OID, 1).path == f"objects/4d/7a/{OID}"


@pytest.mark.parametrize("data", [b"", TEXT[1:], TEXT.replace(b"sha256", b"md5"), TEXT.replace(b"size", b"sise")])
def test_other_blobs_are_none(data: bytes) -> None:
    """What isn't a pointer in every line is an ordinary file."""
    assert parse_pointer(data) is None


@given(st.integers(1, 40))
def test_git_s_output_may_come_in_any_pieces(step: int) -> None:
    """Candidates and pointers are the same however the pipe cuts them."""
    tree = b"".join(
        [
            b"100644 blob " + b"a" * 40 + b"     130\tname\n100644 blob x\0",
            b"100644 blob " + b"b" * 40 + b"   99999\tbig\0",
            b"120000 blob " + b"c" * 40 + b"     130\tlink\0",
            b"160000 commit " + b"d" * 40 + b"       -\tsubmodule\0",
            b"100755 blob " + b"e" * 64 + b"     140\tsha256\0",
        ]
    )
    scanner = TreeScanner()
    found = [oid for at in range(0, len(tree), step) for oid in scanner.feed(tree[at : at + step])]
    assert found == ["a" * 40, "e" * 64]
    blob = b"a" * 40 + b" blob %d\n" % len(TEXT) + TEXT + b"\n"
    other = b"b" * 40 + b" blob 4\nx\ny\n\n" + b"c" * 40 + b" missing\n"
    batch, data = BatchScanner(), blob + other + blob
    pointers = [pointer for at in range(0, len(data), step) for pointer in batch.feed(data[at : at + step])]
    assert pointers == [Pointer(OID, 12345)] * 2


def test_anything_else_is_refused() -> None:
    """A line that git never writes is not skipped."""
    with pytest.raises(ValueError, match="cat-file"):
        list(BatchScanner().feed(b"fatal: no\n"))
