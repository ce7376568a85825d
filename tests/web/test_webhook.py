"""A forge's push event makes the mirror fetch, if it is the forge's."""

import hashlib
import hmac
import json
from urllib.parse import urlencode

import pytest

from tests.web.adminfront import AdminFront

SECRET = "shared"
GITHUB = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": "https://github.com/Org/Repo.git"}}).encode()
GITLAB = json.dumps({"project": {"git_http_url": "https://gitlab.com/g/s/p.git"}}).encode()
GITEA = json.dumps({"repository": {"clone_url": "http://10.0.0.5:3000/o/r.git"}}).encode()


def front() -> AdminFront:
    return AdminFront(secrets={"github": SECRET, "gitlab": SECRET, "gitea": SECRET})


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(body: bytes = GITHUB, event: str = "push") -> dict[str, str]:
    return {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={signed(body)}"}


def test_github_push_fetches() -> None:
    """A signed push event of GitHub is passed on for the repository it names."""
    server = front()
    assert server.ask("/webhook/github", "POST", headers=github(), body=GITHUB).status == 202
    assert server.operations.pushes == ["github.com/Org/Repo"]


def test_github_push_as_a_form_fetches() -> None:
    """GitHub's default form encoding is understood."""
    server, body = front(), urlencode({"payload": GITHUB.decode()}).encode()
    assert server.ask("/webhook/github", "POST", headers=github(body), body=body).status == 202
    assert server.operations.pushes == ["github.com/Org/Repo"]


def test_a_push_to_what_is_not_mirrored_is_not_said_to_be_fetched() -> None:
    """The forge's log of deliveries shows that an event had no effect."""
    server = front()
    server.operations.unmirrored = True
    answer = server.ask("/webhook/github", "POST", headers=github(), body=GITHUB)
    assert (answer.status, answer.body) == (200, b"this repository is not mirrored here\n")


def test_gitlab_push_fetches() -> None:
    """A push event of GitLab is known by its token."""
    server = front()
    headers = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": SECRET}
    assert server.ask("/webhook/gitlab", "POST", headers=headers, body=GITLAB).status == 202
    assert server.operations.pushes == ["gitlab.com/g/s/p"]


def test_gitea_push_fetches_under_the_name_clients_write() -> None:
    """An upstream that is known here by another name than its URL's host is found by it."""
    server = front()
    headers = {"X-Gitea-Event": "push", "X-Gitea-Signature": signed(GITEA)}
    assert server.ask("/webhook/gitea", "POST", headers=headers, body=GITEA).status == 202
    assert server.operations.pushes == ["git.example/o/r"]


@pytest.mark.parametrize(
    ("forge", "headers"),
    [
        ("github", {}),
        ("github", {"X-Hub-Signature-256": "sha256="}),
        ("github", {"X-Hub-Signature-256": f"sha256={signed(GITHUB, 'other')}"}),
        ("github", {"X-Hub-Signature-256": f"sha256={signed(GITHUB + b' ')}"}),
        ("gitlab", {}),
        ("gitlab", {"X-Gitlab-Token": "other"}),
        ("gitea", {"X-Gitea-Signature": "é"}),
    ],
)
def test_an_unproven_event_is_refused(forge: str, headers: dict[str, str]) -> None:
    """An event without the right signature or token does nothing."""
    server = front()
    events = {f"X-{name}-Event": "push" for name in ("GitHub", "Gitlab", "Gitea")}
    assert server.ask(f"/webhook/{forge}", "POST", headers=headers | events, body=GITHUB).status == 403
    assert server.operations.pushes == []


def test_a_webhook_without_secret_is_closed() -> None:
    """An endpoint whose secret is not configured, or empty, does not exist."""
    closed: list[dict[str, str | None]] = [{}, {"github": None}, {"github": ""}]
    for secrets in closed:
        server = AdminFront(secrets=secrets)
        body_signed_with_nothing = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed(GITHUB, '')}"}
        assert server.ask("/webhook/github", "POST", headers=body_signed_with_nothing, body=GITHUB).status == 404


def test_other_events_are_ignored() -> None:
    """GitHub's ping is answered and nothing is fetched."""
    server = front()
    assert server.ask("/webhook/github", "POST", headers=github(event="ping"), body=GITHUB).status == 200
    assert server.operations.pushes == []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"null", b"not json", b'{"repository": {}}', b'{"repository": 5}', b"payload=x",
     b'{"repository": {"clone_url": "file:///etc/passwd"}}', b'{"repository": {"clone_url": "https://h/../x"}}',
     b"[" * 100_000],
    ids=range(11),
)  # fmt: skip
def test_malformed_events_are_bad_requests(body: bytes) -> None:
    """A signed event that names no repository is a bad request, and no failure."""
    server = front()
    assert server.ask("/webhook/github", "POST", headers=github(body), body=body).status == 400


def test_only_post() -> None:
    """An event is posted."""
    assert front().ask("/webhook/github").status == 405
