"""Which hosts ignore case, by the config."""

import pytest

from cachew.config.grammar import grammar_of
from cachew.config.load import load


@pytest.mark.parametrize(
    ("config", "ignoring", "minding"),
    [
        ("", ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"], ["git.example"]),
        ('[upstreams."github.com"]\nignore-case = false', ["gitlab.com"], ["github.com"]),
        ('[upstreams."gitea.example"]\nignore-case = true', ["gitea.example"], ["other.example"]),
        ('[upstreams."hub"]\nurl = "https://GitHub.com/"', ["hub"], ["other.example"]),
        ('[upstreams."hub"]\nurl = "https://github.com/"\nignore-case = false', [], ["hub"]),
        ('[upstreams."*"]', ["github.com"], ["git.example"]),
        ('[upstreams."*"]\nignore-case = true', ["github.com", "git.example"], []),
    ],
)
def test_hosts_that_ignore_case(config: str, ignoring: list[str], minding: list[str]) -> None:
    """The public forges that do are known; what the operator says of a host counts more."""
    grammar = grammar_of(load(config, environ={}).upstreams)
    assert all(map(grammar.ignores_case, ignoring)) and not any(map(grammar.ignores_case, minding))
