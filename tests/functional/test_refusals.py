"""What breaks a rule is refused with the status that says so, before anything exists for it."""

import gzip
import re
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Hang, Refuse
from tests.functional.rawhttp import ask, connect, request_head
from tests.functional.remains import files, settle, temporary_files
from tests.functional.server import Cachew, HeldClock
from tests.functional.upstream import Upstream

REPOSITORY = "/git/git.example/org/repo"
INFO = "/info/refs?service=git-upload-pack"
V2 = "Git-Protocol: version=2"
FETCH_TYPE = "Content-Type: application/x-git-upload-pack-request"
LS_REFS = b"0014command=ls-refs\n0000"

BAD_PATHS = (
    # empty and dot segments, as they are and encoded
    "/git/git.example//repo",
    "/git//org/repo",
    "/git/git.example/org//repo",
    "/git/git.example/./repo",
    "/git/git.example/../repo",
    "/git/git.example/org/..",
    "/git/git.example/org/%2e%2e",
    "/git/git.example/org/%2e",
    "/git/git.example/org/.%2E/repo",
    "/git/../git/git.example/org/repo",
    "/%67it/git.example/org/repo",
    "/git/%2e%2e/git/git.example/org/repo",
    "//git/git.example/org/repo",
    # encoded separators, NUL, double encoding, broken escapes
    "/git/git.example/org%2frepo",
    "/git/git.example/org%5crepo",
    "/git/git.example/org\\repo",
    "/git/git.example/org/repo%00",
    "/git/git.example/org/%252e%252e",
    "/git/git.example/org/re%",
    "/git/git.example/org/re%zz",
    "/git/git.example/org/re%2",
    # characters and names
    "/git/git.example/org/re%0apo",
    "/git/git.example/org/re%7fpo",
    "/git/git.example/org/re%C2%85po",
    "/git/git.example/org/re%FFpo",
    "/git/git.example/org/%2520",
    "/git/git.example/org/repo.git.git",
    "/git/git.example/org/.git",
    "/git/git.example",
    "/git/git.example/",
    # lengths
    "/git/git.example/" + "/".join(["a"] * 17),
    "/git/git.example/" + "a" * 513,
    # hosts
    "/git/unknown.example/org/repo",
    "/git/127.0.0.1/org/repo",
    "/git/localhost/org/repo",
    "/git/169.254.169.254/latest/meta-data",
    "/git/[::1]/org/repo",
    "/git/git.example:0/org/repo",
    "/git/git.example:99999/org/repo",
    "/git/git.example:x/org/repo",
    "/git/git.example./org/repo",
    "/git/user@git.example/org/repo",
    "/git/-git.example/org/repo",
    "/git/git..example/org/repo",
)

UNKNOWN = (
    "/git",
    f"{REPOSITORY}/git-upload-pack/",
    REPOSITORY,
    f"{REPOSITORY}/",
    f"{REPOSITORY}/config",
    f"{REPOSITORY}/info/refs/",
    f"{REPOSITORY}/info/lfs",
    f"{REPOSITORY}/snapshot.tar.gz",
    f"{REPOSITORY}/snapshot.tar.zst/",
    "/nothing",
    "/api/v1/object/space",
)


async def metrics_of(cachew: Cachew) -> set[str]:
    """Return the metrics that speak of repositories or hosts."""
    lines = (await cachew.metrics()).decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if re.search(r"example|127\.|localhost|org", line)}


@pytest_twisted.ensureDeferred
@pytest.mark.timeout(60)
async def test_bad_paths(upstream: Upstream, start: Start) -> None:
    """A path that breaks a rule gets 400 or 404; no file, metric, or request to the upstream comes of it."""
    cachew = await start()
    await cachew.metrics()
    before, labels = files(cachew.state), await metrics_of(cachew)
    wrong = []
    for path in BAD_PATHS:
        for method, operation in (("GET", INFO), ("POST", "/git-upload-pack"), ("GET", "/snapshot.tar.zst")):
            answer = await ask(reactor, cachew.url, method, path + operation)
            if answer.status not in (400, 404):
                wrong.append((method, path + operation, answer.status))
    assert wrong == []
    assert files(cachew.state) == before
    assert await metrics_of(cachew) == labels
    assert list(cachew.parts.mirrors.collection) == [] and upstream.count() == 0


