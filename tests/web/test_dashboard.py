"""The dashboard shows everything and runs nothing that is not its own."""

import gzip
import re
from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from cachew.upstream.outages import Outage
from cachew.web.dashboard import shares
from cachew.web.pages import age, ago, counted
from cachew.web.repositorytable import PAGE
from cachew.web.statuses import RepositoryStatus
from tests.web.adminfront import NOW, TOKEN, AdminFront, Response, repositories, response_of


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
    row = html.partition(">github.com/torvalds/linux</a>")[2].partition("</tr>")[0]
    for shown in ("fetching", "stale", "3 s", "61 s", "30 min", "1.9 GB", "5.8 GB", "11,876", "e8f897f4afef"):
        assert shown in row
    assert 'name="fetch" value="github.com/torvalds/linux"' in row
    assert "connection refused; served from the mirror" in html


def test_shows_the_server() -> None:
    """Requests by source, stores and running work are shown."""
    html = page(AdminFront())
    for shown in ("9,120", "pack cache", "2,930", "81 GB of 250 GB", "gitlab.com/gitlab-org/gitlab", "25 h", "ready"):
        assert shown in html


def test_who_asks_for_the_same_page_meanwhile_has_a_part_in_it() -> None:
    """What there is to see is looked at once, and again for who comes later; each browser gets a page of its own."""
    front, until = AdminFront(), Deferred[None]()
    browsers = [front.log_in() for _ in range(2)]
    front.operations.until = until
    wires = [front.send("/admin/", headers=one) for one in browsers for _ in range(2)]
    wires.append(front.send("/admin/live?name=x", headers=browsers[0]))
    assert len(front.operations.looks) == 2
    until.callback(None)
    front.clock.pump([0] * len(wires))
    pages = [response_of(wire).body for wire in wires]
    csrf = [re.findall(rb'name="csrf" content="([^"]+)"', page)[0] for page in pages[:4]]
    assert csrf[0] == csrf[1] != csrf[2] == csrf[3] and b'id="list"' in pages[4]
    page(front)
    assert len(front.operations.looks) == 3


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
    front.operations.time += 3600
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
    assert int(small.header("Content-Length")) == len(small.body) < len(plain.body) / 6
    assert small.header("ETag") != plain.header("ETag")


@pytest.mark.parametrize(
    ("target", "accepted"), [("/admin/live", "gzip;q=0, *"), ("/admin/live", "br"), ("/admin/", "gzip")]
)
def test_what_is_not_compressed(target: str, accepted: str) -> None:
    """Who does not take gzip is not sent it, and a page with a secret in it tells nothing by its length."""
    front = AdminFront()
    response = front.ask(target, headers=front.log_in() | {"Accept-Encoding": accepted})
    assert response.header("Content-Encoding") == "" and b"No repository is mirrored" in response.body


def test_tells_which_upstream_does_not_answer() -> None:
    """An upstream of repositories here that does not answer leads the page, with since when and why; others don't."""
    front = AdminFront()
    front.operations.known = repositories()
    front.outages = [
        Outage("gitlab.com", NOW - 3000, NOW - 9, "<b>timed out</b>"),
        Outage("nobody.example", NOW - 10, NOW, "no such host"),
    ]
    html = page(front)
    assert "Upstream gitlab.com does not answer since 2027-01-15 07:10 UTC" in html
    assert "&lt;b&gt;timed out&lt;/b&gt;" in html and "nobody.example" not in html
    front.outages = []
    assert "<strong>Upstream" not in page(front)


def test_errors_come_first_and_can_be_shown_alone() -> None:
    """The page counts repositories with an error and leads to them; the choice is kept by every other link."""
    front = AdminFront()
    front.operations.known = repositories()
    html = page(front)
    assert "1 repository with an error" in html and 'href="/admin/?state=error"' in html
    alone = page(front, "/admin/?state=error&span=day&name=deploy")
    assert re.findall(r'name="fetch" value="([^"]+)"', alone) == ["git.example:8443/infra/tools/deploy"]
    for kept in ("state=error", "span=day", "name=deploy"):
        assert kept in next(link for link in re.findall(r'href="([^"]+)"', alone) if "sort=size" in link)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("name=nosuch", "with “nosuch” in its name is mirrored"),
        ("state=suspect", "is in the state “suspect”"),
        ("host=git.example&name=x&state=error", "with “x” in its name of git.example is in the state “error”"),
    ],
)
def test_an_empty_result_says_so(query: str, said: str) -> None:
    """A choice that leaves nothing is told in a sentence, with a way back."""
    front = AdminFront()
    front.operations.known = [RepositoryStatus(name="git.example/org/repo", state="ready")]
    html = re.sub(r"\s+", " ", page(front, f"/admin/?{query}"))
    assert f"No repository {said}" in html and "Show all 1" in html


@pytest.mark.parametrize("span", ["hour", "day"])
def test_traffic_is_drawn_with_axes(span: str) -> None:
    """Requests, bytes by where they came from and response times are drawn on the server, each with its scale."""
    front = AdminFront()
    front.traffic.busy = True
    html = page(front, f"/admin/?span={span}")
    for shown in (f"traffic of the last {span}", "Hit rate", " %</dd>", "Saved", "p95", "from upstreams", "now</span>"):
        assert shown in html, shown
    assert html.count("<figure") == 3 and html.count("<polyline") >= 2 and html.count("v-") > 100
    assert ("24 h ago" if span == "day" else "60 min ago") in html


def test_nothing_is_drawn_of_no_traffic() -> None:
    """Without requests the numbers are 0 or not known, not made up."""
    html = page(AdminFront())
    assert "<dd>0</dd>" in html and html.count("<dd>—</dd>") == 3 and "<polyline" not in html


def test_a_log_out_needs_no_script() -> None:
    """The form's token logs the browser out and leads to the login; without it nothing happens."""
    front = AdminFront()
    browser = front.log_in()
    (csrf, *_) = re.findall(r'name="csrf" value="([^"]+)"', front.ask("/admin/", headers=browser).body.decode())
    assert front.ask("/admin/logout", "POST", headers=browser, body=b"csrf=x").status == 403
    answer = front.ask("/admin/logout", "POST", headers=browser, body=f"csrf={csrf}".encode())
    assert (answer.status, answer.header("Location")) == (303, "/admin/login")
    assert front.ask("/admin/", headers=browser).status == 302


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [(0, "clone", "no clones"), (1, "repository", "1 repository"), (1200, "repository", "1,200 repositories")],
)
def test_numbers_have_their_plural(number: int, what: str, said: str) -> None:
    """One is one, and none is none."""
    assert counted(number, what) == said


def test_a_page_of_many_is_small() -> None:
    """Of 300 repositories the page has some, in fewer than 50 kB, script and style included."""
    front = AdminFront()
    front.traffic.busy = True
    front.operations.known = [
        replace(repositories()[number % 5], name=f"github.com/organisation-{number}/a-repository-of-some-length")
        for number in range(300)
    ]
    body = front.ask("/admin/", headers=front.log_in()).body
    assert body.count(b'name="fetch"') == PAGE and len(body) <= 50_000


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
