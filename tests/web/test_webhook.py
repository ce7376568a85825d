"""A forge's push event makes the mirror fetch, if it is the forge's."""

import hashlib
import hmac
import json
from base64 import b64encode
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from twisted.logger import capturedLogs

from tests.web.adminfront import AdminFront, Wire

SECRET = "shared"
GITHUB = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": "https://github.com/Org/Repo.git"}}).encode()
GITLAB = json.dumps({"project": {"git_http_url": "https://gitlab.com/g/s/p.git"}}).encode()
GITEA = json.dumps({"repository": {"clone_url": "http://10.0.0.5:3000/o/r.git"}}).encode()


NOT_HERE = b"this repository is not mirrored here\n"


def front() -> AdminFront:
    forges = ("github", "gitlab", "gitea", "bitbucket", "azure-devops", "gitee")
    return AdminFront(secrets=dict.fromkeys(forges, SECRET))


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
    assert (answer.status, answer.body) == (200, NOT_HERE)


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


BITBUCKET = json.dumps(
    {"repository": {"full_name": "team/repo", "links": {"html": {"href": "https://bitbucket.org/team/repo"}}}}
).encode()
AZURE = json.dumps(
    {"eventType": "git.push",
     "resource": {"repository": {"remoteUrl": "https://org@dev.azure.com/org/My%20Project/_git/repo"}}}
).encode()  # fmt: skip


def test_bitbucket_push_fetches() -> None:
    """Its signature has a header of its own."""
    server = front()
    headers = {"X-Event-Key": "repo:push", "X-Hub-Signature": f"sha256={signed(BITBUCKET)}"}
    assert server.ask("/webhook/bitbucket", "POST", headers=headers, body=BITBUCKET).status == 202
    assert server.operations.pushes == ["bitbucket.org/team/repo"]


def test_bitbuckets_test_needs_no_signature() -> None:
    """Its "Test connection" is answered, and neither another event nor one that is signed wrongly is taken for one."""
    server, body = front(), b'{"test": true}'
    ping = {"X-Event-Key": "diagnostics:ping"}
    assert server.ask("/webhook/bitbucket", "POST", headers=ping, body=body).status == 200
    assert server.ask("/webhook/github", "POST", headers=ping, body=body).status == 403
    wrong = {"X-Hub-Signature": f"sha256={signed(b'')}"}
    assert server.ask("/webhook/bitbucket", "POST", headers=ping | wrong, body=body).status == 403
    assert server.ask("/webhook/bitbucket", "POST", headers={"X-Event-Key": "repo:push"}, body=BITBUCKET).status == 403


def logged_in(password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'hook:{password}'.encode()).decode()}"}


def test_azure_devops_push_fetches() -> None:
    """Who logs in with the password tells what happened in the body alone; projects may have blanks in their names."""
    server = front()
    assert server.ask("/webhook/azure-devops", "POST", headers=logged_in(SECRET), body=AZURE).status == 202
    assert server.operations.pushes == ["dev.azure.com/org/My%20Project/_git/repo"]
    other = b'{"eventType": "build.complete", "resource": {}}'
    assert server.ask("/webhook/azure-devops", "POST", headers=logged_in(SECRET), body=other).body == b"ignored\n"


GITEE = json.dumps({"ref": "refs/heads/main", "project": {"git_http_url": "https://gitee.com/o/r.git"}}).encode()


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (SECRET, 202),
        (b64encode(hmac.digest(SECRET.encode(), b"1700000000000\nshared", "sha256")).decode(), 202),
        (quote_plus(b64encode(hmac.digest(SECRET.encode(), b"1700000000000\nshared", "sha256"))), 202),
        (b64encode(hmac.digest(SECRET.encode(), b"1700000000001\nshared", "sha256")).decode(), 403),
        ("other", 403),
        ("", 403),
    ],
    ids=range(6),
)
def test_gitee_shows_a_password_or_signs_the_time_with_it(token: str, status: int) -> None:
    """Whether or not the signature is percent-encoded, as its documentation has it."""
    server = front()
    headers = {"X-Gitee-Event": "Push Hook", "X-Gitee-Timestamp": "1700000000000", "X-Gitee-Token": token}
    assert server.ask("/webhook/gitee", "POST", headers=headers, body=GITEE).status == status
    assert server.operations.pushes == (["gitee.com/o/r"] if status == 202 else [])


STANDARD = {"webhook-id": "e1", "webhook-timestamp": "1700000000", "X-Gitlab-Event": "Push Hook"}
SIGNING_KEY = b"k" * 32


