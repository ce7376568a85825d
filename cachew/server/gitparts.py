"""Git at work on mirrors: how it is called, and in which places it runs."""

from collections.abc import Iterator, Mapping

from cachew.config.upstreams import Upstream
from cachew.mirrors.commands import CommandSettings, GitCommands
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.packindex import OpenIndexes
from cachew.server.places import Places
from cachew.server.runtime import Runtime

_FEWEST_INDEXES = 16
_MOST_INDEXES = 1024


def make_commands(runtime: Runtime) -> GitCommands:
    """Make what knows how git is called."""
    settings = runtime.settings
    return GitCommands(
        CommandSettings(
            path=runtime.environment.search_path,
            home=runtime.state / "home",
            threads=settings.git.pack_threads,
            window_memory=str(settings.git.pack_window_memory),
            silence=max(settings.git.first_byte_timeout, settings.git.idle_timeout),
            user_agent=runtime.user_agent,
            of_upstreams=dict(_tls_settings(settings.upstreams)),
        )
    )


def _tls_settings(upstreams: Mapping[str, Upstream]) -> Iterator[tuple[str, str]]:
    """Yield what git is told of upstreams with an authority of their own, or that want to see a certificate."""
    for name, upstream in upstreams.items():
        section, own = f"http.{upstream.url or f'https://{name}/'}", upstream.client_certificate_file
        if upstream.ca_file is not None:
            yield f"{section}.sslCAInfo", str(upstream.ca_file)
        if own is not None:
            yield from ((f"{section}.{key}", str(own)) for key in ("sslCert", "sslKey"))


def make_indexes(runtime: Runtime) -> OpenIndexes:
    """Return what keeps pack indexes open: not many, since most descriptors are for clients and what serves them."""
    most = max(_FEWEST_INDEXES, min(_MOST_INDEXES, runtime.environment.descriptors // 8))
    return OpenIndexes(most_files=most)


def make_git(runtime: Runtime, commands: GitCommands, places: Places, indexes: OpenIndexes) -> GitRunner:
    """Make what runs git."""
    git = runtime.settings.git
    return GitRunner(
        processes=runtime.processes,
        commands=commands,
        threads=runtime.threads,
        fetch_timeout=git.fetch_timeout,
        clone_timeout=git.clone_timeout,
        fetches=places.fetching,
        by_id=places.by_id,
        checks=places.checking,
        min_free=runtime.settings.limits.min_free,
        indexes=indexes,
        disliked=runtime.metrics.note_findings,
    )
