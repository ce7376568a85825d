"""How the config has the URLs of repositories end."""

import pytest

from cachew.upstream.fixedsuffixes import FixedSuffixes


class Named:
    """Hosts by the beginnings of their URLs."""

    def __init__(self, **hosts: str) -> None:
        self._hosts = hosts

    def names_of(self, url: str) -> list[tuple[str, str]]:
        return [(host, "org/repo") for host, base in self._hosts.items() if url.startswith(base)]


@pytest.mark.parametrize(
    ("said", "url", "suffix"),
    [
        ({}, "https://gitlab.com/org/repo", ".git"),
        ({}, "https://git.example/org/repo", None),
        ({"lab": "auto"}, "https://gitlab.com/org/repo", None),
        ({"lab": ""}, "https://gitlab.com/org/repo", ""),
        ({"own": ".git"}, "https://git.example/org/repo", ".git"),
        ({"own": None, "other": ""}, "https://git.example/org/repo", ""),
        ({"own": ".git"}, "https://elsewhere.example/org/repo", None),
    ],
)
def test_the_config_comes_before_what_is_known_of_hosts(
    said: dict[str, str | None], url: str, suffix: str | None
) -> None:
    """Of several names the first that says anything counts; where none does it is to be found out."""
    hosts: object = Named(lab="https://gitlab.com/", own="https://git.example/", other="https://git.example/")
    assert FixedSuffixes(said=said, hosts=hosts).of(url) == suffix  # type: ignore[arg-type]
