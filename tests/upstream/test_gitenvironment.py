"""Configuration that git children are given in their environment."""

from cachew.upstream.gitenvironment import joined

ONE = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "one", "HOME": "/"}
TWO = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "c.d",
    "GIT_CONFIG_VALUE_0": "two",
    "GIT_CONFIG_KEY_1": "e.f",
    "GIT_CONFIG_VALUE_1": "three",
    "LANG": "C",
}


def test_configuration_of_both_is_kept_in_its_order() -> None:
    """The second's comes after the first's, which is how git lets it win; other variables stay."""
    assert joined(ONE, TWO) == {
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_0": "a.b",
        "GIT_CONFIG_VALUE_0": "one",
        "GIT_CONFIG_KEY_1": "c.d",
        "GIT_CONFIG_VALUE_1": "two",
        "GIT_CONFIG_KEY_2": "e.f",
        "GIT_CONFIG_VALUE_2": "three",
        "HOME": "/",
        "LANG": "C",
    }


def test_without_configuration_in_one_of_them_it_is_the_others() -> None:
    """Whichever has it."""
    assert joined(ONE, {"LANG": "C"}) == {**ONE, "LANG": "C"} == joined({"LANG": "C"}, ONE)
    assert joined({}, {}) == {}