@pytest_twisted.ensureDeferred
async def test_what_is_not_there(upstream: Upstream, start: Start) -> None:
    """Unknown operations, and pages, are 404 and change nothing."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start()
    before = files(cachew.state)
    for path in UNKNOWN:
        answer = await ask(reactor, cachew.url, "GET", path, f"Authorization: Bearer {cachew.token}")
        assert answer.status == 404, path
    assert files(cachew.state) == before
    assert upstream.count() == 0


@pytest_twisted.ensureDeferred
async def test_unknown_services(upstream: Upstream, start: Start) -> None:
    """A service that is none, or no service (the dumb protocol), is 403 without asking the upstream."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start()
    before = files(cachew.state)
    queries = ("", "?", "?service=", "?service=git-upload-archive", "?service=git-upload-pack&service=git-receive-pack")
    for query in (*queries, "?service=upload-pack", "?Service=git-upload-pack"):
        assert (await ask(reactor, cachew.url, "GET", f"{REPOSITORY}/info/refs{query}")).status == 403, query
    assert files(cachew.state) == before
    assert upstream.count() == 0


METHODS = {
    f"{REPOSITORY}{INFO}": "GET, HEAD",
    f"{REPOSITORY}/info/refs?service=git-receive-pack": "GET, HEAD",
    f"{REPOSITORY}/git-upload-pack": "POST",
    f"{REPOSITORY}/git-receive-pack": "POST",
    f"{REPOSITORY}/ensure-refs": "POST",
    f"{REPOSITORY}/snapshot.tar.zst": "GET, HEAD",
    f"{REPOSITORY}/snapshot.bundle?base={'1' * 40}": "GET, HEAD",
    f"{REPOSITORY}/lfs-snapshot.tar.zst": "GET, HEAD",
    f"{REPOSITORY}/bundle-list": "GET, HEAD",
    f"{REPOSITORY}/info/lfs/objects/batch": "GET, POST, PUT, DELETE, HEAD",
    "/_liveness": "GET, HEAD",
    "/_readiness": "GET, HEAD",
    "/metrics": "GET, HEAD",
    "/admin/": "GET, HEAD",
    "/admin/live": "GET, HEAD",
    "/admin/login": "GET, POST, HEAD",
    "/admin/logout": "POST",
    "/admin/overview": "GET, HEAD",
    "/admin/repositories": "GET, HEAD",
    "/admin/repositories/git.example/org/repo/fetch": "POST",
    "/admin/log/level": "GET, PUT, HEAD",
    "/api/v1/object/space/key": "GET, HEAD, POST, DELETE",
    "/api/v1/object/space/key/invalidate": "POST",
    "/api/v1/stats": "GET, HEAD",
    "/api/v1/namespaces": "GET, HEAD",
    "/webhook/github": "POST",
}


