"""What is fetched ahead, and how many at a time."""

from collections.abc import Sequence

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs

from cachew.config.load import ConfigErrors, load
from cachew.config.namepatterns import NamePattern, pattern_of
from cachew.mirrors.identity import Grammar, Identity
from cachew.plumbing.errors import UpstreamUnreachable
from cachew.server.prefetch import NamedByPattern, Prefetch
from cachew.server.prefetching import forge_for

GRAMMAR = Grammar({})


class Listing:
    """A forge's list, or its failure."""

    def __init__(self) -> None:
        self.paths: list[str] | None = []

    async def __call__(self, pattern: NamePattern, most: int) -> Sequence[str]:
        if self.paths is None:
            raise UpstreamUnreachable("https://h.example/", "is away")
        return self.paths[:most]


def names(named: NamedByPattern) -> list[str]:
    results: list[Sequence[Identity]] = []
    Deferred.fromCoroutine(named()).addCallback(results.append)
    return [identity.name for identity in results[0]]


def test_a_pattern_stands_for_what_the_forge_listed_last() -> None:
    """Names that match, each a repository's, so many at most; when the forge is away those of the last time."""
    listing = Listing()
    named = NamedByPattern(
        pattern=pattern_of("h.example/org/a*"), listed=listing, identity_of=GRAMMAR.from_decoded, most=2
    )
    listing.paths = ["Org/ab", "org/b", "org/a/../c"]
    assert names(named) == ["h.example/Org/ab"]
    with capturedLogs() as logged:
        listing.paths = None
        assert names(named) == ["h.example/Org/ab"]
        listing.paths = ["org/a1", "org/a2", "org/a3"]
        assert names(named) == ["h.example/org/a1", "h.example/org/a2"]
    assert [event["log_format"][:18] for event in logged] == ["{pattern} can't be", "{pattern} stands f"]


def test_stars() -> None:
    """One star is any part of a name, two are all below a group, and an owner is no part of another's name."""
    one, all_below = pattern_of("h.example/top/web-*"), pattern_of("h.example/top/**")
    assert one.matches("top/web-a") and one.matches("TOP/web-") and not one.matches("top/web-a/b")
    assert not one.matches("top/a-web-b") and not one.matches("topper/web-a")
    assert all_below.matches("top/a/b/c") and not all_below.matches("top2/a")


def test_no_more_than_so_many_at_a_time() -> None:
    """The next begins when one has ended, whatever its end; each is named once, and an end ends all."""
    running: dict[str, Deferred[None]] = {}
    used: list[str] = []

    async def bring(identity: Identity) -> None:
        running[identity.path] = Deferred()
        await running[identity.path]

    async def pattern() -> Sequence[Identity]:
        return [GRAMMAR.from_decoded("h.example/o/2"), GRAMMAR.from_decoded("h.example/o/3")]

    prefetch = Prefetch(
        repositories=[GRAMMAR.from_decoded(f"h.example/o/{n}") for n in (1, 2)],
        patterns=[pattern],
        bring=bring,
        used=lambda identity: used.append(identity.path),
        at_once=2,
    )
    turn = Deferred.fromCoroutine(prefetch.turn())
    assert list(running) == ["o/1", "o/2"]
    running["o/1"].errback(UpstreamUnreachable("https://h.example/o/1", "is away"))
    assert (list(running), used) == (["o/1", "o/2", "o/3"], ["o/1"])
    ended: list[object] = []
    turn.addErrback(lambda failure: ended.append(failure.trap(CancelledError)))
    turn.cancel()
    assert ended and running["o/2"].called and running["o/3"].called


def test_patterns_are_checked() -> None:
    """One that can be none, or at a host whose API isn't known, is told with its place."""
    text = '[upstreams."h.example"]\nurl = "http://10.0.0.5/"\n[[prefetch]]\nrepositories = '
    with pytest.raises(ConfigErrors) as caught:
        load(text + '["github.com/*", "github.com/o*/r", "h.example/o/*", "gitlab.com/g/a**"]', environ={})
    problems = list(map(str, caught.value.problems))
    assert [problem.partition(":")[0] for problem in problems] == [
        f"prefetch[0].repositories[{place}]" for place in range(4)
    ]
    assert problems[2].endswith('needs to be told whose API the host has: upstreams."h.example".forge')
    settings = load(text.replace("[[", 'forge = "gitea"\n[[') + '["h.example/o/*", "codeberg.org/o/*"]', environ={})
    assert forge_for(settings, "h.example").api == "http://10.0.0.5/api/v1"
    assert forge_for(settings, "codeberg.org").kind == "gitea"
