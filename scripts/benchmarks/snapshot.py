"""Snapshots: restored end to end, served, and generated."""

import compileall
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.benchmarks.cachewserver import ROOT
from scripts.benchmarks.crowds import file_visit, idle_peer
from scripts.benchmarks.exchange import Exchange
from scripts.benchmarks.figures import Findings, Series, percentile, ratio
from scripts.benchmarks.load import Plan, Running
from scripts.benchmarks.repositories import Repository, environment, git
from scripts.benchmarks.stage import Server, Stage, say
from scripts.benchmarks.watch import Watch

_NAME = "snapshot.tar.zst"
Check = Callable[[Path], list[str]]


def snapshots(stage: Stage) -> Findings:
    """Run the scenarios."""
    findings = Findings("snapshot")
    repository = stage.repository("large", given=True)
    small = stage.repository("small")
    findings.facts["large"] = repository.facts()
    file = stage.files / _NAME
    url = f"{stage.cachew.url(repository.name)}/{_NAME}"
    shell(f"curl -sSf -o {shlex.quote(str(file))} {url}")
    stage.cachew.wait_until_idle()
    findings.facts["snapshot_bytes"] = file.stat().st_size
    restoring(stage, repository, url, findings)
    serving(stage, repository, findings, stage.record(small, "ls-remote", "-q", "URL")[:1], small)
    generating(stage, repository, findings)
    return findings


def shell(command: str) -> float:
    """Run a command and return the seconds that it took.

    :raise RuntimeError: when any part of it fails.
    """
    begin = time.perf_counter()
    printed(command)
    return time.perf_counter() - begin


