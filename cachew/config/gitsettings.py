"""What mirrors cost and how fresh they are (pure)."""

from pydantic import StrictBool

from cachew.config.types import AtLeastOne, Bound, Count, Duration, DurationOrZero, IntervalOrZero, Section, Size, key


class GitSettings(Section):
    """Mirrors: how fresh they are, what is made from them and when, and what it may cost."""

    ref_check_interval: DurationOrZero = key("10s", "How long an upstream's ref listing is good; 0s asks every time.")
    ref_check_timeout: Duration = key("10s", "The most time that asking an upstream for its refs may take.")
    fetch_wait: Duration = key("30s", "How long a client waits for a fetch before the upstream itself is asked.")
    fetch_timeout: Duration = key("10m", "The most time that one fetch into a mirror may take.")
    clone_timeout: Duration = key("2h", "The most time that mirroring a repository for the first time may take.")
    serve_timeout: Duration = key(
        "10m",
        "How long a git process that serves clients may give nothing before it is ended; the upstream answers then.",
    )
    connect_timeout: Duration = key("10s", "The most time that connecting to an upstream may take.")
    first_byte_timeout: Duration = key("60s", "How long an upstream may be silent before its answer begins.")
    idle_timeout: Duration = key("60s", "How long an upstream may be silent in the midst of its answer.")
    snapshot_interval: IntervalOrZero = key("1h", "How often snapshots are made; 0s: on request only.")
    bundle_interval: IntervalOrZero = key(
        "1h", "How often the bundle lists for ``git clone --bundle-uri`` are brought up to date; 0s: on request only."
    )
    mirror_snapshot_interval: IntervalOrZero = key(
        "2h", "How often mirror snapshots are made for other replicas, where an object store is shared; 0s: never."
    )
    artefacts_for: DurationOrZero = key(
        "24h",
        "How long after a whole clone, or a request for a snapshot or a bundle, snapshots and bundle lists of a "
        "repository go on being made; 0s: of every repository for ever.",
    )
    scrub_interval: IntervalOrZero = key(
        "24h", "How often all that is kept is read and verified: mirrors, packs, cached objects; 0s: never."
    )
    scrub_rate: Bound = key("50MB", "How many bytes a second that may read.")
    repack_interval: IntervalOrZero = key("24h", "How often mirrors are repacked; 0s: never.")
    snapshot_max_age: Duration = key("24h", "An unchanged snapshot is made again when it is older than this.")
    replica_timeout: Duration = key(
        "60s", "How long a replica that makes something may be silent before another one makes it."
    )
    snapshot_timeout: Duration = key("1h", "The most time that making one snapshot may take.")
    snapshot_concurrency: AtLeastOne = key(
        2,
        "How many snapshots, bundles and repacks may be made at a time; of two and more a quarter, at least one, is "
        "kept for those that take seconds.",
    )
    lfs_snapshots: StrictBool = key(True, "Whether LFS snapshots are made of repositories that use LFS.")
    lfs_timeout: Duration = key("30m", "The most time that fetching a repository's LFS objects may take.")
    bundle_cache_ttl: Duration = key("2h", "How long a bundle is kept in the cache.")
    max_processes: AtLeastOne | None = key(
        None, "How many git processes serve clients at a time; by default four more than twice the cores.", example="12"
    )
    max_fetches: AtLeastOne = key(
        8, "How many fetches into mirrors may run at a time, and as many of what clients ask for by id."
    )
    max_clones: AtLeastOne = key(4, "How many repositories may be mirrored for the first time at a time.")
    queue_limit: AtLeastOne = key(1000, "How many requests may wait for a git process before others get 503.")
    max_request_body: Bound = key("64MB", "The largest request body of a fetch, after decompression.")
    max_listing: Bound = key("256MB", "The largest ref listing that is taken from an upstream.")
    pack_threads: Count = key(2, "Threads of each packing git process; 0: no bound but the number of cores.")
    pack_window_memory: Size = key("256MB", "Memory for each packing thread's delta window; 0: no bound.")
    mirror_limit: Size = key("0", "What all mirrors may occupy, least recently used ones go first; 0: no bound.")
    forget_after: DurationOrZero = key("0s", "A mirror nobody has asked for this long is removed; 0s: never.")
