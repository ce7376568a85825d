"""Tells an operator in the log how to get into the dashboard, and does what SIGHUP asks for."""

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from cachew.server.listeners import Listeners


class Announcement:
    """Says where the dashboard is.

    :param listeners: where the server listens.
    :param public_url: where clients find it, None for where it listens.
    :param login_code: makes a code that logs one browser in, once, within an hour.
    :param reload: reads the config again and follows it.
    """

    log = Logger()

    def __init__(
        self,
        *,
        listeners: Listeners,
        public_url: str | None,
        login_code: Callable[[], str],
        reload: Callable[[], Awaitable[object]],
    ) -> None:
        self._listeners = listeners
        self._public_url = public_url
        self._login_code = login_code
        self._reload = reload

    async def announce(self) -> None:
        """Say where the dashboard is and how to get in."""
        here = self._listeners.url
        if here is not None:
            url = f"{(self._public_url or here).rstrip('/')}/admin/login?code={self._login_code()}"
            self.log.info("dashboard (this link logs one browser in, once, within an hour): {url}", url=url)

    async def renew(self) -> None:
        """Say it again, and read the config again."""
        await self.announce()
        await self._reload()