def standard_signature(body: bytes, key: bytes = SIGNING_KEY) -> str:
    digest = hmac.digest(key, b"e1.1700000000." + body, "sha256")
    return f"v1,{b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"webhook-signature": standard_signature(GITLAB)}, 202),
        ({"webhook-signature": f"v1,AAAA {standard_signature(GITLAB)}"}, 202),
        ({"webhook-signature": standard_signature(GITLAB, b"other")}, 403),
        ({"webhook-signature": standard_signature(GITLAB), "webhook-timestamp": "1700000001"}, 403),
        ({"webhook-signature": standard_signature(GITLAB).removeprefix("v1,")}, 403),
        ({"X-Gitlab-Token": f"whsec_{b64encode(SIGNING_KEY).decode()}"}, 403),
        ({}, 403),
    ],
    ids=range(7),
)
def test_gitlabs_signing_token(headers: dict[str, str], status: int) -> None:
    """Where the secret is a signing token the event has to be signed with it, as Standard Webhooks has it."""
    server = AdminFront(secrets={"gitlab": f"whsec_{b64encode(SIGNING_KEY).decode()}"})
    assert server.ask("/webhook/gitlab", "POST", headers=STANDARD | headers, body=GITLAB).status == status
    assert server.operations.pushes == (["gitlab.com/g/s/p"] if status == 202 else [])


def test_a_secret_that_only_looks_like_a_signing_token_is_none() -> None:
    """Then it is sent as it is."""
    server = AdminFront(secrets={"gitlab": "whsec_no-base64"})
    headers = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "whsec_no-base64"}
    assert server.ask("/webhook/gitlab", "POST", headers=headers, body=GITLAB).status == 202


@pytest.mark.parametrize(
    ("forge", "headers"),
    [
        ("github", {}),
        ("bitbucket", {}),
        ("bitbucket", {"X-Hub-Signature": f"sha256={signed(GITHUB, 'other')}"}),
        ("azure-devops", {}),
        ("azure-devops", {"Authorization": f"Basic {b64encode(b'hook:other').decode()}"}),
        ("azure-devops", {"Authorization": "Basic é"}),
        ("azure-devops", {"Authorization": f"Bearer {SECRET}"}),
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
    events = {f"X-{name}-Event": "push" for name in ("GitHub", "Gitlab", "Gitea")} | {"X-Event-Key": "repo:push"}
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


GITEA_HEADERS = {"X-Gitea-Event": "push", "Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("names", ["gitea", "forgejo", "gogs"])
def test_gitea_signs_the_payload_of_its_forms(names: str) -> None:
    """An event of content type form carries the signature of the JSON inside, under the names that its forge writes."""
    form = urlencode({"payload": GITEA.decode()}).encode()
    event, signature = f"X-{names.capitalize()}-Event", f"X-{names.capitalize()}-Signature"
    headers = {event: "push", signature: signed(GITEA), "Content-Type": "application/x-www-form-urlencoded"}
    server = front()
    assert server.ask("/webhook/gitea", "POST", headers=headers, body=form).status == 202
    assert server.operations.pushes == ["git.example/o/r"]


@pytest.mark.parametrize(
    ("forge", "signature", "text"),
    [
        ("gitea", signed(GITEA, "other"), GITEA),
        ("gitea", signed(GITEA), GITEA + b" "),
        ("gitea", signed(b""), GITEA),
        ("gitea", "", GITEA),
        ("github", signed(GITEA), GITEA),
    ],
)
def test_a_form_with_another_signature_is_refused(forge: str, signature: str, text: bytes) -> None:
    """Only the payload's own signature opens a form of Gitea's, and only the form's one of GitHub's."""
    form = urlencode({"payload": text.decode()}).encode()
    headers = GITEA_HEADERS | {"X-GitHub-Event": "push", "X-Gitea-Signature": signature}
    headers["X-Hub-Signature-256"] = f"sha256={signature}"
    server = front()
    assert server.ask(f"/webhook/{forge}", "POST", headers=headers, body=form).status == 403
    assert server.operations.pushes == []


def test_a_form_without_payload_is_refused() -> None:
    """A form that holds no event is neither the forge's nor a failure."""
    headers = GITEA_HEADERS | {"X-Gitea-Signature": signed(b"")}
    assert front().ask("/webhook/gitea", "POST", headers=headers, body=b"a=b").status == 403
    body = b"payload"
    headers = GITEA_HEADERS | {"X-Gitea-Signature": signed(body)}
    assert front().ask("/webhook/gitea", "POST", headers=headers, body=body).status == 400


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("https://code.example/git/o/r.git", ["code.example/o/r"]),
        ("http://git.internal:3000/o/r", ["git.example/o/r"]),
        ("https://git.example/o/r.git", ["git.example/o/r"]),
        ("https://twice.example/o/r", ["mirror.example/o/r", "other.example/o/r"]),
        ("https://GIT.Example:443/o/r", ["git.example/o/r"]),
    ],
)
def test_an_event_is_matched_by_all_names_of_a_host(url: str, names: list[str]) -> None:
    """Below a sub-path, by an alias, by the table's name, and in every table with one URL, whatever the case."""
    server, body = front(), json.dumps({"repository": {"clone_url": url}}).encode()
    server.operations.mirrored = names
    headers = {"X-Gitea-Event": "push", "X-Gitea-Signature": signed(body)}
    assert server.ask("/webhook/gitea", "POST", headers=headers, body=body).status == 202
    assert set(names) <= set(server.operations.pushes)


def test_an_event_of_a_strange_address_is_matched_by_path() -> None:
    """A forge whose own address nobody told this server is known by the paths of its repositories."""
    body = json.dumps({"repository": {"clone_url": "http://localhost:3000/o/r.git", "full_name": "o/r"}}).encode()
    headers = {"X-Gitea-Event": "push", "X-Gitea-Signature": signed(body)}
    server = front()
    server.operations.mirrored, server.operations.others = ["git.example/o/r"], {"o/r": "git.example/o/r"}
    assert server.ask("/webhook/gitea", "POST", headers=headers, body=body).status == 202
    assert server.operations.pushes[-1] == "git.example/o/r"


def test_a_known_host_is_not_matched_by_path() -> None:
    """Another forge's repository of the same path is not meant by an event whose host is known."""
    body = json.dumps({"repository": {"clone_url": "https://git.example/o/r.git", "full_name": "o/r"}}).encode()
    headers = {"X-Gitea-Event": "push", "X-Gitea-Signature": signed(body)}
    server = front()
    server.operations.mirrored, server.operations.others = ["code.example/o/r"], {"o/r": "code.example/o/r"}
    assert server.ask("/webhook/gitea", "POST", headers=headers, body=body).body == NOT_HERE


def test_a_push_to_a_renamed_repository_reaches_the_mirror_of_the_old_name() -> None:
    """The event has the new name only; the mirror's upstream redirects to it."""
    body = json.dumps({"repository": {"clone_url": "https://git.example/o/new.git"}}).encode()
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed(body)}"}
    server = front()
    server.operations.mirrored = ["git.example/o/old"]
    server.operations.others = {"https://git.example/o/new.git": "git.example/o/old"}
    assert server.ask("/webhook/github", "POST", headers=headers, body=body).status == 202
    assert server.operations.pushes[-1] == "git.example/o/old"