def printed(command: str) -> str:
    """Run a command and return what it prints.

    :raise RuntimeError: when any part of it fails.
    """
    words = ["bash", "-c", f"set -o pipefail; {command}"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def by_turns(
    stage: Stage, name: str, commands: Mapping[str, str], check: Check | None, rounds: int
) -> dict[str, Series]:
    """Time commands by turns, each in a fresh directory that it makes.

    All directories are removed at the end, because what a filesystem has to do after that holds up who comes next.

    :param commands: by name; ``DIR`` stands for the directory.
    :param check: returns what is wrong with a directory.
    """
    series = {one: Series(one) for one in commands}
    checkouts = stage.work / "checkouts"
    shutil.rmtree(checkouts, ignore_errors=True)
    checkouts.mkdir()
    # ext4 looks long for room among what was deleted minutes ago; so each checkout gets a part of the disk of its own.
    subprocess.run(["chattr", "+T", checkouts], capture_output=True, check=False)
    for number in range(rounds):
        for place, (one, command) in enumerate(list(commands.items())[:: 1 if number % 2 else -1]):
            target = checkouts / f"{number}-{place}"
            os.sync()  # what the run before has left to write is not this one's
            say(f"{name}: {one}, run {number + 1} of {rounds}")
            series[one].walls.append(shell(command.replace("DIR", shlex.quote(str(target)))))
            if check is not None and number == 0:
                series[one].failures += check(target)
    shutil.rmtree(checkouts)
    return series


def restoring(stage: Stage, repository: Repository, url: str, findings: Findings) -> None:
    """Make a checkout in every way there is."""
    name = "restore"
    peer = stage.peer.url(repository.name)
    helped = f"PATH={shlex.quote(str(client(stage.work / 'bin')))}:$PATH"
    commands = {
        "cachew": f"{helped} cachew --url {stage.cachew.address} git restore {stage.cachew.url(repository.name)} DIR",
        "helper": f"{helped} git clone -q cachew::{stage.cachew.url(repository.name)} DIR",
        "git clone": f"git clone -q {peer} DIR",
        "clone --depth 1": f"git clone -q --depth 1 {peer} DIR",
        # tar may stop before the padding behind the archive's end, which zstd then complains about.
        "curl|zstd|tar": f"mkdir DIR && {{ curl -sSf {url} | zstd -dc || true; }} | tar -xC DIR",
    }
    head = repository.git("rev-parse", "HEAD").strip()

    def check(checkout: Path) -> list[str]:
        return wrong_in(checkout, head)

    series = by_turns(stage, name, commands, check, stage.options.rounds(3))
    findings.add(name, list(series.values()))
    for other, times in (("git clone", 20), ("clone --depth 1", 2.5), ("curl|zstd|tar", 1.2)):
        faster = ratio(series[other].wall, series["cachew"].wall)
        findings.at_least(name, f"times faster than {other}", faster, times)
    wall = series["helper"].wall
    findings.at_least(name, "helper, times faster than git clone", ratio(series["git clone"].wall, wall), 12)
    findings.at_most(name, "helper, of the time of cachew", ratio(wall, series["cachew"].wall), 1.5)


def client(directory: Path) -> Path:
    """Make ``cachew`` and ``git-remote-cachew`` of these sources as ``install.sh`` does, and return their directory.

    What is installed is compiled, though the environment may say that nothing is to be compiled as it is imported.
    """
    directory.mkdir(exist_ok=True)
    compileall.compile_dir(ROOT / "cachew", quiet=1)
    for name, module, flags in (("cachew", "launch", " -S"), ("git-remote-cachew", "remote", " -ES")):
        script = directory / name
        lines = (f"#!{sys.executable}{flags}", "import sys", f"sys.path.insert(0, {str(ROOT)!r})")
        script.write_text("\n".join([*lines, f"from cachew.cli.{module} import main", "main()", ""]))
        script.chmod(0o755)
    return directory


def wrong_in(checkout: Path, head: str) -> list[str]:
    """Return what is wrong with a checkout: its commit, its files, its objects."""
    wrong = []
    if (found := git("-C", str(checkout), "rev-parse", "HEAD").strip()) != head:
        wrong.append(f"HEAD is {found} instead of {head}")
    if changed := git("-C", str(checkout), "status", "--porcelain").splitlines():
        wrong.append(f"{len(changed)} files differ from HEAD, the first is {changed[0]}")
    try:
        git("-C", str(checkout), "fsck", "--no-dangling", "--no-progress", "--connectivity-only")
    except RuntimeError as error:
        wrong.append(str(error))
    return wrong


def serving(
    stage: Stage, repository: Repository, findings: Findings, asking: Sequence[Exchange], small: Repository
) -> None:
    """Compare with nginx's sendfile, look at small requests meanwhile, and at slow readers."""
    size = (stage.files / _NAME).stat().st_size
    paths: dict[str, str] = {
        "cachew": f"{stage.cachew.base(repository.name)}/{_NAME}",
        "nginx": f"/files/{_NAME}",
    }
    for clients in (1, 8, 32):
        name = f"snapshot to {clients} client{'s' if clients > 1 else ''}"

        def plan(server: Server, clients: int = clients) -> Plan:
            visit = file_visit(server.port, paths[server.name], least=size, skip=size)
            return Plan((visit,) * clients, clients=clients)

        cachew, nginx = series = stage.compare(name, plan, rounds=stage.options.rounds(5 if clients < 32 else 3))
        notes = {
            one.server: f"{one.throughput / 1e6:.0f} MB/s, {sum(one.cpus) / (sum(one.received) / 1e9):.3f} CPU s/GB"
            for one in series
        }
        findings.add(name, series, **notes)
        findings.at_least(name, "throughput", ratio(cachew.throughput, nginx.throughput), 0.95)
        findings.at_most(name, "CPU s per GB", sum(cachew.cpus) / (sum(cachew.received) / 1e9), 0.25, "s")
    seconds = 2.0 if stage.options.quick else 8.0
    visit = file_visit(stage.cachew.port, paths["cachew"], least=size, skip=size)
    probe = Plan((stage.visit(stage.cachew, small, asking),), seconds=seconds - 1, pause=0.01)
    beside(stage, findings, "8 fast readers", Plan((visit,), clients=8, seconds=seconds), probe)
    slow = file_visit(stage.cachew.port, paths["cachew"])
    beside(stage, findings, "32 slow readers", Plan((slow,) * 32, clients=32, rate=1e6, abandon=seconds), probe)


def beside(stage: Stage, findings: Findings, name: str, crowd: Plan, probe: Plan) -> None:
    """Let small requests come while a crowd reads the snapshot, and see how long they take and what memory it takes."""
    say(name)
    name = f"snapshot, {name}"
    server = stage.cachew
    with Watch(server.roots, server.cpu) as watch:
        readers = Running(crowd)
        control = Running(idle_peer(stage, seconds=probe.seconds or 0, pause=probe.pause))
        probing = Running(probe).result()
        peer = control.result()
        result = readers.result()
    series = Series(server.name, walls=[result.wall], cpus=[watch.cpu], peaks=[watch.peak])
    series.failures += result.failures[:3] + probing.failures[:3]
    middle, most, worst = (percentile(probing.latencies, share) * 1e3 for share in (0.5, 0.99, 1.0))
    note = (
        f"{result.received / 1e6 / result.wall:.0f} MB/s, {len(probing.latencies)} small requests:"
        f" p50 {middle:.1f} ms, p99 {most:.1f} ms, worst {worst:.1f} ms, memory growth {watch.own_growth / 1e6:.1f} MB"
    )
    note += f"; those to an idle nginx meanwhile: p99 {percentile(peer.latencies, 0.99) * 1e3:.1f} ms"
    findings.add(name, [series], cachew=note)
    findings.at_most(name, "small request, p99", most, 10, "ms")
    findings.at_most(name, "memory growth", watch.own_growth / 1e6, 16, "MB")


def generating(stage: Stage, repository: Repository, findings: Findings) -> None:
    """Compare the making of a snapshot with what anybody would write."""
    name = "snapshot generation"
    rounds = stage.options.rounds(3)
    series = Series("cachew")
    growth = []
    plain = f"git clone -q --local {repository.path} DIR && tar -cC DIR . | zstd -3 -T2 -q -f -o {stage.work}/plain.zst"
    other = Series("clone|tar|zstd")
    for number in range(rounds):
        other.walls += by_turns(stage, name, {"clone|tar|zstd": plain}, None, 1)["clone|tar|zstd"].walls
        say(f"{name}: cachew, run {number + 1} of {rounds}")
        os.sync()
        with Watch(stage.cachew.roots, stage.cachew.cpu) as watch:
            begin = time.perf_counter()
            stage.cachew.act(repository.name, "snapshot")
            stage.cachew.wait_until_idle()
            series.walls.append(time.perf_counter() - begin)
        series.cpus.append(watch.cpu)
        series.peaks.append(watch.peak)
        growth.append(watch.own_growth)
    (stage.work / "plain.zst").unlink()
    findings.add(name, [series, other], cachew=f"memory growth {max(growth) / 1e6:.1f} MB")
    findings.at_most(name, "wall", ratio(series.wall, other.wall), 0.75)
    findings.at_most(name, "memory growth", max(growth) / 1e6, 16, "MB")
