"""Health, metrics, log level and repositories over HTTP."""

import pytest

from cachew.config.inforce import Reloaded
from tests.functional.loglines import listening
from tests.web.adminfront import BEARER, AdminFront, repositories


def test_liveness_is_open() -> None:
    """Whoever asks is told that the process answers, whatever state it is in."""
    front = AdminFront()
    front.operations.reason = "warming up"
    assert (front.ask("/_liveness").status, front.ask("/_liveness").body) == (200, b"OK\n")


def test_readiness_says_why_not() -> None:
    """Readiness fails with the reason, and is fine when there is none, though something may not work."""
    front = AdminFront()
    assert (front.ask("/_readiness").status, front.ask("/_readiness").body) == (200, b"OK\n")
    front.operations.failing = ["cache tier 2-s3 fails"]
    assert front.ask("/_readiness").body == b"OK\ncache tier 2-s3 fails\n"
    assert (front.ask("/_readiness").status, front.ask("/_readiness", "HEAD").status) == (200, 200)
    front.operations.reason = "shutting down"
    response = front.ask("/_readiness")
    assert (response.status, response.body, response.header("Retry-After")) == (503, b"shutting down\n", "1")


def test_probes_that_are_told_to_wait_are_no_news() -> None:
    """A load balancer that asks every second while the server shuts down leaves nothing in the log."""
    front = AdminFront()
    front.operations.reason = "shutting down"
    with listening() as log:
        assert front.ask("/_readiness").status == 503
    assert log.count("shutting down") == 0


@pytest.mark.parametrize("path", ["/_liveness", "/_readiness", "/metrics", "/admin/repositories", "/admin/"])
def test_only_reads(path: str) -> None:
    """What only shows something allows GET and HEAD."""
    response = AdminFront().ask(path, "POST", headers=BEARER)
    assert (response.status, response.header("Allow")) == (405, "GET, HEAD")


def test_metrics_are_prometheus() -> None:
    """The metrics come in the form that the scraper accepts."""
    front = AdminFront()
    front.metrics.stale.inc()
    plain = front.ask("/metrics", headers=BEARER)
    assert plain.header("Content-Type").startswith("text/plain; version=")
    assert b"cachew_stale_responses_total 1.0" in plain.body
    other = front.ask("/metrics", headers=BEARER | {"Accept": "application/openmetrics-text; version=1.0.0"})
    assert other.header("Content-Type").startswith("application/openmetrics-text")


@pytest.mark.parametrize(("target", "body"), [("?level=debug", b""), ("", b"level=debug"), ("", b"level=DEBUG")])
def test_changes_the_log_level(target: str, body: bytes) -> None:
    """The level is shown by GET and changed by PUT with a form field, in the query or the body."""
    front = AdminFront()
    assert front.ask("/admin/log/level", headers=BEARER).body == b"INFO\n"
    response = front.ask(f"/admin/log/level{target}", "PUT", headers=BEARER, body=body)
    assert (response.status, response.body, front.levels.level) == (200, b"DEBUG\n", "debug")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", "text/plain", None])
@pytest.mark.parametrize("body", [b"debug", b" DEBUG\n", b'{"level": "debug"}', b'"debug"', b'{"level":"DEBUG"}\n'])
def test_changes_the_log_level_by_text_or_json(kind: str | None, body: bytes) -> None:
    """A level is understood as plain text and as JSON, whatever the client calls the body, which is often a form."""
    front = AdminFront()
    headers = BEARER | ({} if kind is None else {"Content-Type": kind})
    response = front.ask("/admin/log/level", "PUT", headers=headers, body=body)
    assert (response.status, response.body, front.levels.level) == (200, b"DEBUG\n", "debug")


MALFORMED = [b'{"level": 3}', b'{"level"', b"[]", b"{}", b'"loud"', b"null", b"[" * 4000]


@pytest.mark.parametrize("body", [b"", b"level=loud", b"\xff", b"&" * 50 + b"a=b" * 3, *MALFORMED])
def test_refuses_an_unknown_log_level(body: bytes) -> None:
    """A level that does not exist is a bad request that says which do."""
    front = AdminFront()
    assert front.ask("/admin/log/level", "PUT", headers=BEARER, body=body).status == 400
    assert front.levels.level == "info"


def test_a_form_has_a_bound() -> None:
    """A form that is larger than any honest one is refused."""
    assert AdminFront().ask("/admin/log/level", "PUT", headers=BEARER, body=b"level=" + b"x" * 5000).status == 413


