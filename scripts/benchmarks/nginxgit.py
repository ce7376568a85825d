"""The peer: nginx with fcgiwrap and git-http-backend, all from Debian, with settings that are good for large packs.

It also plays the upstream of the server that is measured, in a second copy whose access log tells how often it was
asked.
"""

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from scripts.benchmarks import ports
from scripts.benchmarks.cgroup import ControlGroup, make_group

PACKAGES = {"nginx": "nginx-light", "fcgiwrap": "fcgiwrap", "git": "git", "curl": "curl", "zstd": "zstd", "tar": "tar"}
"""Commands that are needed, and the Debian packages that hold them."""

_CONFIG = """\
daemon off;
pid {directory}/nginx.pid;
worker_processes 2;
error_log {directory}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/access.log combined;
    client_body_temp_path {directory}/body;
    fastcgi_temp_path {directory}/fastcgi;
    proxy_temp_path {directory}/proxy;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location /files/ {{ alias {files}/; }}
        location / {{
            fastcgi_pass unix:{directory}/fcgi;
            fastcgi_buffering off;
            fastcgi_buffer_size 64k;
            fastcgi_buffers 8 64k;
            fastcgi_read_timeout 600;
            fastcgi_param SCRIPT_FILENAME {backend};
            fastcgi_param GIT_PROJECT_ROOT {root};
            fastcgi_param GIT_HTTP_EXPORT_ALL 1;
            fastcgi_param GIT_CONFIG_NOSYSTEM 1;
            fastcgi_param GIT_CONFIG_COUNT 1;
            fastcgi_param GIT_CONFIG_KEY_0 safe.directory;
            fastcgi_param GIT_CONFIG_VALUE_0 *;
            fastcgi_param PATH_INFO $uri;
            fastcgi_param GIT_PROTOCOL $http_git_protocol if_not_empty;
            fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding if_not_empty;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param REMOTE_ADDR $remote_addr;
        }}
    }}
}}
"""


def missing_commands() -> list[str]:
    """Return the Debian packages of commands that aren't there."""
    return [package for command, package in PACKAGES.items() if find(command) is None]


def find(command: str) -> str | None:
    """Return where a command is; Debian keeps servers in /usr/sbin, where not everybody looks."""
    return shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def config(*, directory: Path, root: Path, files: Path, port: int, backend: Path) -> str:
    """Return nginx's config.

    :param directory: for its logs and sockets.
    :param root: of the repositories.
    :param files: what is served as plain files below ``/files/``.
    :param backend: ``git-http-backend``.
    """
    given = {"directory": directory, "root": root, "files": files, "port": port, "backend": backend}
    return _CONFIG.format(**given)


class NginxGit:
    """A context in which the peer serves.

    :param directory: for what it writes; made here.
    :param root: of the repositories.
    :param files: what is served as plain files.
    :param workers: CGI programs at a time.
    """

    name = "nginx"

    def __init__(self, *, directory: Path, root: Path, files: Path, workers: int = 8) -> None:
        self._directory, self._root, self._files, self._workers = directory, root, files, workers
        self._running: list[subprocess.Popen[bytes]] = []
        self._group = ControlGroup(None)
        self.port = 0

    @property
    def roots(self) -> tuple[int, ...]:
        """The processes it consists of, each with its children."""
        return tuple(process.pid for process in self._running)

    def cpu(self) -> float:
        """Return the CPU seconds that it and its children have used so far."""
        return self._group.cpu()

    def base(self, repository: str) -> str:
        """Return a repository's path."""
        return f"/{repository}.git"

    def url(self, repository: str) -> str:
        """Return a repository's address."""
        return f"http://{ports.HOST}:{self.port}{self.base(repository)}"

    def requests(self) -> int:
        """Return how many requests there have been."""
        return (self._directory / "access.log").read_bytes().count(b"\n")

    def bytes_sent(self) -> int:
        """Return how many bytes of bodies it has sent: in "combined" the number after the request and its status."""
        lines = (self._directory / "access.log").read_text(errors="replace").splitlines()
        return sum(int(line.split('" ')[1].split()[1]) for line in lines)

    def __enter__(self) -> "NginxGit":
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        self._files.mkdir(parents=True, exist_ok=True)
        self._group = make_group(self._directory.name)
        self.port = ports.free_port()
        exec_path = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
        text = config(
            directory=self._directory,
            root=self._root,
            files=self._files,
            port=self.port,
            backend=Path(exec_path) / "git-http-backend",
        )
        file = self._directory / "nginx.conf"
        # Debian's nginx gives up root for www-data, which may not look into the directories of others.
        file.write_text(f"user root;\n{text}" if os.geteuid() == 0 else text)
        try:
            self._start("fcgiwrap", "-c", str(self._workers), "-s", f"unix:{self._directory}/fcgi")
            self._start("nginx", "-c", str(file), "-p", str(self._directory))
            ports.wait_for(self.port, self._running[-1], name="nginx")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self, command: str, *arguments: str) -> None:
        program = find(command)
        assert program is not None
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._directory)}
        with open(self._directory / f"{command}.log", "wb") as log:
            process = subprocess.Popen(
                self._group.command(program, *arguments),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running.append(process)

    def _stop(self) -> None:
        while self._running:
            ports.stop(self._running.pop())
        self._group.remove()
