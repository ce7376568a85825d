"""Only the operator administers: by token, by a session of their browser, or by the policy they set."""

import pytest

from tests.web.adminfront import BEARER, TOKEN, AdminFront

ACTION = "/admin/log/level?level=debug"


def test_nobody_else_gets_in() -> None:
    """Without a token the answer is 401 and says what is needed."""
    front = AdminFront()
    for path in ("/metrics", "/admin/repositories", "/admin/overview", "/admin/log/level", "/admin/live"):
        response = front.ask(path)
        assert (response.status, response.header("WWW-Authenticate")) == (401, 'Bearer realm="cachew"')


@pytest.mark.parametrize("value", ["Bearer wrong", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"])
def test_a_wrong_token_is_refused(value: str) -> None:
    """Anything but the exact token is refused, even where the policy would trust."""
    assert AdminFront(trusted=True).ask("/metrics", headers={"Authorization": value}).status == 401


def test_the_token_lets_in_under_any_name() -> None:
    """A machine with the token may act, whatever name it uses for the server, with no further token."""
    front = AdminFront()
    response = front.ask(ACTION, "PUT", headers=BEARER | {"Host": "elsewhere.example"})
    assert (response.status, front.levels.level) == (200, "debug")


def test_a_login_link_works_once() -> None:
    """The code of a login link logs one browser in; the second time it is refused."""
    front = AdminFront()
    code = front.access.new_login_code()
    first = front.ask(f"/admin/login?code={code}")
    cookie = first.header("Set-Cookie")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/admin", "Max-Age=3600"))
    assert front.ask("/admin/repositories", headers={"Cookie": cookie.partition(";")[0]}).status == 200
    second = front.ask(f"/admin/login?code={code}")
    assert (second.header("Set-Cookie"), b"used already" in second.body) == ("", True)


def test_an_old_login_link_does_not_work() -> None:
    """The code of a login link is good for an hour; a later look into the log gives nobody the dashboard."""
    front = AdminFront()
    old, young = front.access.new_login_code(), front.access.new_login_code()
    front.clock.advance(3599)
    assert front.ask(f"/admin/login?code={young}").header("Set-Cookie")
    front.clock.advance(1)
    late = front.ask(f"/admin/login?code={old}")
    assert (late.header("Set-Cookie"), b"older than an hour" in late.body) == ("", True)
    assert front.ask(f"/admin/login?code={front.access.new_login_code()}").header("Set-Cookie")


def test_a_link_preview_does_not_use_the_link_up() -> None:
    """HEAD on a login link leaves its code good."""
    front = AdminFront()
    code = front.access.new_login_code()
    front.ask(f"/admin/login?code={code}", "HEAD")
    assert front.ask(f"/admin/login?code={code}").header("Set-Cookie")


def test_the_token_in_the_form_logs_in() -> None:
    """A browser may log in with the admin token; a wrong one is told so."""
    front = AdminFront()
    assert front.ask("/admin/login", "POST", body=f"token={TOKEN}".encode()).header("Set-Cookie")
    wrong = front.ask("/admin/login", "POST", body=b"token=guess")
    assert (wrong.header("Set-Cookie"), b"not the admin token" in wrong.body) == ("", True)


def test_a_session_ends() -> None:
    """A session is good for its lifetime and no longer, and logging out ends it at once."""
    front = AdminFront()
    browser = front.log_in()
    front.clock.advance(3599)
    assert front.ask("/admin/repositories", headers=browser).status == 200
    front.clock.advance(2)
    assert front.ask("/admin/repositories", headers=browser).status == 401
    browser = front.log_in()
    assert front.ask("/admin/logout", "POST", headers=browser | csrf(front, browser)).status == 303
    assert front.ask("/admin/repositories", headers=browser).status == 401


def csrf(front: AdminFront, browser: dict[str, str]) -> dict[str, str]:
    page = front.ask("/admin/", headers=browser).body.decode()
    return {"X-CSRF-Token": page.partition('name="csrf" content="')[2].partition('"')[0]}


def test_a_browsers_action_needs_the_pages_token() -> None:
    """The cookie alone shows, but does not act."""
    front = AdminFront()
    browser = front.log_in()
    assert front.ask(ACTION, "PUT", headers=browser).status == 403
    assert front.ask(ACTION, "PUT", headers=browser | {"X-CSRF-Token": "guess"}).status == 403
    assert front.levels.level == "info"
    assert front.ask(ACTION, "PUT", headers=browser | csrf(front, browser)).status == 200


def test_another_browsers_token_does_not_do() -> None:
    """The token of one session is of no use to another."""
    front = AdminFront()
    one, other = front.log_in(), front.log_in()
    assert front.ask(ACTION, "PUT", headers=one | csrf(front, other)).status == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_another_site_can_not_act(headers: dict[str, str], trusted: bool) -> None:
    """What another site has a browser do is refused, be the browser logged in or merely trusted."""
    front = AdminFront(trusted=trusted)
    browser = {} if trusted else front.log_in()
    if browser:
        browser |= csrf(front, browser)
    assert front.ask(ACTION, "PUT", headers=browser | headers).status == 403
    assert front.levels.level == "info"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("10.1.2.3", 200),
        ("CACHEW.example:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8080", 403),
        ("evil.example:8080:80", 400),
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_a_browser_must_use_one_of_our_names(host: str, status: int, trusted: bool) -> None:
    """A name that somebody else may point at this server is refused, so that no foreign page can read here."""
    front = AdminFront(trusted=trusted)
    browser = {} if trusted else front.log_in()
    assert front.ask("/admin/repositories", headers=browser | {"Host": host}).status == status


def test_policy_lets_in_without_a_token() -> None:
    """Where the operator's policy trusts a request it needs nothing more."""
    assert AdminFront(trusted=True).ask("/metrics").status == 200
