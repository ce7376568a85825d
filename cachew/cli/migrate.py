"""``cachew migrate-config``: the Go original's config in this server's words."""

from pathlib import Path

import click

from cachew.cli.context import Context


@click.command("migrate-config", short_help="Translate the Go original's config.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def migrate_config(context: Context, file: Path) -> None:
    """Translate FILE, a config of the Go original (cachew.hcl), and print it as this server's.

    What has no counterpart is told in comments at its end. twistd cachew --config RESULT --check tries the result.
    """
    from cachew.client.goconfig import migrated, read_hcl

    result = migrated(read_hcl(file.read_text(encoding="utf-8")))
    text = result.toml()
    context.show({"config": text, "remarks": result.remarks}, [text.rstrip("\n")])
