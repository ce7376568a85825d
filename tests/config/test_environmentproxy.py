"""The proxy that the environment names."""

import pytest

from cachew.config.load import ConfigErrors, load


@pytest.mark.parametrize(
    ("environ", "text", "url", "direct"),
    [
        ({"https_proxy": "http://p:3128"}, "", "http://p:3128", ()),
        (
            {"HTTPS_PROXY": "p:3128", "NO_PROXY": "a.example, 10.0.0.0/8"},
            "",
            "http://p:3128",
            ("a.example", "10.0.0.0/8"),
        ),
        ({"ALL_PROXY": "http://p:1"}, "", "http://p:1", ()),
        ({"https_proxy": "http://p:3128", "no_proxy": "*"}, '[proxy]\nurl = "http://q:1"', "http://q:1", ()),
        ({"no_proxy": "*"}, "", None, ()),
        ({"https_proxy": ""}, "", None, ()),
        ({}, "", None, ()),
    ],
)
def test_it_counts_where_the_config_names_none(
    environ: dict[str, str], text: str, url: str | None, direct: tuple[str, ...]
) -> None:
    """``https_proxy`` and ``no_proxy`` are read as curl and git read them, and the config comes first."""
    proxy = load(text, environ=environ).proxy
    assert (proxy.url, proxy.no_proxy) == (url, direct)


def test_a_password_in_it_is_told_without_it() -> None:
    """A password belongs into a file."""
    with pytest.raises(ConfigErrors) as caught:
        load("", environ={"https_proxy": "http://me:hush@p:3128"})
    assert "the environment variable https_proxy holds a password" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[proxy]\nno-proxy = ["a"]', "proxy.no-proxy: must not be set without url"),
        ('[proxy]\ncredentials-file = "/p"', "proxy.credentials-file: must not be set without url"),
        ('[proxy]\nurl = "socks5://p:1"', "proxy.url: must be an http or https URL"),
        ('[proxy]\nurl = "http://me:hush@p:1"', "proxy.url: must not hold a user name or password"),
        ('[upstreams."*"]\nproxy = "none"', 'upstreams."*".proxy: must not be set; [proxy] leads to every host'),
        (
            '[upstreams."a.example"]\nproxy-credentials-file = "/p"',
            'upstreams."a.example".proxy-credentials-file: must not be set without a proxy of its own',
        ),
    ],
)
def test_what_would_not_do_is_told(text: str, complaint: str) -> None:
    """Each with its key."""
    with pytest.raises(ConfigErrors) as caught:
        load(text, environ={})
    assert complaint in str(caught.value)
