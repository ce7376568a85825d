"""Rules about paths that no request has, or that a request can go past by another spelling."""

import pytest

from tests.config.reading import complaints, read

RULE = "[[access.rule]]\naction = 'deny'\npath = '{}'"


@pytest.mark.parametrize(
    "end",
    [
        "", "/", "/info/refs", "/git-upload-pack", "/git-receive-pack", "/snapshot.tar.zst", "/info/lfs",
        "/info/lfs/objects/batch", "/info/lfs/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".git", "%2egit", ".g%69t"])
def test_a_rule_that_would_hold_for_one_spelling_only(suffix: str, end: str) -> None:
    """Whoever left out the suffix would go past it, whichever of the repository's paths it is about."""
    (found,) = complaints(RULE.format(f"/git/h/org/x{suffix}{end}"))
    assert found == 'access.rule[0].path: must name the repository as cachew does, without ".git"'


@pytest.mark.parametrize("host", ["*", "*.example", "a..b", "h:99999", "-"])
def test_a_rule_about_a_host_that_is_none(host: str) -> None:
    """It would never hold."""
    (found,) = complaints(RULE.format(f"/git/{host}/org"))
    assert found.startswith(f'access.rule[0].path: must name a host, of which there are no patterns, not "{host}"')


@pytest.mark.parametrize(
    "path", ["/", "/git", "/git/", "/git/h", "/git/h/", "/git/h/org", "/git/h/.github/x", "/git/h/a%20b/info/refs"]
)
def test_rules_that_hold(path: str) -> None:
    """Of all repositories, of a host's, of an owner's, or of one."""
    assert read(RULE.format(path)).access.rule[0].path == path
