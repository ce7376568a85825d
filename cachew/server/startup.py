"""What starts, what runs meanwhile and what stops, and in which order.

The mirrors are found last, because with them the server is ready. At the end whatever begins work stops first, then the
work, then what it stood on.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from cachew.http.requests import make_site
from cachew.plumbing.lag import LagWatch
from cachew.plumbing.periodic import Periodic
from cachew.replicas.conditions import ConditionCheck
from cachew.server.lifecycle import Patience, Server, Step
from cachew.server.manhole import Manhole
from cachew.server.web import admin_access, limits_of, make_app
from cachew.web.dashboard import DashboardRoutes

if TYPE_CHECKING:
    from cachew.server.composition import House

_DASHBOARD_STEP = 10.0
_SWEEP_INTERVAL = 300.0
_PROBE_INTERVAL = 15.0
_COUNT_INTERVAL = 30.0
_CONDITIONS_INTERVAL = 60.0
_LAST_COUNT = 2.0
_TIDY_INTERVAL = 600.0


class Stages:
    """The stages that a house goes through.

    :param house: all its parts, but for the server.
    """

    def __init__(self, house: "House") -> None:
        self._house = house

    def server(self) -> Server:
        """Make what opens, runs and closes the house."""
        house, ground, settings = self._house, self._house.ground, self._house.ground.settings
        _make_directories(ground.state)
        access = admin_access(house)
        dashboard = DashboardRoutes(access=access, operations=house.operations, version=ground.surroundings.version)
        return Server(
            reactor=ground.reactor,
            endpoints=settings.listen,
            site=make_site(
                make_app(house, dashboard, access),
                reactor=ground.reactor,
                limits=limits_of(settings, ground.surroundings.descriptors),
                sender=ground.sender,
            ),
            pool=ground.pool,
            opening=self._opening(),
            closing=self._closing(),
            jobs=self._jobs(dashboard),
            patience=Patience(settings.shutdown_readiness_delay, settings.shutdown_timeout),
            on_failure=ground.surroundings.on_failed_start,
            login_path=lambda: f"/admin/login?code={access.new_login_code()}",
        )

    # --- opening ------------------------------------------------------------------------------------------------------

    def _opening(self) -> Sequence[Step]:
        house = self._house
        return [
            house.ground.sender.start,
            self._load_public,
            house.tidying.load,
            self._start_store_threads,
            house.cache.start,
            house.pack_cache.open,
            house.artefacts.start,
            house.mirrors.discover,
        ]

    async def _load_public(self) -> None:
        await self._house.ground.threads(self._house.public.load)

    async def _start_store_threads(self) -> None:
        self._house.ground.store_pool.start()

    # --- meanwhile ----------------------------------------------------------------------------------------------------

    def _jobs(self, dashboard: DashboardRoutes) -> Sequence[IService]:
        house, clock = self._house, self._house.ground.reactor
        return [
            *self._manhole(),
            house.artefacts.scheduler,
            LagWatch(clock=clock, observe=house.ground.metrics.note_reactor_lag),
            Periodic(name="dashboard", interval=_DASHBOARD_STEP, work=dashboard.sample, clock=clock),
            Periodic(name="tidying", interval=_TIDY_INTERVAL, work=house.tidying.tidy, clock=clock, now=True),
            Periodic(name="cache probe", interval=_PROBE_INTERVAL, work=house.cache.probe, clock=clock),
            Periodic(
                name="condition check",
                interval=_CONDITIONS_INTERVAL,
                work=ConditionCheck(records=house.records).look,
                clock=clock,
                now=True,
            ),
            Periodic(name="clone counts", interval=_COUNT_INTERVAL, work=house.clones.flush, clock=clock),
            Periodic(name="cache sweep", interval=_SWEEP_INTERVAL, work=house.cache.sweep, clock=clock),
        ]

    def _manhole(self) -> Sequence[IService]:
        house, ground, manhole = self._house, self._house.ground, self._house.ground.settings.manhole
        if manhole.listen is None or manhole.authorized_keys is None:
            return []
        return [
            Manhole(
                reactor=ground.reactor,
                listen=manhole.listen,
                authorized_keys=manhole.authorized_keys,
                host_key=ground.state / "manhole-host-key",
                namespace={
                    "house": house,
                    "mirrors": house.mirrors,
                    "operations": house.operations,
                    "cache": house.cache,
                    "pack_cache": house.pack_cache,
                    "snapshots": house.artefacts.snapshots,
                    "freshness": house.freshness,
                    "metrics": ground.metrics,
                },
            )
        ]

    # --- closing ------------------------------------------------------------------------------------------------------

    def _closing(self) -> Sequence[Step]:
        house, ground = self._house, self._house.ground
        return [
            house.artefacts.stop,
            self._count_clones,
            ground.background.stop,
            house.mirrors.stop,
            house.verdicts.stop,
            house.freshness.stop,
            house.pack_cache.stop,
            ground.sender.stop,
            ground.processes.stop,
            house.outside.stop,
            house.opa_connections.closeCachedConnections,
            house.public.flush,
            house.tidying.save,
            house.cache.stop,
            self._stop_store_threads,
            self._leave_state,
        ]

    async def _count_clones(self) -> None:
        last = Deferred.fromCoroutine(self._house.clones.flush()).addTimeout(_LAST_COUNT, self._house.ground.reactor)
        with suppress(DeferredTimeout):
            await last

    async def _stop_store_threads(self) -> None:
        self._house.ground.store_pool.stop()

    async def _leave_state(self) -> None:
        self._house.ground.occupation.release()


def _make_directories(state: Path) -> None:
    for name in ("", "home", "packs", "spools", "mirrors"):
        (state / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    for stray in (state / "spools").iterdir():
        stray.unlink()
