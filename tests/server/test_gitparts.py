"""What git is told of upstreams."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cachew.config.load import load
from cachew.server.gitparts import make_commands

CONFIG = """
[upstreams."one.example"]
ca-file = "/etc/one.pem"
[upstreams."two.example"]
url = "https://two.internal:8443/git/"
client-certificate-file = "/etc/own.pem"
"""


def test_files_of_tls_are_for_their_upstreams_only(tmp_path: Path) -> None:
    """An authority of its own is trusted there, and a certificate is shown there, with the key in the same file."""
    environment = SimpleNamespace(search_path="/usr/bin:/bin")
    runtime = SimpleNamespace(
        settings=load(CONFIG, environ={}), environment=environment, state=tmp_path, user_agent="git/2 cachew/1"
    )
    commands = make_commands(cast(Any, runtime))

    def told(key: str, url: str) -> str:
        words = ["git", "config", "--get-urlmatch", key, url]
        done = subprocess.run(words, env=commands.environment(), capture_output=True, text=True, cwd="/")
        return done.stdout.strip()

    assert told("http.sslCAInfo", "https://one.example/o/r") == "/etc/one.pem"
    for key in ("http.sslCert", "http.sslKey"):
        assert told(key, "https://two.internal:8443/git/o/r") == "/etc/own.pem"
        for other in ("https://two.internal:8443/o/r", "https://two.internal/git/o/r", "https://one.example/o/r"):
            assert told(key, other) == ""