def test_lists_repositories() -> None:
    """The repositories are JSON, with all that is known about each."""
    front = AdminFront()
    front.operations.known = repositories()
    response = front.ask("/admin/repositories", headers=BEARER)
    (first, *_) = found = response.json()["repositories"]
    assert len(found) == 5
    assert (first["name"], first["state"], first["refs"]) == ("codeberg.org/forgejo/forgejo", "ready", 1240)


def test_shows_the_server_as_a_whole() -> None:
    """The overview is JSON, with requests by source, stores and running work."""
    found = AdminFront().ask("/admin/overview", headers=BEARER).json()
    assert found["served"]["mirror"] == 4210
    assert [work["kind"] for work in found["work"]] == ["snapshot", "serve", "fetch", "make"]


@pytest.mark.parametrize("action", ["fetch", "snapshot", "repack", "forget"])
def test_begins_an_action(action: str) -> None:
    """An action on a repository begins, and its end is not waited for."""
    front = AdminFront()
    front.operations.known = repositories()
    name = "git.example:8443/infra/tools/deploy"
    response = front.ask(f"/admin/repositories/{name.replace(':', '%3A')}/{action}", "POST", headers=BEARER)
    assert (response.status, response.json()) == (202, {"repository": name, "action": action})
    assert front.operations.acts == [(name, action)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("github.com/nobody/nothing/fetch", 404),
        ("github.com/python/cpython/explode", 404),
        ("github.com/fetch", 404),
        ("fetch", 400),
        ("github.com/a%2F..%2F../fetch", 400),
        ("github.com/-x/y/fetch", 404),
        ("github.com/a%252fb/fetch", 400),
        ("github.com/a%0Ab/fetch", 400),
        ("github.com//y/fetch", 400),
    ],
)
def test_refuses_what_is_no_action_on_a_repository(path: str, status: int) -> None:
    """Unknown repositories and actions are 404, malformed names 400."""
    front = AdminFront()
    front.operations.known = repositories()
    assert front.ask(f"/admin/repositories/{path}", "POST", headers=BEARER).status == status
    assert front.operations.acts == []


def test_an_action_is_not_a_read() -> None:
    """A link can't begin an action."""
    front = AdminFront()
    front.operations.known = repositories()
    assert front.ask("/admin/repositories/github.com/python/cpython/fetch", headers=BEARER).status == 405


READ = (
    "Accept", "Accept-Encoding", "Authorization", "Content-Type", "Cookie", "ETag", "If-None-Match", "Origin",
    "Sec-Fetch-Site", "X-CSRF-Token", "X-Forwarded-For", "X-Forwarded-Proto", "X-GitHub-Event", "X-Gitlab-Token",
    "X-Gitea-Signature", "X-Hub-Signature-256",
)  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_header_that_is_no_text_fails_no_page(name: str) -> None:
    """Bytes that are no text are refused where they are read, and never an error of the server's."""
    front = AdminFront(trusted=True, secrets={"github": "s", "gitlab": "s", "gitea": "s"})
    for method, path in (
        ("GET", "/admin/"), ("GET", "/admin/live"), ("GET", "/admin/login"), ("POST", "/admin/login"),
        ("POST", "/admin/logout"), ("GET", "/metrics"), ("GET", "/admin/overview"), ("PUT", "/admin/log/level"),
        ("POST", "/webhook/github"), ("POST", "/webhook/gitlab"), ("POST", "/webhook/gitea"), ("GET", "/_readiness"),
    ):  # fmt: skip
        status = front.ask(path, method, headers={name: "\xff"}, encoding="latin-1").status
        assert status < 500, (method, path)
        if name in ("Authorization", "Origin") and path == "/admin/overview":
            assert status == 400


def test_reads_the_config_again_when_asked() -> None:
    """A reload tells what has changed and what waits for a start; one with mistakes is refused with all of them."""
    front = AdminFront()
    front.reloaded = Reloaded(applied=["log-level"], waiting=["state"])
    done = front.ask("/admin/reload", "POST", headers=BEARER)
    assert (done.status, done.json()) == (200, {"applied": ["log-level"], "waiting": ["state"], "problems": []})
    front.reloaded = Reloaded(problems=["c.toml: state: must be a string"])
    refused = front.ask("/admin/reload", "POST", headers=BEARER)
    assert (refused.status, refused.json()["problems"]) == (422, ["c.toml: state: must be a string"])
    assert front.ask("/admin/reload", "POST").status == 401
