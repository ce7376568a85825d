"""The dashboard shows everything and runs nothing that is not its own."""

import gzip
import re

import pytest

from cachew.web.dashboard import age, ago, shares
from cachew.web.statuses import RepositoryStatus
from tests.web.adminfront import NOW, TOKEN, AdminFront, Response, repositories


def page(front: AdminFront, target: str = "/admin/") -> str:
    response = front.ask(target, headers=front.log_in())
    assert response.status == 200
    return response.body.decode()


def test_leads_to_the_login() -> None:
    """Who is not logged in is led to the login page, which is open."""
    front = AdminFront()
    response = front.ask("/admin/")
    assert (response.status, response.header("Location")) == (302, "/admin/login")
    assert b'name="token"' in front.ask("/admin/login").body


def test_attempts_to_log_in_are_counted() -> None:
    """Ten a minute from an address; the right token is answered no better until some time has passed."""
    front = AdminFront()
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    def attempt(token: str) -> Response:
        return front.ask("/admin/login", "POST", headers=form, body=f"token={token}".encode())

    answers = [attempt("wrong") for _ in range(10)]
    assert all(answer.status == 200 and b"not the admin token" in answer.body for answer in answers)
    refused = attempt(TOKEN)
    assert refused.status == 429 and 1 <= int(refused.header("Retry-After")) <= 60
    assert not refused.header("Set-Cookie")
    front.clock.advance(int(refused.header("Retry-After")))
    assert attempt(TOKEN).header("Set-Cookie")


@pytest.mark.parametrize(("accept", "kind"), [("*/*", "text/plain"), ("text/html,*/*;q=0.8", "text/html")])
def test_the_bare_address_says_what_this_is(accept: str, kind: str) -> None:
    """Whoever opens the server's address, logged in or not, learns what it is and where the dashboard is."""
    answer = AdminFront().ask("/", headers={"Accept": accept})
    assert answer.status == 200
    assert answer.header("Content-Type").startswith(kind)
    assert b"git caching server" in answer.body
    assert b"/admin/" in answer.body


def test_shows_repositories_with_their_state() -> None:
    """Every repository has a row with its state, its freshness, its sizes and its actions."""
    front = AdminFront()
    front.operations.known = repositories()
    html = page(front)
    row = html.partition('data-name="github.com/torvalds/linux"')[2].partition("</tr>")[0]
    for shown in ("fetching", "stale", "3 s", "61 s", "30 min", "1.9 GB", "5.8 GB", "11,876", "e8f897f4afef"):
        assert shown in row
    assert re.findall(r'data-action="(\w+)"', row) == ["fetch", "snapshot", "repack", "forget"]
    assert "connection refused; served from the mirror" in html


def test_shows_the_server() -> None:
    """Requests by source, stores and running work are shown."""
    html = page(AdminFront())
    for shown in ("16,444", "pack cache", "2,930", "81 GB of 250 GB", "gitlab.com/gitlab-org/gitlab", "25 h", "ready"):
        assert shown in html


def test_an_empty_server_says_how_to_begin() -> None:
    """With nothing mirrored the page says what to do."""
    assert "insteadOf https://github.com/" in page(AdminFront())


def test_says_why_the_server_is_not_ready() -> None:
    """The reason for not being ready is shown."""
    front = AdminFront()
    front.operations.reason = "warming up"
    assert "warming up" in page(front, "/admin/live")


