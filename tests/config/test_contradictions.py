"""Settings that are each allowed but not together, or could never have the effect that they seem to have."""

import pytest

from cachew.config.contradictions import Problem, dotted
from tests.config.reading import complaints, read


@pytest.mark.parametrize(
    "paths", [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a"), ("./state/cache", None), ("/a", "/a/../a")]
)
def test_disk_tiers_do_not_share_a_directory(paths: tuple[str | None, ...]) -> None:
    """Two disk tiers in one directory, or in one another's, are a contradiction."""
    tiers = [f"[[cache]]\nbackend='disk'\n{'' if path is None else f'path={path!r}'}" for path in paths]
    assert complaints("\n".join(tiers)) == ["cache[1].path: must not be shared with cache[0]"]


def test_s3_tiers_do_not_share_their_objects() -> None:
    """Two S3 tiers whose objects have the same names are a contradiction, other prefixes are not."""
    tier = "[[cache]]\nbackend='s3'\nbucket='b'\nendpoint='http://h'\nprefix="
    assert complaints(f"{tier}'a'\n{tier}'a/'") == ["cache[1].prefix: must not be shared with cache[0] in one bucket"]
    assert len(read(f"{tier}'a'\n{tier}'b'").cache) == 2


@pytest.mark.parametrize("last", ["memory", "disk"])
def test_what_replicas_share_is_not_before_what_they_do_not(last: str) -> None:
    """An S3 tier is the last one or before another; each replica would empty it of what its own last tier lacks."""
    shared, other = "[[cache]]\nbackend='s3'\nbucket='b'\nprefix='{}'", "[[cache]]\nbackend='{}'"
    message = (
        "cache[{}].backend: must not be s3 before a last tier (cache[{}]) that is not; what replicas share comes last"
    )
    assert complaints(f"{shared.format('a')}\n{other.format(last)}") == [message.format(0, 1)]
    tiers = [other.format("memory"), shared.format("a"), shared.format("b"), other.format("disk")]
    assert complaints("\n".join(tiers)) == [message.format(1, 3), message.format(2, 3)]
    assert len(read("\n".join(tiers[:3])).cache) == 3


RULES = """
[[access.rule]]
action = "allow"
cidr = "10.0.0.0/8"
method = "GET"
path = "/metrics"
[[access.rule]]
action = "deny"
path = "/api/v1/object/secret"
"""


@pytest.mark.parametrize(
    ("address", "path", "expect"),
    [
        ("10.1.2.3", "/metrics", "allow"),
        ("11.1.2.3", "/metrics", "deny"),
        ("127.0.0.1", "/admin/", "deny"),
        ("11.1.2.3", "/git/github.com/o/r/info/refs", "allow"),
        ("11.1.2.3", "/_liveness", "allow"),
        ("10.1.2.3", "/api/v1/object/secret/key", "deny"),
    ],
)
def test_access_tests_hold_the_rules_to_their_word(address: str, path: str, expect: str) -> None:
    """A test of the rules that holds is silent, its opposite is a problem."""
    test = f"{RULES}[[access.test]]\naddress = '{address}'\npath = '{path}'\nexpect = "
    read(f"{test}'{expect}'")
    other = {"allow": "deny", "deny": "allow"}[expect]
    assert complaints(f"{test}'{other}'") == [f"access.test[0].expect: is {other}, but the rules say {expect}"]


@pytest.mark.parametrize("host", ["a..b", "a-.b", "a.-b", "x" * 64, "x." * 130 + "x"])
def test_hosts_that_no_path_can_name(host: str) -> None:
    """Nobody could ever ask for a repository there: every such path is refused."""
    (found,) = complaints(f"[upstreams.'{host}']")
    assert found.startswith(f"{dotted(('upstreams', host))}: can't be what clients write after /git/")


def test_hosts_that_paths_name() -> None:
    """With and without ports, and addresses."""
    hosts = ["h", "h:80", "h:65535", "10.0.0.5:3000", "xn--bcher-kva.example", "a-b.c-d"]
    assert set(hosts) < set(read("".join(f"[upstreams.'{host}']\n" for host in hosts)).upstreams)


def test_keys_are_written_as_toml_would() -> None:
    """What needs quotes has them; entries of arrays are counted."""
    assert dotted(("upstreams", "git.example", "url")) == 'upstreams."git.example".url'
    assert dotted(("cache", 0, "max-ttl")) == "cache[0].max-ttl" and dotted(()) == ""
    assert dotted(("a b", "\u00e4")) == '"a b"."\u00e4"'


def test_a_problem_tells_its_keys() -> None:
    """The other one, too, that it contradicts; one of the whole file has none."""
    assert Problem(("a",), "is wrong", with_path=("b",)).paths == [("a",), ("b",)]
    assert Problem(("a",), "is wrong").paths == [("a",)] and str(Problem((), "is wrong")) == "is wrong"
