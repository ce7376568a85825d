"""One large object through the object API, against curl and boto3 at the store that cachew itself keeps it in.

A stall of the reactor is the time for which the server itself kept it from its work, as the server's metrics tell, and
not that for which the machine had no processor for it. With a disk tier every download comes from the store and fills
the disk on its way, as it does at a replica that has not had the object yet.
"""

import hashlib
import shlex
import sys
from pathlib import Path

from scripts.benchmarks.cachewserver import ROOT, Turns
from scripts.benchmarks.crowds import file_visit, idle_peer
from scripts.benchmarks.figures import Findings, Series, ratio
from scripts.benchmarks.load import Plan, Running
from scripts.benchmarks.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFS
from scripts.benchmarks.snapshot import printed, shell
from scripts.benchmarks.stage import Options, Stage, say
from scripts.benchmarks.watch import Watch

_TIER = """
[[cache]]
backend = "s3"
bucket = "{bucket}"
endpoint = "{url}"
access-key = "{access}"
secret-key = "{secret}"
"""
_DISK = """
[[cache]]
backend = "disk"
limit = "10GB"
"""
_STALL = 0.02
_OBJECT = "/api/v1/object/bench/large"


def store(options: Options) -> Findings:
    """Run the scenarios."""
    findings = Findings("store")
    source = options.work / "object"
    size = 50_000_000 if options.quick else 1_000_000_000
    if not source.exists() or source.stat().st_size != size:
        shell(f"head -c {size} /dev/urandom >{shlex.quote(str(source))}")
    with SeaweedFS(options.work / "seaweedfs") as weed:
        tier = _TIER.format(bucket=BUCKET, url=weed.url, access=ACCESS_KEY, secret=SECRET_KEY)
        with Stage(options, more=tier) as stage:
            commands = _commands(stage, weed.url, source)
            _run(stage, findings, "object up", commands["up"], None)
            speed = _run(stage, findings, "object down", commands["down"], source)
            findings.at_least("object down", "speed of curl's", speed, 0.8)
        with Stage(options, more=_DISK + tier) as stage:
            commands = _commands(stage, weed.url, source)
            _run(stage, findings, "object down, through a disk tier", commands["down"], source)
    return findings


def _forget(stage: Stage) -> None:
    """Have the server remove the copies that it has of its own, when they are finished."""
    stage.cachew.wait_until_idle()
    shell(f"curl -sSf -X POST {stage.cachew.address}{_OBJECT}/invalidate")


def _commands(stage: Stage, url: str, source: Path) -> dict[str, dict[str, str]]:
    """Return shell commands by direction and client; ``TARGET`` stands for the file to write.

    curl gets addresses that are signed beforehand.
    """
    boto = f"PYTHONPATH={shlex.quote(str(ROOT))} {sys.executable} -m scripts.benchmarks.boto"
    api = f"{stage.cachew.address}{_OBJECT}"
    file = shlex.quote(str(source))
    up, down = (shlex.quote(printed(f"{boto} sign-{way} {url} curl").strip()) for way in ("up", "down"))
    return {
        "up": {
            "cachew": f"curl -sSf -X POST -T {file} {api}",
            "curl": f"curl -sSf -T {file} {up}",
            "boto3": f"{boto} up {url} boto {file}",
        },
        "down": {
            "cachew": f"curl -sSf -o TARGET {api}",
            "curl": f"curl -sSf -o TARGET {down}",
            "boto3": f"{boto} down {url} boto TARGET",
        },
    }


def _run(stage: Stage, findings: Findings, name: str, commands: dict[str, str], source: Path | None) -> float:
    """Run one way by all clients.

    :param source: what must come back, None for uploads.
    :return: cachew's speed as a multiple of curl's.
    """
    series = {client: Series(client) for client in commands}
    growth, slowest, control, turns = [0], [0.0], [0.0], list[Turns]()
    seconds = 0.5 if stage.options.quick else 3.0
    target = stage.work / "received"
    for number in range(stage.options.rounds(5)):
        for client, command in list(commands.items())[:: 1 if number % 2 else -1]:
            say(f"{name}: {client}, run {number + 1}")
            if client == "cachew" and source is not None:
                _forget(stage)
            probe = Running(Plan((file_visit(stage.cachew.port, "/_liveness"),), seconds=seconds, pause=0.005))
            idle = Running(idle_peer(stage, seconds=seconds, pause=0.005))
            before = stage.cachew.turns()
            with Watch(stage.cachew.roots, stage.cachew.cpu) as watch:
                series[client].walls.append(shell(command.replace("TARGET", shlex.quote(str(target)))))
            after = stage.cachew.turns()
            latencies = [max(one.result().latencies, default=float("nan")) for one in (probe, idle)]
            if client == "cachew":
                series[client].cpus.append(watch.cpu)
                series[client].peaks.append(watch.peak)
                growth.append(watch.own_growth)
                turns.append(after.since(before))
                slowest.append(latencies[0])
                control.append(latencies[1])
            if source is not None and number == 0 and _digest(target) != _digest(source):
                series[client].failures.append("what came back is not what was stored")
            target.unlink(missing_ok=True)
    speed = ratio(series["curl"].wall, series["cachew"].wall)
    late = sum(one.later_than(_STALL) for one in turns)
    note = (
        f"memory growth {max(growth) / 1e6:.0f} MB, reactor kept for at most"
        f" {max(one.latest for one in turns) * 1e3:.0f} ms, slowest small request {max(slowest) * 1e3:.1f} ms,"
        f" to an idle nginx meanwhile {max(control) * 1e3:.1f} ms"
    )
    findings.add(name, list(series.values()), cachew=f"{speed:.2f}x of curl's speed, {note}")
    findings.at_most(name, "memory growth", max(growth) / 1e6, 100, "MB")
    findings.at_most(name, "stalls of the reactor above 20 ms", late, 0, "")
    return speed


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