@pytest.mark.parametrize("target", ["/admin/", "/admin/live"])
def test_what_strangers_name_is_only_text(target: str) -> None:
    """Names and errors are escaped wherever they stand."""
    front = AdminFront()
    nasty = '"><script>alert(1)</script>'
    front.operations.known = [RepositoryStatus(name=nasty, state="ready", error=nasty)]
    html = page(front, target)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_the_policy_allows_the_pages_own_script_only() -> None:
    """Script and style are allowed by a word that is new for each response; nothing else may run, load or frame."""
    front = AdminFront()
    browser = front.log_in()
    one, other = front.ask("/admin/", headers=browser), front.ask("/admin/", headers=browser)
    policy = one.header("Content-Security-Policy")
    (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    assert set(re.findall(r'<(?:script|style) nonce="([^"]+)"', one.body.decode())) == {nonce}
    assert nonce not in other.header("Content-Security-Policy")
    assert " style=" not in one.body.decode() and " onclick=" not in one.body.decode()
    assert one.header("Cache-Control") == "no-store"


def test_nothing_is_sent_twice() -> None:
    """A browser that shows the server as it still is gets 304, however much older everything has become."""
    front = AdminFront()
    front.operations.known = repositories()
    browser = front.log_in()
    first = front.ask("/admin/live", headers=browser)
    known = browser | {"If-None-Match": first.header("ETag")}
    front.operations.now += 3600
    again = front.ask("/admin/live", headers=known)
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert again.header("ETag") == first.header("ETag")
    front.operations.counts = {"mirror": 1}
    other = front.ask("/admin/live", headers=known)
    assert other.status == 200 and b">1<" in other.body
    assert front.ask("/admin/live", headers={"If-None-Match": "*"}).status == 401


@pytest.mark.parametrize("known", ["", "*"])
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_what_admins_see_is_kept_nowhere(coding: str, known: str) -> None:
    """Compressed or not, sent or not, what changes is under the page's policy, and nobody may store it."""
    front = AdminFront()
    headers = front.log_in() | {"If-None-Match": known, "Accept-Encoding": coding}
    response = front.ask("/admin/live", headers=headers)
    assert (response.status, response.header("Content-Encoding")) == ((304, "") if known else (200, coding))
    assert response.header("Cache-Control") == "no-store"
    assert response.header("Vary") == "Accept-Encoding"
    assert response.header("X-Content-Type-Options") == "nosniff"
    assert response.header("Content-Security-Policy").startswith("default-src 'none'; ")


def test_a_long_list_is_compressed() -> None:
    """Who takes gzip is sent a small part of what a long list takes."""
    front = AdminFront()
    front.operations.known = [
        RepositoryStatus(name=f"git.example/org/{number}", state="ready", head=f"{number:040x}", used=NOW - number)
        for number in range(500)
    ]
    browser = front.log_in()
    plain = front.ask("/admin/live", headers=browser)
    small = front.ask("/admin/live", headers=browser | {"Accept-Encoding": "gzip, deflate, br"})
    assert small.header("Content-Encoding") == "gzip"
    assert gzip.decompress(small.body) == plain.body
    assert int(small.header("Content-Length")) == len(small.body) < len(plain.body) / 8
    assert small.header("ETag") != plain.header("ETag")


@pytest.mark.parametrize(
    ("target", "accepted"), [("/admin/live", "gzip;q=0, *"), ("/admin/live", "br"), ("/admin/", "gzip")]
)
def test_what_is_not_compressed(target: str, accepted: str) -> None:
    """Who does not take gzip is not sent it, and a page with a secret in it tells nothing by its length."""
    front = AdminFront()
    response = front.ask(target, headers=front.log_in() | {"Accept-Encoding": accepted})
    assert response.header("Content-Encoding") == "" and b"Repositories" in response.body


def test_curves_grow_with_the_samples() -> None:
    """Each sample ends a step of the curve."""
    front = AdminFront()

    async def sample(*counts: int) -> None:
        for count in counts:
            front.operations.counts = {"mirror": count}
            await front.dashboard.sample()

    sampling = sample(100, 150, 250)
    with pytest.raises(StopIteration):
        sampling.send(None)
    assert 'points="0.0,0.0 140.0,28.0 280.0,0.0"' in page(front)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_ages_are_in_one_unit(seconds: float, text: str) -> None:
    """An age is told in seconds, minutes, hours or days; what has not happened is told as never."""
    assert age(NOW - seconds, NOW) == text
    assert ago(NOW - seconds, NOW) == f'<time data-at="{NOW - seconds:.0f}">{text}</time>'
    assert ago(None, NOW) == "never"


def test_shares_fill_the_bar() -> None:
    """The segments of the bar follow one another and add up."""
    assert shares([("a", 3), ("b", 1)]) == [
        {"source": "a", "count": 3, "start": 0.0, "width": 75.0},
        {"source": "b", "count": 1, "start": 75.0, "width": 25.0},
    ]
    assert shares([]) == []
