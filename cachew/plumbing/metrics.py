"""What is counted and timed, in one registry that ``/metrics`` shows."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The server's metrics, made once by the composition root and handed to whoever counts.

    Labels hold repository names only for repositories that passed the path rules and have a mirror.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "cachew_requests_total", "HTTP requests answered", ["route", "status"], registry=registry
        )
        self.served = Counter(
            "cachew_git_served_total", "Git requests by where the answer came from", ["source"], registry=registry
        )
        self.stale = Counter(
            "cachew_stale_responses_total", "Ref listings served while the upstream failed", registry=registry
        )
        self.upstream_requests = Counter(
            "cachew_upstream_requests_total", "Requests made to upstreams", ["kind"], registry=registry
        )
        self.lfs_objects = Counter(
            "cachew_lfs_objects_total", "LFS objects sent, by where they came from", ["source"], registry=registry
        )
        self.fetches = Counter(
            "cachew_fetches_total", "Fetches into mirrors", ["outcome"], registry=registry
        )
        self.fetch_seconds = Histogram(
            "cachew_fetch_seconds", "How long fetches into mirrors took", registry=registry
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
            "cachew_cache_tier_up", "Whether a cache tier works (1) or failed when last asked (0)", ["tier"],
            registry=registry,
        )
        self.clones = Counter(
            "cachew_clones_total", "Clones served by this replica", ["repository"], registry=registry
        )
        self.scheduled = Counter(
            "cachew_scheduled_work_total",
            "Scheduled tasks by what came of them (made, unchanged, elsewhere, failed)",
            ["task", "outcome"],
            registry=registry,
        )
