"""What differs between two configs, and what of it counts at once."""

from cachew.config.contradictions import dotted
from cachew.config.differences import CHANGEABLE, differences, is_changeable
from cachew.config.document import table
from cachew.config.load import load


def changed(old: str, new: str) -> dict[str, bool]:
    found = differences(load(old, environ={}), load(new, environ={}))
    return {dotted(path): is_changeable(path) for path in found}


def test_equal_configs_differ_in_nothing() -> None:
    """Neither spelling nor what is the default makes a difference."""
    assert changed("", '[git]\nfetch-wait = "30s"\nsnapshot-interval = "60m"') == {}


def test_every_key_is_told_with_whether_it_counts_at_once() -> None:
    """Plain keys, keys in tables and whole lists."""
    assert changed(
        'log-level = "debug"\n[[credentials]]\nkind="token"\nurl-prefix="https://a/"\ntoken="x"',
        'state = "/s"\n[git]\nsnapshot-interval = "2h"\nmax-fetches = 3\n[webhook]\ngithub-secret = "s"\n'
        '[[credentials]]\nkind="token"\nurl-prefix="https://a/"\ntoken="y"',
    ) == {
        "state": False,
        "log-level": True,
        "git.snapshot-interval": True,
        "git.max-fetches": False,
        "credentials": True,
        "webhook.github-secret": True,
    }


def test_hosts_that_come_and_go_are_told() -> None:
    """A host counts at once; what is read at the start only is told apart."""
    assert changed("", '[upstreams]\n"github.com" = false\n[upstreams."h.example"]\nignore-case = true') == {
        'upstreams."github.com".url': True,
        'upstreams."h.example".url': True,
        'upstreams."h.example".ignore-case': False,
    }


def test_what_counts_at_once_are_keys() -> None:
    """Each of these is a key, or a table, of the reference."""
    keys = [line.split("`")[1] for line in table().splitlines()[2:]]
    names = [".".join(str(step).replace("*", '"HOST"') for step in path) for path in CHANGEABLE]
    assert [name for name in names if not any(name in key.replace("[", "").replace("]", "") for key in keys)] == []
