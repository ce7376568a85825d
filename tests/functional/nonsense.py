"""Requests that are nearly right, made of pieces that are, by chance that a seed repeats."""

import gzip
import random

REPOSITORY = "/git/git.example/org/repo"
_OPERATIONS = (
    "info/refs?service=git-upload-pack", "info/refs?service=git-receive-pack", "info/refs", "git-upload-pack",
    "git-receive-pack", "snapshot.tar.zst", "snapshot.tar.zst?ref=refs/heads/main&filter=blob:none", "bundle-list",
    "snapshot.bundle?base=" + "0" * 40, "snapshot.bundle?base=zz", "bundle-list?bundle=1-00", "lfs-snapshot.tar.zst",
    "ensure-refs", "info/lfs/objects/batch", "info/lfs/locks", "bundle/1", "HEAD", "objects/info/packs", "",
)  # fmt: skip
_PLACES = (
    REPOSITORY, REPOSITORY, REPOSITORY, "/git/GIT.example/org/repo.git", "/git/git.example/org/none",
    "/git/evil.example/a/b", "/git/127.0.0.1/a/b", "/git/git.example:443/org/repo", "/git/git.example/-x/y",
    "/git/git.example/a/.lock", "/git",
)  # fmt: skip
_OTHERS = (
    "/", "/admin/", "/admin/login?code=x", "/admin/repositories/git.example/org/repo/fetch", "/metrics", "/_liveness",
    "/api/v1/object/builds/key", "/api/v1/object/git/key", "/api/v1/object/a/b/invalidate", "/api/v1/stats",
    "/webhook/github", "/webhook/gitlab", "/admin/log/level", "/static/x", "*", "http://localhost/git/",
)  # fmt: skip
_PATH_BITS = (
    "%2e%2e", "%2f", "%00", "..", "//", "%", "%zz", "%c3%28", "\\", ";", "?", "#", "~", "a" * 600, "é", "\x01",
    ".git", ".lock", "%252e", "@", "+", " ", "\t", "-", "/./", "info/lfs/",
)  # fmt: skip
_METHODS = ("GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "G\x00T")
_HEADERS = (
    "Range: bytes=0-", "Range: bytes=5-2", "Range: bytes=-0", "Range: bytes=0-0,2-3",
    "Range: bytes=99999999999999999999-", 'If-Match: "x"', "If-None-Match: *", "If-Range: x",
    "If-Modified-Since: Tue, 99 Foo", "If-Unmodified-Since: 0", "Git-Protocol: version=2", "Git-Protocol: version=1",
    "Git-Protocol: version=9:x=\x7f", "Content-Encoding: gzip", "Content-Encoding: br",
    "Content-Type: application/x-git-upload-pack-request", "Content-Type: application/json",
    "Authorization: Basic !!!", "Authorization: Bearer x", "Authorization:", "Authorization: Basic \xff\xfe",
    "Cookie: a=b; =; \xff", "X-Forwarded-For: 1.2.3.4, nonsense", "X-Forwarded-Proto: https", "Host: evil",
    "Expect: 100-continue", "Expect: x", "Transfer-Encoding: chunked", "Transfer-Encoding: identity",
    "Content-Length: 5", "Content-Length: -1", "Connection: upgrade", "Upgrade: h2c", "Time-To-Live: 1h",
    "Time-To-Live: x", "ETag: \"x\"", "Origin: null", "Accept: */*;q=\xff", "X: \x00", " folded",
    "X-GitHub-Event: push", "X-Hub-Signature-256: sha256=00", "Proxy: x", "TE: trailers", "A" * 300 + ": b",
)  # fmt: skip
_BODIES = (
    b"", b"0000", b"0001", b"0002", b"0003", b"0004", b"ffff", b"zzzz", b"0014command=ls-refs\n0000",
    b"0014command=ls-refs\n00010009peel\n000csymrefs\n001bref-prefix refs/heads/\n0000",
    b"0012command=fetch\n0001" b"0009done\n0000", b"0032want " + b"0" * 40 + b"\n00000009done\n",
    b"0012command=fetch\n0001" + b"0032want " + b"1" * 40 + b"\n0009done\n0000", b"0011command=evil\n0000",
    b"0014command=ls-refs\n" + b"0015agent=" + b"\xff" * 11 + b"0000", b'{"refs": {"refs/heads/main": ""}}',
    b'{"refs": {"refs/heads/..": "x"}}', b'{"commits": ["' + b"1" * 40 + b'"]}', b"[" * 5000, b'{"refs": 5}',
    b"\xff" * 100, b"5\r\nabcde\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"5;x=y\r\nabc", b"level=debug", b"token=x",
)  # fmt: skip


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return data with a few bytes changed, lost, doubled or moved."""
    changed = bytearray(data)
    for _ in range(rng.randrange(4)):
        place = rng.randrange(len(changed) + 1)
        how = rng.randrange(4)
        if how == 0:
            changed[place : place + 1] = bytes([rng.randrange(256)])
        elif how == 1:
            del changed[place : place + rng.randrange(1, 8)]
        elif how == 2:
            changed[place:place] = changed[max(0, place - rng.randrange(1, 20)) : place]
        else:
            changed[place:place] = rng.randbytes(rng.randrange(1, 5))
    return bytes(changed)


def path(rng: random.Random) -> str:
    """Return a path with its query."""
    repository = f"{rng.choice(_PLACES)}/{rng.choice(_OPERATIONS)}"
    made = repository if rng.random() < 0.75 else rng.choice(_OTHERS)
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        place = rng.randrange(len(made) + 1)
        made = made[:place] + rng.choice(_PATH_BITS) + made[place:]
    return made


def request(rng: random.Random) -> bytes:
    """Return a request, whose connection ends with it if it is understood."""
    body = rng.choice(_BODIES)
    if rng.random() < 0.5:
        body = mutated(rng, body)
    headers = rng.sample(_HEADERS, rng.choice((0, 1, 1, 2, 3, 5)))
    if "Content-Encoding: gzip" in headers and rng.random() < 0.8:
        body = gzip.compress(body * rng.choice((1, 1, 1000)))
        body = mutated(rng, body) if rng.random() < 0.5 else body
    if rng.random() < 0.95:
        headers.append("Host: localhost")
    if body and rng.random() < 0.9:
        headers.append(f"Content-Length: {len(body)}")
    method = rng.choice(_METHODS)
    lines = [f"{method} {path(rng)} HTTP/1.{rng.choice('1111110')}", "Connection: close", *headers, "", ""]
    head = "\r\n".join(lines).encode("latin-1", "replace")
    return (mutated(rng, head) if rng.random() < 0.1 else head) + body
