"""Where refs were before a push, as forges tell in their events (pure).

Forges send an event when they have taken a push, which may be before all of their servers list what it brought
(jquery/jquery-license#23, itchio/itch#479). So whoever asks because of the event may be shown what was there before it,
and knows it by this.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BELOW = {"branch": "refs/heads/", "tag": "refs/tags/"}
_MOST = 1000
"""Refs of one push that are looked at."""


def refs_before(event: Mapping[str, Any]) -> dict[str, str]:
    """Return where the refs that a push has moved were before it, full name to object id; empty for nowhere."""
    found: dict[str, str] = {}
    for name, before, after in _moved(event):
        if isinstance(name, str) and name.startswith("refs/") and before != after and len(found) < _MOST:
            found[name] = before
    return found


def _moved(event: Mapping[str, Any]) -> Iterator[tuple[Any, str, str]]:
    """Give refs with where they were and are: of GitHub, GitLab and Gitea, Azure DevOps, Bitbucket."""
    if "before" in event and "after" in event:
        yield event.get("ref"), _oid(event["before"]), _oid(event["after"])
    for update in _list(event, "resource", "refUpdates"):
        yield update.get("name"), _oid(update.get("oldObjectId")), _oid(update.get("newObjectId"))
    for change in _list(event, "changes"):
        yield change.get("refId"), _oid(change.get("fromHash")), _oid(change.get("toHash"))
    for change in _list(event, "push", "changes"):
        old, new = change.get("old"), change.get("new")
        yield _ref_of(new or old), _target(old), _target(new)


def _list(event: Any, *steps: str) -> list[dict[str, Any]]:
    for step in steps:
        event = event.get(step) if isinstance(event, dict) else None
    return [one for one in event if isinstance(one, dict)] if isinstance(event, list) else []


def _oid(said: Any) -> str:
    """Return an object id, empty for none, which forges write as zeros."""
    return said if isinstance(said, str) and _OID.fullmatch(said) and said.strip("0") else ""


def _ref_of(branch: Any) -> str | None:
    if not isinstance(branch, dict):
        return None
    return f"{_BELOW.get(str(branch.get('type')), '')}{branch.get('name')}"


def _target(branch: Any) -> str:
    target = branch.get("target") if isinstance(branch, dict) else None
    return _oid(target.get("hash")) if isinstance(target, dict) else ""
