"""No message shows a credential, in whatever form it comes back."""

from cachew.cli.secrets import masked, secrets_of


def test_every_form_of_a_credential_is_masked() -> None:
    """The whole value, the token, and what is in it."""
    secrets = secrets_of("Basic Ym9iOnBhc3N3b3Jk\n", {"https_proxy": "http://user:proxypass%21@proxy:1"})
    for text in (
        "Basic Ym9iOnBhc3N3b3Jk",
        "Ym9iOnBhc3N3b3Jk",
        "bob:password",
        "password",
        "proxypass!",
        "proxypass%21",
    ):
        assert masked(f"<{text}>", secrets).count("***") == 1, text
    assert masked("b'Bearer to\\\\ken'", secrets_of("Bearer to\\ken", {})) == "b'***'"


def test_urls_lose_who_they_are_of() -> None:
    """Whoever repeats a URL with a password repeats none."""
    assert (
        masked("fatal: https://bob:token@host/x and http://x/y@z", []) == "fatal: https://***@host/x and http://x/y@z"
    )
    assert masked("'https://h/a?base=1&access_token=x&b=2'", []) == "'https://h/a?base=1&access_token=***&b=2'"


def test_what_is_short_or_malformed_hides_nothing_else() -> None:
    """A credential of two letters does not make every text unreadable."""
    assert secrets_of("a", {"http_proxy": "http://[", "no_proxy": "x"}) == ["http://["]
    assert secrets_of(None, {}) == []
