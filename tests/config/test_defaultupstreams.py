"""The hosts that are served unless the config says otherwise."""

import pytest

from tests.config.reading import complaints, read

FOUR = ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ('[upstreams."git.example"]\nurl = "http://10.0.0.5/"', [*FOUR, "git.example"]),
        ('[upstreams."github.com"]\nurl = "https://github.com/"', FOUR),
        ('[upstreams."*"]', [*FOUR, "*"]),
        ("[upstreams]\ndefaults = true", FOUR),
        ('[upstreams]\n"github.com" = false', FOUR[1:]),
        ("[upstreams]\ngithub.com = false\ncodeberg.org = false", FOUR[1:3]),
        ("upstreams.github.com = false", FOUR[1:]),
        ('[upstreams]\ndefaults = false\n[upstreams."git.example"]', ["git.example"]),
        ('[upstreams]\ndefaults = false\ngitlab.com = true\n[upstreams."git.example"]', ["gitlab.com", "git.example"]),
    ],
)
def test_naming_a_host_adds_it(text: str, hosts: list[str]) -> None:
    """What the config names comes on top of the four hosts of the start, which go only when it says so."""
    assert list(read(text).upstreams) == hosts


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[upstreams]\ndefaults = false", "upstreams: names no host, and leaves none of the default ones"),
        ('[upstreams]\ndefaults = "no"', "upstreams.defaults: must be true or false"),
        (
            '[upstreams]\n"git.example" = false',
            'upstreams."git.example": must be a table; true and false are for github.com',
        ),
        ('[upstreams]\n"github.com" = "no"', 'upstreams."github.com": must be a table'),
        ("upstreams = 3", "upstreams: must be a table"),
    ],
)
def test_hosts_that_are_no_tables_are_told(text: str, complaint: str) -> None:
    """Whatever else stands in ``[upstreams]`` is told, by its key and with what is meant."""
    assert any(line.startswith(complaint) for line in complaints(text))
