"""A stand-in for a private organisation's forge: git and Gitea's list of repositories, for whoever has the token.

    forge.py DIRECTORY PORT TOKEN

It serves DIRECTORY/OWNER/NAME.git on 127.0.0.1:PORT; repositories of the owners ``public`` and ``org`` need no token.
"""

import json
import os
import subprocess
import sys
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DIRECTORY, PORT, TOKEN = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
BACKEND = "/usr/lib/git-core/git-http-backend"


class Forge(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        words = parts.path.strip("/").split("/")
        if words[0] not in ("public", "org") and not self._knows_token():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="forge"')
            self.end_headers()
        elif words[:2] == ["api", "v1"]:
            self._list(words, parts.query)
        else:
            self._git(parts.path, parts.query)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""

    def _knows_token(self) -> bool:
        kind, _, value = (self.headers["Authorization"] or "").partition(" ")
        shown = b64decode(value).decode().partition(":")[2] if kind == "Basic" else value
        return shown == TOKEN

    def _list(self, words: list[str], query: str) -> None:
        names = (
            sorted(path.stem for path in (DIRECTORY / words[3]).glob("*.git")) if "page=1" in query.split("&") else []
        )
        body = json.dumps([{"full_name": f"{words[3]}/{name}", "archived": False} for name in names]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _git(self, path: str, query: str) -> None:
        owner, name, *rest = path.strip("/").split("/")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(DIRECTORY),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": "/".join(["", owner, name.removesuffix(".git") + ".git", *rest]),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers["Content-Type"] or "",
            "CONTENT_LENGTH": self.headers["Content-Length"] or "",
            "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
            "GIT_PROTOCOL": self.headers["Git-Protocol"] or "",
            "REMOTE_USER": "somebody",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "uploadpack.allowAnySHA1InWant",
            "GIT_CONFIG_VALUE_0": "true",
            "GIT_CONFIG_KEY_1": "safe.directory",
            "GIT_CONFIG_VALUE_1": "*",
        }
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        done = subprocess.run([BACKEND], env=environment, input=body, capture_output=True, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        self.send_response(int(dict(lines).get("Status", "200").split()[0]))
        for header, value in lines:
            if header != "Status":
                self.send_header(header, value)
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("127.0.0.1", PORT), Forge).serve_forever()
