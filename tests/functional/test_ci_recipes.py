"""The recipes of docs/ci.md, as they stand there: their shell lines on a runner with nothing but git and Python."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest_twisted
import yaml

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git, Result
from tests.functional.restoring import PROJECT
from tests.functional.test_client_files import program
from tests.functional.upstream import Upstream

CONFIG = '[git]\nref-check-interval = "0s"'
TOOLS = {
    "curl": "import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[-1]).read())",
    "npm": "import pathlib; pathlib.Path('node_modules').mkdir(); pathlib.Path('node_modules/a').write_text('a')",
}
COUNT = "log --oneline | wc -l"
CLONE = f"git clone -q https://git.example/org/repo cloned && git -C cloned {COUNT}"
THROUGH = 'git config --global url."$CACHEW/git/git.example/".insteadOf https://git.example/'
AGAIN = "rm -r node_modules; cachew restore node node_modules -H package-lock.json && test -e node_modules/a && echo 10"
CHECKS = {
    "Any runner: git through the server": [CLONE, f"{THROUGH}; {CLONE}"],
    "GitHub Actions": [CLONE, CLONE],
    "GitLab CI": [CLONE, CLONE],
    "Jenkins and Buildkite": [CLONE],
    "Images": [f"git -C src {COUNT}"],
    "A workspace from a snapshot": [f"git -C repo {COUNT}", f"git -C repo {COUNT}"],
    "Dependencies and builds under a key": [AGAIN],
}
"""What shows that each block of a section has worked, which prints 10 at its end."""


@dataclass(frozen=True)
class Recipe:
    """A block of the page.

    :param heading: above it.
    :param script: its shell lines.
    """

    heading: str
    script: str


def recipes(page: str) -> Iterator[Recipe]:
    """Yield what the page has the shell do."""
    heading = ""
    for line, kind, block in re.findall(r"^## ([^\n]+)$|^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        heading = line or heading
        if kind == "sh":
            yield Recipe(heading, block)
        elif kind == "dockerfile":
            yield Recipe(heading, block.removeprefix("RUN "))
        elif kind == "yaml":
            yield Recipe(heading, "\n".join(shell_lines(yaml.safe_load(block))))


def shell_lines(said: Any) -> Iterator[str]:
    """Yield the shell lines of a job's description."""
    if isinstance(said, dict):
        for name, value in said.items():
            if name == "run":
                yield value
            elif name == "pre_get_sources_script":
                yield from value
            else:
                yield from shell_lines(value)
    elif isinstance(said, list):
        for one in said:
            yield from shell_lines(one)


async def run_on_runner(git: Git, script: str, variables: dict[str, str], number: int) -> Result:
    """Run a script as a job on a machine of its own."""
    home = git.home / f"runner{number}"
    (home / "bin").mkdir(parents=True)
    (home / "package-lock.json").write_text("{}")
    for name, source in TOOLS.items():
        (home / "bin" / name).write_text(f"#!{sys.executable}\n{source}\n")
        (home / "bin" / name).chmod(0o755)
    for here, there in (("github.com", "git.example"), ("gitlab.com", "git.example"), (" /src", " src")):
        script = script.replace(here, there)
    script = script.replace("http://cachew.example", variables["CACHEW"]).replace("/usr/local", f"{home}/.local")
    # Who installs nothing has the client that the job before has installed.
    installed = [f"{git.home}/runner{one}/.local/bin" for one in range(number, -1, -1)]
    path = ":".join([f"{home}/bin", *installed, "/usr/bin", "/bin"])
    own = {"HOME": str(home), "PATH": path, "GITHUB_PATH": f"{home}/path"}
    return await program(
        git, "sh", "-ec", f"unset CACHEW_PREFIX; cd {home}\n{script}", environment={**variables, **own}
    )


@pytest_twisted.ensureDeferred
async def test_every_recipe_does_what_it_says(upstream: Upstream, start: Start, git: Git) -> None:
    """Each is run as it stands, and its repository then comes by way of the server: the host itself is not there."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=10)
    cachew = await start(CONFIG)
    await (await cachew.get("org/repo/snapshot.tar.zst")).content()
    await cachew.quiet()
    variables = {"CACHEW": cachew.url, "TOKEN": cachew.token, "CI_JOB_TOKEN": "t", "SHA": repository.commit()}
    left = {heading: list(checks) for heading, checks in CHECKS.items()}
    for number, recipe in enumerate(recipes((PROJECT / "docs/ci.md").read_text())):
        script = f"{recipe.script}\n{left[recipe.heading].pop(0)}"
        done = await run_on_runner(git, script, variables, number)
        assert done.out.split("\n")[-1] == "10", (recipe, done)
    assert not any(left.values())
