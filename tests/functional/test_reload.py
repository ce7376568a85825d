"""A running server takes up a changed config."""

import pytest_twisted

from tests.functional import loglines
from tests.functional.conftest import Start
from tests.functional.repositories import make_repository
from tests.functional.upstream import Upstream

CHANGED = """
[upstreams."other.example"]
url = "{url}"
[git]
ref-check-interval = "3s"
repack-interval = "5h"
max-fetches = 3
[webhook]
github-secret = "hush"
[[access.rule]]
action = "deny"
path = "/git/git.example/org/closed"
"""


@pytest_twisted.ensureDeferred
async def test_a_changed_config_is_taken_up(upstream: Upstream, start: Start) -> None:
    """Hosts, rules, secrets, intervals and the level count at once, the rest is named; a mistake changes nothing."""
    make_repository(upstream.path("org/repo"), commits=1)
    make_repository(upstream.path("org/closed"), commits=1)
    cachew = await start()
    parts, before = cachew.parts, cachew.config
    refs = "info/refs?service=git-upload-pack"

    assert (await cachew.get(f"org/closed/{refs}")).code == 200
    assert (await cachew.admin("GET", f"/git/other.example/org/repo/{refs}")).code == 404

    cachew.config = f'log-level = "warn"\n{before}{CHANGED.format(url=upstream.url)}'
    done = await cachew.admin("POST", "/admin/reload")
    assert done.code == 200
    assert await done.json() == {
        "applied": [
            "log-level",
            'upstreams."other.example".url',
            "git.ref-check-interval",
            "git.repack-interval",
            "access.rule",
            "webhook.github-secret",
        ],
        "waiting": ["git.max-fetches"],
        "problems": [],
    }
    assert (await cachew.get(f"org/closed/{refs}")).code == 403
    assert (await cachew.admin("GET", f"/git/other.example/org/repo/{refs}")).code == 200
    await cachew.github_event("hush", "https://git.example/org/repo.git")
    assert parts.mirrors.freshness.interval == 3
    assert parts.runtime.environment.log.level == "warn"

    cachew.config = before + '[git]\nrepack-interval = "never"'
    with loglines.listening() as log:
        refused = await cachew.admin("POST", "/admin/reload")
        assert log.count("the config was not taken up: test.toml: git.repack-interval: ") == 1
    assert (refused.code, len((await refused.json())["problems"])) == (422, 1)
    assert (await cachew.get(f"org/closed/{refs}")).code == 403

    cachew.config = before
    await parts.server.hang_up()
    assert (await cachew.get(f"org/closed/{refs}")).code == 200
    assert (await cachew.admin("GET", f"/git/other.example/org/repo/{refs}")).code == 404
