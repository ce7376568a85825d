"""What is counted and timed, in one registry that ``/metrics`` shows."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from cachew.plumbing import errors

_RESPONSE_STEPS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
_LAG_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_FETCH_STEPS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
_CLONE_STEPS = (0.5, 1, 5, 15, 60, 300, 1200, 3600, 7200)
_SOURCES = ("memory", "mirror", "packcache", "upstream")
_TASKS = ("snapshot", "lfs-snapshot", "mirror", "bundles", "repack")
_REDIRECTED = ("snapshot", "lfs-snapshot", "bundle", "object")
_STATUSES = ("200", "403", "404", "500", "502", "503", "504", "gone")
"""What routes are expected to answer; others come when they come."""


class Metrics:
    """The server's metrics, made once by the composition root and handed to whoever counts.

    Labels hold repository names only for repositories that passed the path rules and have a mirror.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "cachew_requests_total", "HTTP requests answered", ["route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "cachew_request_seconds",
            "How long HTTP requests took to the last byte of their answer",
            ["route"],
            buckets=_RESPONSE_STEPS,
            registry=registry,
        )
        self.reactor_lag = Histogram(
            "cachew_reactor_lag_seconds",
            "How late the reactor came to what was due, by what kept it: the machine's processors or the server itself",
            ["cause"],
            buckets=_LAG_STEPS,
            registry=registry,
        )
        self.stalls = Counter(
            "cachew_reactor_stalls_total",
            "Times that the reactor stood still for longer than it may",
            registry=registry,
        )
        self.response_bytes = Counter(
            "cachew_response_bytes_total",
            "Bytes of responses' bodies, by where they came from",
            ["source"],
            registry=registry,
        )
        self.failures = Counter(
            "cachew_failures_total",
            "Requests that failed on this side or upstream, by the kind of error",
            ["kind"],
            registry=registry,
        )
        self.served = Counter(
            "cachew_git_served_total", "Git requests by where the answer came from", ["source"], registry=registry
        )
        self.stale = Counter(
            "cachew_stale_responses_total", "Ref listings served while the upstream failed", registry=registry
        )
        self.ref_checks = Counter(
            "cachew_ref_checks_total",
            "Upstreams asked for their refs, by outcome (ok, refused, failed)",
            ["outcome"],
            registry=registry,
        )
        self.upstream_requests = Counter(
            "cachew_upstream_requests_total", "Requests made to upstreams", ["kind"], registry=registry
        )
        self.upstream_seconds = Histogram(
            "cachew_upstream_request_seconds",
            "How long upstreams took to begin their answers, by the host in the config",
            ["host"],
            buckets=_RESPONSE_STEPS,
            registry=registry,
        )
        self.upstream_failures = Counter(
            "cachew_upstream_failures_total",
            "Requests to upstreams that failed, by the host in the config and kind (timeout, unreachable, status)",
            ["host", "kind"],
            registry=registry,
        )
        self.lfs_objects = Counter(
            "cachew_lfs_objects_total", "LFS objects sent, by where they came from", ["source"], registry=registry
        )
        self.fetches = Counter("cachew_fetches_total", "Fetches into mirrors", ["outcome"], registry=registry)
        self.fetch_seconds = Histogram(
            "cachew_fetch_seconds", "How long fetches into mirrors took", buckets=_FETCH_STEPS, registry=registry
        )
        self.clone_seconds = Histogram(
            "cachew_clone_seconds",
            "How long it took to mirror repositories for the first time",
            buckets=_CLONE_STEPS,
            registry=registry,
        )
        self.refs_set_aside = Counter(
            "cachew_refs_set_aside_total", "Refs that could not be followed when they were tried", registry=registry
        )
        self.fsck_findings = Counter(
            "cachew_fsck_findings_total",
            "Objects that came and that git fsck dislikes, by what it dislikes; they are kept and served",
            ["finding"],
            registry=registry,
        )
        self.mirror_checks = Counter(
            "cachew_mirror_checks_total",
            "Looks for damage in mirrors, by outcome (sound, mended, damaged)",
            ["outcome"],
            registry=registry,
        )
        self.damage = Counter(
            "cachew_damage_total", "Damage found on disk: mirror, pack, object", ["what"], registry=registry
        )
        self.mirrors = Gauge("cachew_mirrors", "Mirrors ready to serve", registry=registry)
        self.mirror_seeds = Counter(
            "cachew_mirror_seeds_total", "Attempts to make a mirror of a snapshot", ["outcome"], registry=registry
        )
        self.tier_requests = Counter(
            "cachew_cache_tier_requests_total",
            "Objects looked for in cache tiers, by outcome (hit, miss, outdated), and operations that failed",
            ["tier", "outcome"],
            registry=registry,
        )
        self.tier_seconds = Histogram(
            "cachew_cache_tier_seconds", "How long cache tiers took to say what they have", ["tier"], registry=registry
        )
        self.tier_up = Gauge(
            "cachew_cache_tier_up",
            "Whether a cache tier works (1) or failed when last asked (0)",
            ["tier"],
            registry=registry,
        )
        self.redirected_bytes = Counter(
            "cachew_redirected_bytes_total",
            "Bytes that clients were sent to the object store for, by what they asked for",
            ["what"],
            registry=registry,
        )
        self.presigned = Counter(
            "cachew_presigned_addresses_total",
            "Addresses in the object store that clients were given, by what they asked for",
            ["what"],
            registry=registry,
        )
        self.clones = Counter("cachew_clones_total", "Clones served by this replica", ["repository"], registry=registry)
        self.scheduled = Counter(
            "cachew_scheduled_work_total",
            "Scheduled tasks by what came of them (made, unchanged, elsewhere, failed)",
            ["task", "outcome"],
            registry=registry,
        )
        self._begin()
        self._lag_of_processor = self.reactor_lag.labels("processor")
        self._lag_of_server = self.reactor_lag.labels("server")
        self.answers = 0
        """How many have been noted."""

    def _begin(self) -> None:
        """Show what can be known before it happens at 0, so that a rate sees the first time too."""
        known: tuple[tuple[Counter | Histogram, tuple[str, ...]], ...] = (
            (self.reactor_lag, ("processor", "server")),
            (self.response_bytes, (*_SOURCES, "cache", "made")),
            (self.failures, tuple(_names_of_errors())),
            (self.served, _SOURCES),
            (self.ref_checks, ("ok", "refused", "failed")),
            (self.upstream_requests, ("info-refs", "ls-refs", "forward", "lfs-object")),
            (self.lfs_objects, ("cache", "upstream", "shared")),
            (self.fetches, ("ok", "failed", "cloned", "clone-failed")),
            (self.mirror_checks, ("sound", "mended", "damaged")),
            (self.damage, ("mirror", "pack", "object")),
            (self.redirected_bytes, _REDIRECTED),
            (self.presigned, (*_REDIRECTED, "bundle-list")),
            (self.mirror_seeds, ("restored", "discarded", "failed")),
        )
        for metric, values in known:
            for value in values:
                metric.labels(value)
        for task in _TASKS:
            for outcome in ("made", "unchanged", "elsewhere", "failed"):
                self.scheduled.labels(task, outcome)

    def begin_hosts(self, hosts: Iterable[str]) -> None:
        """Show upstreams before anything is asked of them.

        :param hosts: as the config names them, and what the others are called.
        """
        for host in hosts:
            self.upstream_seconds.labels(host)
            for kind in ("timeout", "unreachable", "status"):
                self.upstream_failures.labels(host, kind)

    def begin_routes(self, routes: Iterable[str]) -> None:
        """Show routes before anybody asks for them."""
        for route in routes:
            self.request_seconds.labels(route)
            for status in _STATUSES:
                self.requests.labels(route, status)

    def note_findings(self, counts: Mapping[str, int]) -> None:
        """Count what git dislikes about objects that came."""
        for finding, count in counts.items():
            self.fsck_findings.labels(finding).inc(count)

    def note_reactor_lag(self, waited: float, own: float) -> None:
        """Count how late the reactor was.

        :param waited: seconds for which it waited for a processor.
        :param own: seconds for which the server itself kept it.
        """
        self._lag_of_processor.observe(waited)
        self._lag_of_server.observe(own)


def _names_of_errors() -> Iterator[str]:
    """Yield what failures are called that clients are told of."""
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.CachewError):
            yield name
