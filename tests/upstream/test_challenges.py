"""Challenges that a server in between can pass on, and those that it can't."""

import pytest

from cachew.upstream.challenges import has_only_bound, passed_on

BASIC = b'Basic realm="https://tfs.example/, Negotiate", charset="UTF-8"'


@pytest.mark.parametrize(
    ("challenges", "kept"),
    [
        (BASIC, BASIC),
        (b"NTLM", b""),
        (b"negotiate YIIx0==", b""),
        (b'Digest realm="a", nonce="b", qop="auth"', b""),
        (b"Negotiate, NTLM, " + BASIC, BASIC),
        (b'Bearer authorization_uri=https://login.example/x, Digest realm="a", qop="auth" , ' + BASIC + b",NTLM",
         b"Bearer authorization_uri=https://login.example/x, " + BASIC),
        (b"TFS-Federated", b"TFS-Federated"),
        (b"Negotiate\tYIIx0==,\tNTLM\t," + BASIC, BASIC),
        (b" , \t, Negotiate, ,", b""),
        (b"Basic, NTLM TlRMTVNTUAAB==,Digest\trealm=\"a\" , nonce = \"b\"", b"Basic"),
        (b"NTLM=, Negotiate;x", b""),
        (b'Basic realm="never ended, NTLM', b'Basic realm="never ended, NTLM'),
        (b"", b""),
    ],
)  # fmt: skip
def test_what_is_passed_on(challenges: bytes, kept: bytes) -> None:
    """Proofs of a connection or an address are taken out, one header or several; everything else stays as it is."""
    assert passed_on(challenges) == kept


def test_what_is_made_to_take_long_takes_no_longer() -> None:
    """A text whose end is nowhere, with as many others in it as there may be, is gone through once."""
    endless = b'Basic realm="' + b'\\"' * 50_000 + b"\\"
    assert passed_on(endless) == endless and passed_on(b"NTLM, " + endless) == endless


def test_a_host_that_takes_no_others() -> None:
    """It is told from one that takes passwords too, in whichever header, and from one that asks for nothing."""
    bound = (b"WWW-Authenticate", b"Negotiate"), (b"www-authenticate", b"NTLM")
    assert has_only_bound(bound) and not has_only_bound([*bound, (b"WWW-Authenticate", BASIC)])
    assert not has_only_bound([(b"Content-Type", b"NTLM")])
