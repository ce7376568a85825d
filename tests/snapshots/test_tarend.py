"""A tar stream is cut where it ends."""

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from cachew.snapshots.tarend import TarEnd


def archive(contents: list[bytes]) -> bytes:
    """Return an archive, without what fills its last record."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for number, content in enumerate(contents):
            entry = tarfile.TarInfo(f"{'long/' * (number * 40)}{number}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        end = tar.offset
    return stream.getvalue()[:end] + bytes(1024)


@given(
    st.lists(st.sampled_from([b"", b"x", bytes(512), bytes(3000), b"\n" * 1024]), max_size=4),
    st.integers(0, 5000),
    st.integers(1, 1500),
)
def test_cut_at_the_end(contents: list[bytes], padding: int, piece: int) -> None:
    """Whatever the files hold and however the stream comes, all of the archive passes and nothing after it."""
    whole = archive(contents)
    stream = whole + bytes(padding)
    end = TarEnd()
    passed = b"".join(end.feed(stream[start : start + piece]) for start in range(0, len(stream), piece))
    assert passed == whole
