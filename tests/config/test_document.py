"""The documented default config and the README's table say what the settings are."""

import re

from cachew.config.document import schema, table
from cachew.config.load import load


def test_the_schema_read_again_gives_the_defaults() -> None:
    """The documented default config is the default config."""
    assert load(schema(), environ={}) == load("", environ={})


def test_every_example_is_a_valid_setting() -> None:
    """All that is commented out can be uncommented, save one of two keys that exclude each other."""
    text = re.sub(r"(?m)^#(?=[a-z\[])", "", schema()).replace('token-file = "/etc/cachew/github-token"', "")
    variables = dict.fromkeys(re.findall(r"\$\{([A-Z0-9_]+)\}", text), "value")
    settings = load(text, environ=variables)
    assert [tier.backend for tier in settings.cache] == ["memory", "disk", "s3"]
    assert [credential.kind for credential in settings.credentials] == ["token", "netrc", "command", "github-app"]
    assert settings.manhole.listen == "tcp:2222:interface=127.0.0.1"


def test_every_key_is_commented() -> None:
    """Each key of the schema is preceded by a comment."""
    lines = schema().splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"#?[a-z0-9-]+ = ", line)]
    assert len(keys) > 90
    assert all(lines[number - 1].startswith("# ") for number in keys)


def test_the_table_has_every_key_of_the_schema() -> None:
    """The README's table has one row per key of the schema."""
    keys = re.findall(r"(?m)^#?([a-z0-9-]+) = ", schema())
    rows = re.findall(r"(?m)^\| `[^`]*?([a-z0-9-]+)` \|", table())
    assert sorted(keys) == sorted(rows)