@pytest_twisted.ensureDeferred
async def test_unsupported_methods(upstream: Upstream, start: Start) -> None:
    """Every route answers the methods that it hasn't with 405 and says which it has."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start('[webhook]\ngithub-secret = "s"')
    before, wrong = files(cachew.state), []
    for path, allowed in METHODS.items():
        for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"} - set(allowed.split(", ")):
            answer = await ask(reactor, cachew.url, method, path, f"Authorization: Bearer {cachew.token}")
            if (answer.status, set(answer.headers.get("allow", "").split(", "))) != (405, set(allowed.split(", "))):
                wrong.append((method, path, answer.status, answer.headers.get("allow")))
    assert wrong == []
    assert files(cachew.state) == before
    assert upstream.count() == 0


@pytest_twisted.ensureDeferred
async def test_head_where_get_is(upstream: Upstream, start: Start) -> None:
    """HEAD has the status and the headers of GET, and no body."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start()
    assert (await ask(reactor, cachew.url, "HEAD", f"{REPOSITORY}/snapshot.tar.zst")).status == 404
    assert not list(cachew.parts.mirrors.collection)
    await cachew.mirrored("org/repo")
    await ask(reactor, cachew.url, "GET", f"{REPOSITORY}/snapshot.tar.zst")
    paths = [f"{REPOSITORY}{INFO}", f"{REPOSITORY}/info/refs?service=git-receive-pack", "/_liveness", "/metrics"]
    for path in paths:
        answers = [
            await ask(reactor, cachew.url, method, path, f"Authorization: Bearer {cachew.token}", *protocol)
            for method in ("HEAD", "GET")
            for protocol in ([], [V2])
        ]
        assert {answer.status for answer in answers[:2]} == {answer.status for answer in answers[2:]}
        for head, get in zip(answers[:2], answers[2:], strict=True):
            assert head.headers.get("content-type") == get.headers.get("content-type")


HEADERS = (
    "Accept", "Authorization", "Content-Encoding", "Content-Type", "Git-Protocol", "If-None-Match", "Range",
    "User-Agent", "X-Cachew-Grant", "X-Forwarded-For", "X-Forwarded-Proto", "X-Team",
)  # fmt: skip
REFUSED = ("Git-Protocol", "Content-Encoding", "Authorization", "X-Forwarded-For", "X-Team")
"""What every request of `git-upload-pack` is read for."""


@pytest_twisted.ensureDeferred
@pytest.mark.timeout(60)
async def test_headers_that_are_no_text(upstream: Upstream, start: Start) -> None:
    """No header makes a route of repositories fail, whatever bytes it has; those that are read are refused with 400."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start('[access]\nproxies = "127.0.0.1"\n[[access.rule]]\naction = "deny"\nheader = "X-Team: evil"\n')
    await cachew.mirrored("org/repo")
    wrong = []
    for path, method in ((path, methods.split(", ")[0]) for path, methods in METHODS.items() if "/git/" in path):
        body = LS_REFS if path.endswith("/git-upload-pack") else b"{}"
        for name in HEADERS:
            answer = await ask(reactor, cachew.url, method, path, f"{name}: version=2\xff", body=body)
            must = path.endswith("/git-upload-pack") and name in REFUSED
            if answer.status == 500 or b"Traceback" in answer.body or (must and answer.status != 400):
                wrong.append((path, name, answer.status))
    assert wrong == []


def chunked(body: bytes, size: int = 5000) -> bytes:
    """Frame a body in chunks."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


