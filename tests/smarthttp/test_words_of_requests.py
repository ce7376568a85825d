"""What the request log says of what is asked for."""

import pytest

from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from tests.fakes.parsing import parse_command

OID = b"a" * 40


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        ([], "probe"),
        ([b"command=ls-refs\n", DELIM, b"ref-prefix refs/heads/a\n"], "ls-refs refs/heads/a"),
        (
            [b"command=ls-refs\n", DELIM, *(b"ref-prefix refs/heads/%d\n" % number for number in range(5))],
            "ls-refs refs/heads/0 refs/heads/1 refs/heads/2 +2",
        ),
        (
            [b"command=fetch", DELIM, b"want " + OID, b"deepen 1", b"filter blob:none", b"done"],
            "fetch v2 wants=1 haves=0 deepen=1 filter=blob:none",
        ),
        ([b"command=fetch", DELIM, b"want " + OID, b"have " + OID], "fetch v2 wants=1 haves=1 negotiates"),
        (
            [b"command=fetch", DELIM, b"want-ref refs/heads/a b", b"done"],
            "fetch v2 wants=0 haves=0 want-ref=refs/heads/a%20b",
        ),
        ([b"command=bundle-uri"], "bundle-uri"),
    ],
)  # fmt: skip
def test_commands(packets: list[bytes], words: str) -> None:
    """Each command is told by its name, how much it wants and what bounds it."""
    assert parse_command(encode_all([*packets, FLUSH]), "version=2").in_words == words


def test_old_fetches() -> None:
    """Protocol v0 has the same words."""
    body = encode_all([b"want " + OID + b" ofs-delta\n", b"deepen 3\n", FLUSH, b"done\n"])
    assert parse_command(body, None).in_words == "fetch v0 wants=1 haves=0 deepen=3"
