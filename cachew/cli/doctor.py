"""``cachew doctor``: what is wrong with the way to the server."""

import shutil
import time

import click

from cachew.cli.context import Context


@click.command()
@click.pass_obj
def doctor(context: Context) -> int:
    """Check server, versions, configuration, credentials and clock, and say what to do about each."""
    from pathlib import Path

    from cachew.client.diagnosis import Diagnosis
    from cachew.client.gitsetup import servers
    from cachew.version import version

    git = context.git()
    if context.url is None and (named := servers(git.listed(Path("/")))):
        context.url = named[0]
    diagnosis = Diagnosis(http=context.http(), git=git, find=shutil.which, now=time.time, version=version())
    failed = False
    for finding in diagnosis.findings():
        failed = failed or not finding.good
        click.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.subject}: {finding.says}")
        if finding.advice:
            click.echo(f"       {finding.advice}")
    return int(failed)
