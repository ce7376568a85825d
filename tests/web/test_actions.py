"""What can be done with a repository is begun alike, whoever asks."""

from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import CASE_MATTERS, Identity
from cachew.plumbing.errors import BadRequest, NotFound
from cachew.web.actions import RepositoryActions
from cachew.web.statuses import RepositoryStatus
from tests.fakes.settled import failure_of, value_of
from tests.web.adminfront import FakeOperations


def begun(name: str, action: str, **sure: Any) -> tuple[FakeOperations, Deferred[Identity]]:
    operations = FakeOperations()
    operations.known = [RepositoryStatus(name="git.example/org/repo", state="ready")]
    actions = RepositoryActions(work=cast(Any, operations), grammar=CASE_MATTERS)
    return operations, Deferred.fromCoroutine(actions.begin(name, action, **sure))


def test_begins_what_there_is() -> None:
    """A known action of a repository is begun."""
    operations, asked = begun("git.example/org/repo", "fetch")
    assert value_of(asked).name == "git.example/org/repo"
    assert operations.acts == [("git.example/org/repo", "fetch")]


@pytest.mark.parametrize(("action", "sure", "kind"), [("drop", True, NotFound), ("forget", False, BadRequest)])
def test_begins_nothing_else(action: str, sure: bool, kind: type[Exception]) -> None:
    """What there is not, and what is lost by mistake, is not begun."""
    operations, asked = begun("git.example/org/repo", action, sure=sure)
    assert isinstance(failure_of(asked), kind)
    assert operations.acts == []
