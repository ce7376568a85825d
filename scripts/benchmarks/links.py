"""A slow link to the upstream: what a client waits for who asks the server instead, and what crosses the link for it.

Stock git asks by turns the upstream itself and the server, both by way of the same link of 60 ms and 20 Mbit/s. A cold
repository is one that the server has never heard of.
"""

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from urllib.error import HTTPError

from scripts.benchmarks import ports
from scripts.benchmarks.cachewserver import Cachew
from scripts.benchmarks.figures import Findings, Series, ratio
from scripts.benchmarks.history import Shape
from scripts.benchmarks.nginxgit import NginxGit
from scripts.benchmarks.repositories import Repository, environment, git, make
from scripts.benchmarks.slowlink import SlowLink
from scripts.benchmarks.stage import Options, say

_DELAY, _RATE = 0.03, 20e6 / 8
_INTERVAL = 1.0
_SETTINGS = f'ref-check-interval = "{_INTERVAL:g}s"\n'
_MANY, _MANY_QUICK = 100_000, 3_000


def links(options: Options) -> Findings:
    """Measure it."""
    findings = Findings("link")
    with _Link(options) as link:
        plain = make(link.root, "link", Shape(commits=400 if options.quick else 4000, files=200))
        many = make(link.root, "link-refs", Shape(commits=100, branches=_MANY_QUICK if options.quick else _MANY))
        for name, repository, words in (
            ("cold clone", plain, ["clone", "-q", "--bare"]),
            ("cold depth=1 clone", plain, ["clone", "-q", "--bare", "--depth=1"]),
            ("cold depth=1 clone, many refs", many, ["clone", "-q", "--bare", "--depth=1", "--no-tags"]),
        ):
            link.compare(name, repository, findings, partial(_cloned, link.work, words))
        link.compare(
            "cold depth=1 fetch of one branch, many refs", many, findings, partial(_fetched, link.work, "--depth=1")
        )
        link.compare_warm("no-op fetch of one branch, many refs", many, findings)
    return findings


class _Link:
    """A context in which an upstream serves by way of the link, and a server before it."""

    def __init__(self, options: Options) -> None:
        self.work, self.root = options.work, options.work / "repositories"
        self._rounds = options.rounds(3)
        self._stack = ExitStack()
        self._upstream = NginxGit(directory=self.work / "upstream", root=self.root, files=self.work / "files")

    def __enter__(self) -> "_Link":
        with ExitStack() as stack:
            stack.enter_context(self._upstream)
            self._slow = stack.enter_context(SlowLink(self._upstream.port, delay=_DELAY, rate=_RATE))
            self._address = f"http://{ports.HOST}:{self._slow.port}/"
            self._cachew = stack.enter_context(
                Cachew(directory=self.work / "cachew", upstream=self._address, git=_SETTINGS)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def compare(
        self, name: str, repository: Repository, findings: Findings, ask: Callable[[str], object], *, cold: bool = True
    ) -> None:
        """Have both asked by turns, and note how long they took and what crossed the link."""
        series = {"cachew": Series("cachew"), "git": Series("git")}
        crossed: dict[str, list[int]] = {"cachew": [], "git": []}
        urls = {
            "cachew": self._cachew.url(repository.name),
            "git": f"{self._address}{repository.name}.git",
        }
        for number in range(self._rounds):
            for who, url in urls.items():
                say(f"{name}: {who}, run {number + 1}")
                if cold:
                    with suppress(HTTPError):  # it is not known yet
                        self._cachew.act(repository.name, "forget")
                    self._cachew.wait_until_idle()
                time.sleep(1.1 * _INTERVAL)
                before, begin = self._slow.received, time.monotonic()
                ask(url)
                series[who].walls.append(time.monotonic() - begin)
                self._cachew.wait_until_idle()
                crossed[who].append(self._slow.received - before)
        findings.add(name, list(series.values()))
        findings.at_most(name, "time beside direct git", ratio(series["cachew"].wall, series["git"].wall), 1.1)
        beside = ratio(min(crossed["cachew"]), min(crossed["git"]))
        if "depth=1" in name:
            # Behind such a client the whole is mirrored.
            findings.facts[f"{name}, bytes beside direct git"] = round(beside, 2)
        else:
            findings.at_most(name, "bytes beside direct git", beside, 1.1)

    def compare_warm(self, name: str, repository: Repository, findings: Findings) -> None:
        """The same for fetches by clones that are there, of a repository that is mirrored."""
        self._cachew.mirror(repository.name)
        clones: dict[str, Path] = {}

        def fetch(url: str) -> None:
            if url not in clones:
                clones[url] = self.work / f"link-{len(clones)}.git"
                shutil.rmtree(clones[url], ignore_errors=True)
                git("clone", "-q", "--bare", "--depth=1", "--no-tags", url, str(clones[url]))
            _run(["-C", str(clones[url]), "fetch", "-q", "--no-tags", "--depth=1", "origin", "main"])

        for url in (self._cachew.url(repository.name), f"{self._address}{repository.name}.git"):
            fetch(url)
        self.compare(name, repository, findings, fetch, cold=False)


def _cloned(work: Path, words: list[str], url: str) -> None:
    directory = work / "link-clone.git"
    shutil.rmtree(directory, ignore_errors=True)
    _run([*words, url, str(directory)])


def _fetched(work: Path, depth: str, url: str) -> None:
    directory = work / "link-clone.git"
    shutil.rmtree(directory, ignore_errors=True)
    _run(["init", "-q", "--bare", str(directory)])
    _run(["-C", str(directory), "fetch", "-q", "--no-tags", depth, url, "main"])


def _run(words: list[str]) -> None:
    subprocess.run(["git", *words], env=environment(), check=True, capture_output=True)
