"""The page of all replicas that share a store: what each said of itself last. Another version may say other things."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from klein import Klein

from cachew.http.requests import StreamingRequest, allow_methods
from cachew.plumbing.errors import CachewError
from cachew.replicas.change import count_of, moment_of
from cachew.replicas.fleet import SILENT, Fleet, Replica
from cachew.web.access.login import AdminAccess
from cachew.web.access.sessions import Session
from cachew.web.pages import Pages

_MOST = 50
_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class ReplicaView:
    """What is shown of a replica.

    :param own: whether it is the one that shows it.
    :param at: when it said so.
    :param silent: whether that is so long ago that it may be gone.
    :param unready: why it wants no traffic, empty when it does.
    :param started: when it started.
    :param troubles: what does not work though it serves.
    :param numbers: mirrors, requests and bytes, by what they are called.
    :param leases: what it works on for all, and since when.
    """

    name: str
    own: bool
    at: float
    silent: bool
    version: str
    unready: str
    started: float | None
    troubles: Sequence[str]
    numbers: Mapping[str, int]
    leases: Sequence[tuple[str, float]]


def view_of(replica: Replica, now: float, *, own: bool) -> ReplicaView:
    """Return what is shown of a replica, whatever it said."""
    report = replica.report
    leases, numbers, troubles = report.get("leases"), report.get("numbers"), report.get("troubles")
    held = {name: moment_of(at) for name, at in _fields(leases)[:_MOST]}
    return ReplicaView(
        name=replica.name,
        own=own,
        at=replica.at,
        silent=now - replica.at > SILENT,
        version=_text(report.get("version")) or "unknown",
        unready=_text(report.get("unready")),
        started=moment_of(report.get("started")),
        troubles=[_text(trouble) for trouble in troubles[:_MOST]] if isinstance(troubles, list) else [],
        numbers={_text(name): count_of(number) or 0 for name, number in _fields(numbers)[:_MOST]},
        leases=[(_text(name), at) for name, at in held.items() if at is not None],
    )


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _fields(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


class FleetPage:
    """The page ``/admin/fleet``.

    :param access: who may see it.
    :param fleet: the replicas.
    :param shared: whether a store is shared at all.
    :param pages: renders it.
    """

    def __init__(self, *, access: AdminAccess, fleet: Fleet, shared: bool, pages: Pages) -> None:
        self._access = access
        self._fleet = fleet
        self._shared = shared
        self._pages = pages

    def mount(self, app: Klein) -> None:
        """Register the route."""
        app.route("/admin/fleet")(self.page)

    async def page(self, request: StreamingRequest) -> bytes:
        """Show all replicas, this one first; this one alone when the store fails."""
        allow_methods(request, "GET")
        return await self._access.or_login(request, self._shown)

    async def _shown(self, request: StreamingRequest, session: Session | None) -> bytes:
        present, trouble, others = await self._fleet.present(), "", list[Replica]()
        try:
            others += await self._fleet.others()
        except CachewError as error:
            trouble = str(error)
        views = [view_of(replica, present.at, own=replica is present) for replica in (present, *others)]
        return await self._pages.render(
            request,
            "fleet.html",
            session,
            replicas=views,
            versions=sorted({view.version for view in views}),
            shared=self._shared,
            trouble=trouble,
            now=present.at,
        )