BODIES = {
    "a body over the limit": (413, [], b"0" * 40_000),
    "a chunked body over the limit": (413, ["Transfer-Encoding: chunked"], chunked(b"0" * 40_000)),
    "a gzip bomb": (413, ["Content-Encoding: gzip"], gzip.compress(b"0" * 20_000_000)),
    "a length that is only announced": (413, ["Content-Length: 99999999999"], b""),
    "an unknown encoding": (415, ["Content-Encoding: br"], LS_REFS),
    "two encodings": (415, ["Content-Encoding: gzip, gzip"], gzip.compress(gzip.compress(LS_REFS))),
    "no gzip": (400, ["Content-Encoding: gzip"], LS_REFS),
    "a cut gzip": (400, ["Content-Encoding: gzip"], gzip.compress(LS_REFS)[:-6]),
    "an altered gzip": (400, ["Content-Encoding: gzip"], gzip.compress(LS_REFS)[:-8] + b"12345678"),
    "nothing": (400, [], b""),
    "no packet line": (400, [], b"command=ls-refs"),
    "a packet line that is cut": (400, [], b"0014command"),
    "a length that is no number": (400, [], b"00zzcommand=ls-refs\n0000"),
    "a length below four": (400, [], b"0003"),
    "no flush at the end": (400, [], b"0014command=ls-refs\n"),
    "no command": (400, [], b"000eagent=me\n0000"),
    "two commands": (400, [], b"0014command=ls-refs\n0012command=fetch\n0000"),
    "a bad object id": (400, [], b"0012command=fetch\n0001000dwant 12340000"),
}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("warm", [True, False])
async def test_bad_bodies(upstream: Upstream, git: Git, start: Start, warm: bool) -> None:
    """A body that can't be read is refused with a reason, with and without a mirror, and never with a traceback."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start('[git]\nmax-request-body = "30KB"')
    if warm:
        await cachew.mirrored("org/repo")
    found = {}
    for what, (_, headers, body) in BODIES.items():
        answer = await ask(
            reactor, cachew.url, "POST", f"{REPOSITORY}/git-upload-pack", FETCH_TYPE, V2, *headers, body=body
        )
        found[what] = answer.status
        assert b"Traceback" not in answer.body and answer.body
    assert found == {what: status for what, (status, _, _) in BODIES.items()}
    good = await ask(
        reactor, cachew.url, "POST", f"{REPOSITORY}/git-upload-pack", FETCH_TYPE, V2, "Content-Encoding: gzip",
        body=gzip.compress(LS_REFS),
    )  # fmt: skip
    assert good.status == 200 and b"refs/heads/main" in good.body
    assert await settle(reactor, lambda: temporary_files(cachew.state)) == [] or not warm


@pytest_twisted.ensureDeferred
async def test_gits_own_errors(upstream: Upstream, start: Start) -> None:
    """A request that is well formed and makes no sense gets git's own error, as from the upstream."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start()
    await cachew.mirrored("org/repo")
    bodies = {
        "an id that is nowhere": b"0012command=fetch\n00010032want " + b"1" * 40 + b"\n0009done\n0000",
        "an unknown command": b"0014command=explode\n0000",
        "an unknown argument": b"0012command=fetch\n0001000cexplode\n0000",
    }
    for what, body in bodies.items():
        answers = [
            await ask(reactor, url, "POST", f"{path}/git-upload-pack", FETCH_TYPE, V2, body=body)
            for url, path in ((cachew.url, REPOSITORY), (upstream.url, "/org/repo"))
        ]
        assert answers[0].status == 200
        assert answers[0].body == answers[1].body, what


@pytest_twisted.ensureDeferred
async def test_heads_that_are_too_much(upstream: Upstream, start: Start) -> None:
    """A huge line, huge heads and too many headers are refused before they are whole, and others don't notice."""
    cachew = await start()
    heads = [
        [f"X-Big: {'a' * 100_000}"],
        [f"X-{n}: {'a' * 1000}" for n in range(100)],
        [f"X-{n}: a" for n in range(500)],
    ]
    for headers in heads:
        assert (await ask(reactor, cachew.url, "GET", "/_liveness", *headers)).status == 431
    assert (await ask(reactor, cachew.url, "GET", "/" + "a" * 100_000)).status == 414
    assert (await ask(reactor, cachew.url, "GET", "/_liveness")).status == 200


@pytest_twisted.ensureDeferred
async def test_requests_that_never_end(upstream: Upstream, git: Git, start: Start) -> None:
    """Clients that stop in the midst of a head or a body hold up nobody, and leave nothing when they go."""
    repositories.make_repository(upstream.path("org/repo"), commits=10)
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    parts = [
        b"",
        b"GET /git/git.exam",
        request_head("GET", f"{REPOSITORY}{INFO}")[:-2],
        request_head("POST", f"{REPOSITORY}/git-upload-pack", FETCH_TYPE, "Content-Length: 5000") + b"0014",
        request_head("POST", f"{REPOSITORY}/git-upload-pack", FETCH_TYPE, "Transfer-Encoding: chunked") + b"ff\r\n0",
        request_head("POST", f"{REPOSITORY}/git-receive-pack", "Content-Length: 5000") + b"0014",
        request_head("POST", f"{REPOSITORY}/ensure-refs", "Content-Length: 5000") + b"{",
    ]
    clients = []
    for part in parts * 3:
        client = await connect(reactor, cachew.url)
        client.send(part)
        clients.append(client)
    await git.run("clone", "-q", "https://git.example/org/repo", "clone")
    assert (await ask(reactor, cachew.url, "GET", "/_readiness")).status == 200
    for client in clients:
        client.transport.abortConnection()
        await client.lost.wait()
    await git.run("-C", "clone", "fetch", "-q")
    await cachew.quiet()
    assert await settle(reactor, lambda: temporary_files(cachew.state)) == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("mode", ["upstream", "trusted-network"])
