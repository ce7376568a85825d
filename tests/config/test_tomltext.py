"""TOML that anybody has written."""

import pytest

from cachew.config.tomltext import NotToml, parse


def test_a_document_is_read_with_and_without_the_mark_of_utf8() -> None:
    """Some editors put it there."""
    assert parse('a = "\u00e4"') == parse('\ufeffa = "\u00e4"') == {"a": "\u00e4"} and parse("") == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = ", "Invalid value"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
        ("a = " + "[" * 10_000, "nested too deeply"),
        ("a = " + "9" * 10_000, "a number in it is too long"),
        ("\ufeff\ufeffa = 1", "Invalid statement"),
    ],
)
def test_what_is_wrong_is_told_in_words(text: str, reason: str) -> None:
    """Whatever it is, also what the reader itself gives up on."""
    with pytest.raises(NotToml, match=reason):
        parse(text)
