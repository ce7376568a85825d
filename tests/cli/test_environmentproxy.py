"""Which proxy leads to a server."""

import os
from urllib.parse import urlsplit

import pytest

from cachew.cli.environmentproxy import git_proxy

PLAIN, SECURE = "http://git.example:8080/x", "https://git.example/x"


@pytest.mark.parametrize(
    ("environment", "configured", "url", "proxy"),
    [
        ({}, None, PLAIN, None),
        ({}, "p:1", PLAIN, "p:1"),
        ({"http_proxy": "http://e:1"}, "p:1", PLAIN, "p:1"),
        ({"http_proxy": "http://e:1"}, "", PLAIN, None),
        ({"http_proxy": "http://e:1"}, None, PLAIN, "http://e:1"),
        ({"http_proxy": "http://e:1"}, None, SECURE, None),
        ({"HTTP_PROXY": "http://e:1"}, None, PLAIN, None),
        ({"HTTPS_PROXY": "http://e:1"}, None, SECURE, "http://e:1"),
        ({"ALL_PROXY": "http://e:1"}, None, PLAIN, "http://e:1"),
        ({"all_proxy": "http://e:1", "no_proxy": ".example"}, None, PLAIN, None),
        ({"no_proxy": "git.example"}, "p:1", PLAIN, None),
    ],
)
def test_git_takes_the_proxy_that_curl_takes(
    environment: dict[str, str], configured: str | None, url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What git's config says comes first; HTTP_PROXY in capitals counts for nobody, ALL_PROXY for everybody."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert git_proxy(configured)(urlsplit(url)) == proxy
