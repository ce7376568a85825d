"""One form for every text, in names."""

from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.percent import decoded, decoded_text, encoded, encoded_path, lower

TEXT = st.text(st.characters(codec="utf-8"))


@given(TEXT)
def test_encoding_can_be_undone(text: str) -> None:
    """A text comes back out of its encoding, which is of safe characters only and a fixed point of encoding anew."""
    once = encoded(text)
    assert decoded_text(once) == text and encoded(decoded_text(once)) == once
    assert once.isascii() and not set(once) & set(" /\\=:,;?#&'\"()!*[]{}<>|^`$\n\0")


def test_paths_keep_their_slashes() -> None:
    """Segments are encoded each, what is no UTF-8 comes back too, and only whole escapes are undone."""
    assert encoded_path("a b/ü/%41") == "a%20b/%C3%BC/%2541"
    assert decoded_text(encoded("\udcff")) == "\udcff"
    assert decoded(b"100%/%4g%41%4") == b"100%/%4gA%4"


def test_lower_case_is_that_of_ascii() -> None:
    """Only A-Z have a lower case here: which other letters are equal is for a host to say, and none does."""
    assert lower("ABZ-ÄİK\u212a") == "abz-ÄİK\u212a".replace("K", "k")