@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_an_upstream_that_refuses_with_an_empty_body_is_asked_once(
    upstream: Upstream, start: Start, mode: str, status: int
) -> None:
    """A refusal without a byte reaches the client at once, and the upstream sees no storm of questions."""
    cachew = await start(f'[access]\nmode = "{mode}"\n')
    upstream.misbehave(Refuse(status, (("WWW-Authenticate", 'Basic realm="r"'),), b""))
    answer = await ask(reactor, cachew.url, "GET", f"{REPOSITORY}{INFO}", V2, "Authorization: Basic dTpw")
    passed_on = 502 if status == 500 else status
    assert answer.status == (passed_on if status < 500 or mode == "trusted-network" else 503)
    post = await ask(
        reactor,
        cachew.url,
        "POST",
        f"{REPOSITORY}/git-upload-pack",
        V2,
        FETCH_TYPE,
        body=b"0014command=object-info0000",
    )
    assert post.status >= 400
    await cachew.quiet()
    assert upstream.count() <= 8


@pytest_twisted.ensureDeferred
async def test_a_repository_that_is_refused_with_an_empty_body_after_its_check(
    upstream: Upstream, start: Start
) -> None:
    """Whoever has been let in and is then refused by the upstream without a byte is told so at once."""
    repositories.make_repository(upstream.path("org/repo"), commits=2, files=2, size=100)
    clock = HeldClock(cast(Any, reactor))
    cachew = await start(clock=clock)
    upstream.misbehave(Hang(), kind="pack")
    assert (await ask(reactor, cachew.url, "GET", f"{REPOSITORY}{INFO}", V2)).status == 200
    upstream.misbehave(Refuse(404, (), b""), kind="caps")
    # What it speaks is told out of memory for as long as its refs would be.
    clock.advance(11)
    before = upstream.count("caps")
    answers = [ask(reactor, cachew.url, "GET", f"{REPOSITORY}{INFO}", V2) for _ in range(3)]
    for each in [Deferred.fromCoroutine(answer) for answer in answers]:
        assert (await each).status == 404
    assert upstream.count("caps") - before <= 4


@pytest_twisted.ensureDeferred
async def test_content_types_of_fetches(upstream: Upstream, start: Start) -> None:
    """What a page of another site can have a browser post is refused; a fetch may name its type with a parameter."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start()
    await cachew.mirrored("org/repo")
    path = f"{REPOSITORY}/git-upload-pack"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "", "application/json", "multipart/form-data"):
        answer = await ask(reactor, cachew.url, "POST", path, V2, f"Content-Type: {kind}", body=LS_REFS)
        assert answer.status == 415, kind
    for kind in (FETCH_TYPE, f"{FETCH_TYPE}; charset=utf-8", FETCH_TYPE.upper()):
        assert (await ask(reactor, cachew.url, "POST", path, V2, kind, body=LS_REFS)).status == 200, kind


@pytest_twisted.ensureDeferred
async def test_a_token_in_the_path_is_not_logged(start: Start) -> None:
    """What `insteadOf = http://` makes of a URL with a token is refused, and told nowhere."""
    cachew = await start()
    with capturedLogs() as logs:
        answer = await ask(reactor, cachew.url, "GET", f"/git/bob:T0KEN@git.example/org/repo{INFO}")
    assert answer.status == 400 and b"T0KEN" not in answer.body
    assert not any("T0KEN" in formatEvent(event) for event in logs)
