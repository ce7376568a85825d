"""Pictures of the pages for people, as they stand in docs/: made of the pages themselves, over made-up repositories."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.sync_api import Browser
from twisted.internet.defer import Deferred

from cachew.mirrors.usage import ClientUse
from cachew.plumbing.happenings import Happening
from cachew.replicas.fleet import Fleet
from cachew.upstream.outages import Outage
from tests.web.adminfront import NOW, AdminFront, front_for_browsers, repositories

_COLOURS = 96
_LINUX = "github.com/torvalds/linux"
_REPORT = {
    "version": "1.2",
    "started": NOW - 93_000,
    "numbers": {"mirrors ready": 298, "repositories": 300, "with an error": 2, "requests in the last hour": 4354,
                "bytes from the cache": 10_400_000_000, "bytes from upstreams": 1_300_000_000},
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture.

    :param name: of its file.
    :param make: makes the server that is seen.
    :param path: of the page.
    :param width: of the window.
    :param height: of what is seen of the page; None for all of it.
    """

    name: str
    make: Callable[[], AdminFront]
    path: str = "/admin/"
    scheme: Literal["light", "dark"] = "light"
    width: int = 1280
    height: int | None = None


def of_three() -> AdminFront:
    """Return a server with three repositories."""
    front = _front()
    front.operations.known = [one for one in repositories() if one.state == "ready" and not one.error]
    front.operations.known.append(next(one for one in repositories() if one.name == _LINUX))
    return front


def of_many() -> AdminFront:
    """Return one with three hundred."""
    front = _front()
    names = [f"github.com/{team}/{what}" for team in ("web", "data", "infra") for what in ("api", "tools", "docs")]
    front.operations.known = [
        replace(
            repositories()[number % 5],
            name=f"{names[number % 9]}-{number}",
            error="" if number % 97 else "the disk has no room for a first clone",
        )
        for number in range(1, 301)
    ]
    return front


def of_an_outage() -> AdminFront:
    """Return one whose upstream does not answer."""
    front = of_three()
    error = "https://github.com/ did not answer within 10 seconds"
    front.operations.known = [
        replace(one, stale=True, error=error, state="ready") if one.name.startswith("github.com/") else one
        for one in front.operations.known
    ]
    front.outages = [Outage("github.com", NOW - 1900, NOW - 12, error)]
    return front


def of_a_repository() -> AdminFront:
    """Return one with the history of a repository."""
    front = of_three()
    front.clients[_LINUX] = [ClientUse("10.0.3.17", 214, NOW - 2), ClientUse("10.0.3.9", 12, NOW - 340)]
    front.events[_LINUX] = [
        Happening(NOW - 3, "info", "the upstream was asked for its refs", 18),
        Happening(NOW - 61, "info", f"fetched {_LINUX} in 1.84s"),
        Happening(NOW - 240, "warn", f"ref check of {_LINUX} failed: https://{_LINUX} answered 502"),
        Happening(NOW - 1800, "info", f"made snapshot:{_LINUX}, 1930000000 bytes in 71.2s"),
        Happening(NOW - 93_000, "info", f"mirrored {_LINUX} in 412.0s"),
    ]
    return front


def of_a_fleet() -> AdminFront:
    """Return one of three replicas."""
    front = of_three()
    front.clock.put_forward(NOW)
    front.report = _REPORT | {"leases": {}}
    lease = {"checks/snapshot/github.com/torvalds/linux": NOW - 41}
    for name, said in (("host-2:/state", {"leases": lease}), ("host-3:/state", {"unready": "warming up"})):
        _beat(front, name, _REPORT | said)
    return front


PICTURES = (
    Picture("dashboard-3", of_three),
    Picture("dashboard-300", of_many, height=1400),
    Picture("dashboard-outage-dark", of_an_outage, scheme="dark"),
    Picture("dashboard-phone", of_three, width=390),
    Picture("repository", of_a_repository, path=f"/admin/repository?name={_LINUX}"),
    Picture("repository-phone", of_a_repository, path=f"/admin/repository?name={_LINUX}", scheme="dark", width=390),
    Picture("fleet", of_a_fleet, path="/admin/fleet"),
)


def photograph(browser: Browser, picture: Picture, url: str, cookie: str) -> bytes:
    """Return a picture of a page, as a small PNG.

    :param url: of the server.
    :param cookie: what a browser that is logged in shows.
    """
    size: Any = {"width": picture.width, "height": picture.height or 900}
    page = browser.new_page(viewport=size, color_scheme=picture.scheme, java_script_enabled=False)
    page.set_extra_http_headers({"Cookie": cookie})
    page.goto(f"{url}{picture.path}")
    taken = page.screenshot(full_page=picture.height is None)
    page.close()
    small = io.BytesIO()
    Image.open(io.BytesIO(taken)).convert("RGB").quantize(_COLOURS).save(small, "PNG", optimize=True)
    return small.getvalue()


def width_of(file: Path) -> int:
    """Return how wide a picture is."""
    with Image.open(file) as image:
        return image.width


def _front() -> AdminFront:
    front = front_for_browsers()
    front.traffic.busy = True
    return front


def _beat(front: AdminFront, name: str, said: dict[str, Any]) -> None:
    async def report() -> dict[str, Any]:
        return said

    fleet = Fleet(records=front.records, name=name, report=report, clock=front.clock, reactor=front.clock)
    Deferred.fromCoroutine(fleet.beat())
