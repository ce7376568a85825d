"""Which of git's settings for addresses count for one."""

import os
import subprocess

import pytest

from cachew.client.addressedsettings import values_for

URL = "http://git.example:8080/git/github.com/org/repo"
PLACES = (
    "",
    "http://git.example:8080/",
    "http://git.example:8080",
    "http://GIT.example:8080/git",
    "http://git.example:8080/gi",
    "http://*.example:8080/",
    "http://*:8080/",
    "http://git.example/",
    "https://git.example:8080/",
    "http://alice@git.example:8080/",
    "http://git.example:8080/git/github.com/org/repo/",
    "http://git.example:x/",
)


@pytest.mark.parametrize("url", [URL, "http://git.example/git/a", "http://alice@git.example:8080/x", "https://h/"])
def test_the_last_is_the_one_that_git_tells(url: str) -> None:
    """For each pair of places, in either order."""
    pairs = [(first, second) for first in PLACES for second in PLACES]
    for number, places in enumerate(pairs):
        settings = [(f"http.{place}.extraheader" if place else "http.extraheader", place) for place in places]
        found = values_for("extraheader", url, settings)
        if number % 7 == 0:
            assert (found[-1:] or [""])[0] == told_by_git(settings, url), (places, url)
        assert set(found) <= set(places)


def told_by_git(settings: list[tuple[str, str]], url: str) -> str:
    """Return what git says."""
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    argv = ["git", "-C", "/", "config", "--get-urlmatch", "http.extraHeader", url]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False).stdout.rstrip("\n")


def test_all_are_told_that_git_sends() -> None:
    """A narrower place's follow a wider place's, and a wider place's are none any more after a narrower place's."""
    wide, narrow = "http.extraheader", "http.http://git.example:8080/.extraheader"
    assert values_for("extraheader", URL, [(wide, "a"), (wide, "b"), (narrow, "c")]) == ["a", "b", "c"]
    assert values_for("extraheader", URL, [(narrow, "c"), (wide, "a"), (narrow, "d")]) == ["c", "d"]
    assert values_for("extraheader", URL, [("http.proxy", "x"), ("other.extraheader", "y")]) == []
