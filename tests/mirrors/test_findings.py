"""What git dislikes about objects is read from what a fetch writes to standard error."""

from cachew.mirrors.findings import FindingsReader, decode, encode

SAID = (
    b"warning: object 1111111111111111111111111111111111111111: hasDotgit: contains '.git'\n"
    b"warning: object 1111111111111111111111111111111111111111: hasDotgit: contains '.git'\n"
    b"warning: object 2222222222222222222222222222222222222222: hasDotgit: contains '.git'\n"
    b"remote: Counting\xff objects\r"
    b"error: elsewhere: object\n"
    b"warning: object 2222222222222222222222222222222222222222: badEmail: invalid\n"
)


def test_findings_are_counted_once_an_object_however_they_come() -> None:
    """In pieces of any size, among whatever else git says."""
    for size in (1, 7, len(SAID)):
        reader = FindingsReader()
        for start in range(0, len(SAID), size):
            reader.feed(SAID[start : start + size])
        assert reader.counts == {"hasDotgit": 2, "badEmail": 1}, size
        assert decode(encode(reader.counts)) == reader.counts


def test_what_is_no_count_is_nothing() -> None:
    """A damaged file only loses what was counted."""
    for data in (b"", b"[]", b"{", b'{"a": "b"}', b"\xff"):
        assert decode(data) == {}
