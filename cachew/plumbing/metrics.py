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
