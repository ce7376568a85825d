"""Where refs were before a push, by what forges say."""

import json

import pytest

from cachew.web.forgeevents import read_event
from cachew.web.pushedrefs import refs_before

OLD, NEW, NONE = "a" * 40, "b" * 40, "0" * 40
MAIN = "refs/heads/main"


def at(oid: str, kind: str = "branch") -> dict[str, object]:
    """Return a branch as Bitbucket Cloud tells of it."""
    return {"type": kind, "name": "main", "target": {"hash": oid}}


@pytest.mark.parametrize(
    ("event", "before"),
    [
        ({"ref": MAIN, "before": OLD, "after": NEW}, {MAIN: OLD}),
        ({"ref": MAIN, "before": NONE, "after": NEW}, {MAIN: ""}),
        ({"ref": MAIN, "before": OLD, "after": NONE}, {MAIN: OLD}),
        ({"ref": MAIN, "before": "c" * 64, "after": "0" * 64}, {MAIN: "c" * 64}),
        ({"resource": {"refUpdates": [{"name": MAIN, "oldObjectId": OLD, "newObjectId": NEW}]}}, {MAIN: OLD}),
        ({"changes": [{"refId": MAIN, "fromHash": NONE, "toHash": NEW}, {"refId": "refs/tags/v1", "fromHash": OLD}]},
         {MAIN: "", "refs/tags/v1": OLD}),
        ({"push": {"changes": [{"old": at(OLD), "new": at(NEW)}, {"old": None, "new": at(NEW, "tag")}]}},
         {MAIN: OLD, "refs/tags/main": ""}),
        ({"push": {"changes": [{"old": at(OLD), "new": None}]}}, {MAIN: OLD}),
    ],
    ids=range(8),
)  # fmt: skip
def test_every_forge_tells_where_refs_were(event: dict[str, object], before: dict[str, str]) -> None:
    """GitHub, GitLab and Gitea of one, Azure DevOps and Bitbucket of several; of what is new that it was nowhere."""
    assert refs_before(event) == before
    event["repository"] = {"clone_url": "https://git.example/o/r.git"}
    told = read_event(json.dumps(event).encode(), name="push")
    assert told is not None and told.before == before


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"ref": "main", "ref_type": "branch"},
        {"ref": 5, "before": OLD, "after": NEW},
        {"ref": MAIN, "before": OLD, "after": OLD},
        {"ref": MAIN, "before": 5, "after": None},
        {"changes": {"full_name": {"old": "x"}}, "resource": [], "push": {"changes": "x"}},
        {"changes": [5, {}], "push": {"changes": [{"new": {"type": "branch"}}, {"new": {"type": [], "name": "x"}}]}},
        {"resource": {"refUpdates": [{"name": "main", "oldObjectId": OLD}]}},
    ],
    ids=range(8),
)
def test_what_tells_of_no_ref(event: dict[str, object]) -> None:
    """Whatever else is in an event is none of a push's."""
    assert refs_before(event) == {}
