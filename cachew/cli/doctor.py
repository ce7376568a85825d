"""``cachew doctor``: what is wrong with the way to the server."""

import click

from cachew.cli.context import Context
from cachew.plumbing.clock import machine_clock


@click.command(short_help="Say what is wrong with the way to the server.")
@click.pass_obj
def doctor(context: Context) -> int:
    """Check server, versions, configuration, credentials and clock, and say what to do about each."""
    from pathlib import Path

    from cachew.cli.programs import find_program
    from cachew.client.diagnosis import Diagnosis
    from cachew.client.gitsetup import servers
    from cachew.version import version

    git = context.git()
    if context.url is None and (named := servers(git.listed(Path(".")))):
        context.url = named[0]
    diagnosis = Diagnosis(
        http=context.http(),
        git=git,
        find=find_program,
        clock=machine_clock(),
        version=version(),
    )
    failed = False
    for finding in diagnosis.findings():
        failed = failed or not finding.good
        lines = [f"{'ok  ' if finding.good else 'BAD '} {finding.subject}: {finding.says}"]
        lines += [f"       {finding.advice}"] if finding.advice else []
        found = {"good": finding.good, "subject": finding.subject, "says": finding.says, "advice": finding.advice}
        context.show(found, [] if context.quiet and finding.good else lines)
    return int(failed)