def system(**event: object) -> bytes:
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    ("body", "pushes"),
    [
        (system(event_name="push", project={"git_http_url": "https://gitlab.com/g/p.git"}), ["gitlab.com/g/p"]),
        (system(event_name="tag_push", project={"git_http_url": "https://gitlab.com/g/p.git"}), ["gitlab.com/g/p"]),
        (system(event_name="repository_update", project={"web_url": "https://gitlab.com/g/p"}), ["gitlab.com/g/p"]),
        (system(event_name="project_rename", path_with_namespace="g/new", old_path_with_namespace="g/old"),
         ["gitlab.com/g/new", "gitlab.com/g/old"]),
        (system(event_name="project_destroy", path_with_namespace="g/p"), ["gitlab.com/g/p"]),
        (system(event_name="user_create", name="somebody"), []),
        (system(event_name="key_create"), []),
    ],
)  # fmt: skip
def test_gitlabs_system_hooks(body: bytes, pushes: list[str]) -> None:
    """The events of a whole instance are known by the name in their body, and some by path and instance alone."""
    server = front()
    headers = {"X-Gitlab-Event": "System Hook", "X-Gitlab-Token": SECRET, "X-Gitlab-Instance": "https://gitlab.com"}
    assert server.ask("/webhook/gitlab", "POST", headers=headers, body=body).status == (202 if pushes else 200)
    assert server.operations.pushes == pushes


def test_an_event_about_no_mirror_is_logged_once() -> None:
    """That a forge tells of what is not mirrored here is said once for each repository."""
    server = front()
    server.operations.unmirrored = True
    with capturedLogs() as logs:
        for _ in range(3):
            assert server.ask("/webhook/github", "POST", headers=github(), body=GITHUB).body == NOT_HERE
    told = [event for event in logs if "not mirrored here" in event.get("log_format", "")]
    assert len(told) == 1 and told[0]["repository"] == "github.com/Org/Repo"


def begun(server: AdminFront, head: str) -> tuple[Any, Wire]:
    """Begin a request whose body does not come."""
    wire = Wire()
    channel: Any = server.site.buildProtocol(None)
    channel.makeConnection(wire)
    channel.dataReceived(head.encode())
    return channel, wire


@pytest.mark.parametrize("forge", ["github", "gitea"])
def test_slow_bodies_hold_nobody_up(forge: str) -> None:
    """A hundred unsigned bodies that never end delay no signed event, and have thirty seconds, however they drip."""
    server = front()
    head = f"POST /webhook/{forge} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    slow = [begun(server, head) for _ in range(100)]
    assert server.ask("/webhook/github", "POST", headers=github(), body=GITHUB).status == 202
    for _ in range(29):
        server.clock.advance(1)
        for channel, wire in slow:
            channel.dataReceived(b"x" * 5000)
            assert not wire.value()
    server.clock.advance(2)
    assert all(wire.value().startswith(b"HTTP/1.1 408 ") for _, wire in slow)
    assert server.site.bodies.budget.used == 0


def test_a_long_event_is_read_in_a_thread() -> None:
    """A push of thousands of commits is checked and read outside the reactor's thread."""
    body = json.dumps(
        {"commits": ["x" * 100] * 10_000, "repository": {"clone_url": "https://git.example/o/r"}}
    ).encode()
    server = front()
    assert server.ask("/webhook/github", "POST", headers=github(body), body=body).status == 202
    assert server.threaded == 2


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
