"""Fetches that no kept pack answers: who has what is wanted, and sends it.

Objects come from the mirror through ``git http-backend``; what the mirror can't serve, the upstream does. That choice
is open until the first byte has left.
"""

from collections.abc import Sequence
from dataclasses import replace

from twisted.logger import Logger

from cachew.http.incoming import Body
from cachew.http.requests import StreamingRequest
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.wants import Asker, Supply
from cachew.plumbing.diskspace import disk_failure
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.smarthttp import routing, wantedrefs
from cachew.smarthttp.clientcommands import Fetch, V2Fetch
from cachew.smarthttp.mirrorpacks import MirrorRefused
from cachew.smarthttp.routing import Route, Situation, decide
from cachew.upstream.listing import Listing
from cachew.web.access.guard import Right
from cachew.web.packs import Packs
from cachew.web.reflistings import RefListings
from cachew.web.uploadpack import CommandReader, ToldListings

_SAYS = "upload-pack: "
"""What git's upload-pack puts before what it says."""
_LONGEST_WORDS = 1000
_MOST_BESIDES = 100
"""Refs that have moved since a client was told of them, whose objects are looked for."""


class FetchAnswers:
    """Answers what wants objects.

    :param mirrors: the mirrors.
    :param supply: gets objects that a mirror lacks.
    :param packs: sends them.
    :param listings: knows what refs are that are wanted by their names.
    :param commands: reads requests.
    :param patience: seconds that a fetch waits until it is certain that a repository is still the same.
    :param told: remembers what clients were told that refs are.
    """

    log = Logger()

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        supply: Supply,
        packs: Packs,
        listings: RefListings,
        commands: CommandReader,
        patience: float,
        told: ToldListings,
    ) -> None:
        self._mirrors = mirrors
        self._supply = supply
        self._packs = packs
        self._listings = listings
        self._commands = commands
        self._patience = patience
        self._told = told

    async def serve(self, request: StreamingRequest, right: Right, body: Body, command: Fetch) -> None:
        """Answer a fetch.

        :param body: the request's, of which the command was read.
        :raise CachewError: when neither the mirror nor the upstream can.
        """
        await self._listings.mirror(right)
        asked, wanted, besides = (body, command), b"", list[str]()
        if isinstance(command, V2Fetch) and command.want_refs:
            listing, right = await self._listings.named(right, command.want_refs)
            besides = await self._besides(request, right, command.want_refs, listing)
            try:
                body, wanted = await self._commands.resolved(body, command.want_refs, listing, besides)
            except wantedrefs.UnknownRef as absent:
                await self._listings.tell(request, wantedrefs.unknown(absent.name))
                return
            resolved = await self._commands.parsed(request, right.identity, body)
            assert isinstance(resolved, Fetch)
            command = resolved
        right = await (await self._listings.recognised(right)).settled(self._patience)
        mirror = self._mirrors.obtain(right.identity)
        # A mirror whose packs somebody has written to is not ready until they were read.
        if not mirror.verification.intact() or not mirror.life.ready:
            await mirror.verification.settled_soon()
        asker = Asker(self._told.client_of(request), right.authorization)
        situation = Situation(
            ready=right.covers(mirror),
            object_format=mirror.refs.object_format,
            upstream_version=self._listings.upstream_version(right),
        )
        route = await self._possible_route(mirror, asker, command, situation)
        right = await right.renewed()
        if route.kind is routing.RouteKind.MIRROR and right.covers(mirror):
            try:
                await self._packs.serve(request, mirror, command, body, wanted)
                return
            except (ProcessFailed, MirrorRefused) as error:
                self._suspect(mirror, error)
                if request.startedWriting:
                    raise
                without = decide("git-upload-pack", command, replace(situation, refused=True))
                route = replace(without, reason=str(error).removeprefix(_SAYS))
        if besides:
            # The upstream may be another repository by now.
            self._told.forget(request.connection)
            await self.serve(request, right, *asked)
            return
        if route.kind is routing.RouteKind.NOBODY:
            words = f"ERR {_SAYS}{route.reason}".encode("utf-8", "replace")[:_LONGEST_WORDS]
            await self._listings.tell(request, encode_all([words, FLUSH]))
            return
        self.log.debug(
            "{repository}: passing a request to the upstream: {reason}",
            repository=mirror.identity.name,
            reason=route.reason,
        )
        await self._packs.serve_upstream(request, right, mirror, command, body, wanted)

    async def _besides(
        self, request: StreamingRequest, right: Right, names: Sequence[str], listing: Listing
    ) -> list[str]:
        """Return what the client was told that refs are which have moved since, as far as the mirror can have it."""
        mirror = self._mirrors.obtain(right.identity)
        told = self._told.otherwise(request.connection, right.identity, names, listing)[:_MOST_BESIDES]
        if not told or not right.covers(mirror):
            return []
        asker = Asker(self._told.client_of(request), right.authorization)
        try:
            lacking = await self._supply.missing(mirror, told, asker)
        except OSError as error:
            if disk_failure(error, mirror.identity.name) is None:
                raise
            return []
        return [oid for oid in told if oid not in lacking]

    async def _possible_route(self, mirror: Mirror, asker: Asker, command: Fetch, situation: Situation) -> Route:
        """Decide who answers: not the mirror, when the disk keeps it from having what is wanted."""
        try:
            route = await self._route(mirror, asker, command, situation)
            # Others may have many commits of their own, and name older ones soon.
            if route.kind is routing.RouteKind.MIRROR and command.has_cut_off:
                await self._supply.bring_base(mirror, command.had, asker)
            return route
        except OSError as error:
            if disk_failure(error, mirror.identity.name) is None:
                raise
            without = decide("git-upload-pack", command, replace(situation, refused=True))
            return replace(without, reason=f"the mirror's disk: {error}")

    async def _route(self, mirror: Mirror, asker: Asker, command: Fetch, situation: Situation) -> Route:
        """Decide who answers.

        :param situation: as far as it is known without looking for the wants.
        """
        present = situation.ready and not await mirror.objects.lacking(command.wants)
        route = decide("git-upload-pack", command, replace(situation, wants_present=present))
        if route.kind is not routing.RouteKind.WAIT:
            return route
        # The upstream may not be one that would understand the request.
        patient = command.version > situation.upstream_version
        missing = await self._supply.missing(mirror, command.wants, asker, patient=patient)
        tried = replace(situation, ready=mirror.life.ready, wants_present=not missing, fetch_tried=True)
        route = decide("git-upload-pack", command, tried)
        if route.kind is not routing.RouteKind.NOBODY or not missing:
            return route
        on_its_way = mirror.wanted.asked_for(missing[0])
        return replace(route, reason=f"{missing[0]} is still on its way" if on_its_way else f"not our ref {missing[0]}")

    def _suspect(self, mirror: Mirror, error: ProcessFailed | MirrorRefused) -> None:
        self.log.warn(
            "serving {repository} from its mirror failed: {error}", repository=mirror.identity.name, error=str(error)
        )
        # Whoever sends nonsense makes upload-pack refuse, before the first byte; others are served meanwhile.
        mirror.verification.doubt(serving=isinstance(error, MirrorRefused))
