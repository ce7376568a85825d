"""Who answers which request."""

import pytest

from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from cachew.smarthttp.clientcommands import GitCommand, Probe, V2LsRefs, V2Other
from cachew.smarthttp.routing import RouteKind, Situation, decide
from tests.fakes.parsing import parse_command

pytestmark = pytest.mark.timeout(10)
A = "a" * 40
READY = Situation(ready=True, wants_present=True)
MISSING = Situation(ready=True)
CLONING = Situation(ready=False)
EMPTY = Situation(ready=True, has_refs=False)
UNLISTED = Situation(ready=True, listed=False)
MEMORY, MIRROR, UPSTREAM, WAIT = RouteKind.MEMORY, RouteKind.MIRROR, RouteKind.UPSTREAM, RouteKind.WAIT
NOBODY = RouteKind.NOBODY


def fetch(*arguments: str, object_format: str = "sha1") -> GitCommand:
    lines = ("command=fetch", f"object-format={object_format}")
    return parse_command(
        encode_all([*(line.encode() for line in lines), DELIM, *(a.encode() for a in arguments), FLUSH]), "version=2"
    )


CLONE = fetch(f"want {A}", "done", "thin-pack", "ofs-delta", "include-tag", "no-progress", "filter blob:none")
V0 = parse_command(
    encode_all([f"want {A} multi_ack_detailed no-done side-band-64k agent=x object-format=sha1".encode(), FLUSH]), None
)
V0_STRANGE = parse_command(encode_all([f"want {A} push-options".encode(), FLUSH]), None)


@pytest.mark.parametrize(
    ("operation", "command", "situation", "kind"),
    [
        ("git-receive-pack", None, READY, UPSTREAM),
        ("info/lfs/objects/batch", None, READY, UPSTREAM),
        ("info/refs", None, READY, MEMORY),
        ("info/refs", None, CLONING, UPSTREAM),
        ("info/refs", None, EMPTY, UPSTREAM),
        ("info/refs", None, UNLISTED, UPSTREAM),
        ("git-upload-pack", Probe(), CLONING, MEMORY),
        ("git-upload-pack", V2LsRefs(), READY, MEMORY),
        ("git-upload-pack", V2LsRefs(), CLONING, MEMORY),
        ("git-upload-pack", V2LsRefs(), UNLISTED, UPSTREAM),
        ("git-upload-pack", V2LsRefs(), EMPTY, UPSTREAM),
        ("git-upload-pack", V2LsRefs(unknown=("x",)), READY, UPSTREAM),
        ("git-upload-pack", V2LsRefs(object_format="sha256"), READY, UPSTREAM),
        ("git-upload-pack", V2Other("object-info"), READY, UPSTREAM),
        ("git-upload-pack", V2Other("bundle-uri"), Situation(ready=True, backend_commands=frozenset({"bundle-uri"})),
         MIRROR),
        ("git-upload-pack", V2Other("bundle-uri"),
         Situation(ready=True, refused=True, backend_commands=frozenset({"bundle-uri"})), UPSTREAM),
        ("git-upload-pack", V2Other("bundle-uri"), CLONING, UPSTREAM),
        ("git-upload-pack", CLONE, READY, MIRROR),
        ("git-upload-pack", V0, READY, MIRROR),
        ("git-upload-pack", V0_STRANGE, READY, UPSTREAM),
        ("git-upload-pack", CLONE, CLONING, UPSTREAM),
        ("git-upload-pack", CLONE, MISSING, WAIT),
        ("git-upload-pack", V0, MISSING, WAIT),
        ("git-upload-pack", CLONE, Situation(ready=True, fetch_tried=True), UPSTREAM),
        ("git-upload-pack", CLONE, Situation(ready=True, fetch_tried=True, wants_present=True), MIRROR),
        ("git-upload-pack", CLONE, Situation(ready=True, wants_present=True, refused=True), UPSTREAM),
        ("git-upload-pack", fetch(f"want {A}", "done", object_format="sha256"), READY, UPSTREAM),
        ("git-upload-pack", fetch(f"want {A}", "packfile-uris https"), READY, UPSTREAM),
        ("git-upload-pack", fetch(f"want {A}", "sideband-all"), READY, UPSTREAM),
        ("git-upload-pack", fetch(f"want {A}", "filter sparse:oid=main:x", "done"), READY, UPSTREAM),
        ("git-upload-pack", fetch(f"want {A}", f"filter combine:tree:3+sparse%3aoid={A}", "done"), READY, UPSTREAM),
        ("git-upload-pack", fetch(f"want {A}", "filter combine:%252525252573parse:oid=x", "done"), READY, UPSTREAM),
        ("git-upload-pack", fetch(f"want {A}", "filter combine:tree:3+blob%3anone", "done"), READY, MIRROR),
        ("git-upload-pack", fetch(f"want {A}", "invented-tomorrow"), READY, UPSTREAM),
        ("git-upload-pack", CLONE, Situation(ready=True, upstream_version=0), WAIT),
        ("git-upload-pack", CLONE, Situation(ready=True, fetch_tried=True, upstream_version=1), NOBODY),
        ("git-upload-pack", CLONE, Situation(ready=False, upstream_version=0), UPSTREAM),
        ("git-upload-pack", V0, Situation(ready=True, fetch_tried=True, upstream_version=0), UPSTREAM),
    ],
)  # fmt: skip
def test_routes(operation: str, command: GitCommand | None, situation: Situation, kind: RouteKind) -> None:
    """Each request goes to whoever has what it wants, with a reason."""
    route = decide(operation, command, situation)
    assert route.kind is kind, route
    assert route.reason
