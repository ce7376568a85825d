"""Where what is made and what is uploaded is kept (pure)."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from cachew.config.types import (
    BaseUrl,
    Bound,
    Count,
    Duration,
    DurationOrZero,
    FilePath,
    ObjectPrefix,
    Secret,
    Section,
    Size,
    Text,
    key,
)


class PackCacheSettings(Section):
    """Answers to fetches, kept as files so that the same fetch is computed once."""

    enabled: StrictBool = key(True, "Whether there is one; without, every answer is computed anew.")
    limit: Size = key("20GB", "What it may occupy; 0: no bound but min-free.")
    min_free: Size = key("5GB", "Free space that it leaves on its filesystem; 0: no bound.")
    prepare: Count = key(
        4,
        "Packs made ahead for a new tip, of fetches that came at least twice for each of the last three tips; 0: none.",
    )


class MemoryTier(Section):
    """A tier in memory."""

    backend: Literal["memory"] = key("memory", "In memory.")
    limit: Bound = key("1GB", "What it may occupy, what is being written and read included.")
    max_ttl: Duration = key("1h", "The longest that an object is kept.")


class DiskTier(Section):
    """A tier on a filesystem."""

    backend: Literal["disk"] = key("disk", "On a filesystem.")
    path: FilePath | None = key(
        None, "Its directory; by default cache in the state directory.", example='"/srv/cachew"'
    )
    limit: Size = key("100GB", "What it may occupy; 0: no bound but min-free.")
    min_free: Size = key("5GB", "Free space that it leaves on its filesystem; 0: no bound.")
    max_ttl: Duration = key("168h", "The longest that an object is kept.")


class S3Tier(Section):
    """A tier in an S3-compatible object store, shared between replicas."""

    backend: Literal["s3"] = key("s3", "In an S3-compatible object store.")
    bucket: Text = key(..., "The bucket, which must exist.", example='"cachew"')
    prefix: ObjectPrefix = key("", "What the names of all its objects begin with.")
    endpoint: BaseUrl | None = key(None, "URL of the store; by default AWS.", example='"http://10.0.0.6:9000/"')
    region: Text = key("us-east-1", "The store's region.")
    access_key: Secret | None = key(None, "Access key; by default the machine's role.", example='"${S3_KEY}"')
    secret_key: Secret | None = key(None, "Secret that belongs to the access key.", example='"${S3_SECRET}"')
    path_style: StrictBool = key(True, "Whether the bucket is part of the path rather than of the host name.")
    limit: Size = key(
        "0",
        "What its visible objects may occupy; what goes is kept for an hour for those who still read it. 0: no bound.",
    )
    max_ttl: Duration = key("168h", "The longest that an object is kept.")
    timeout: Duration = key("30s", "How long a request to the store may take; up to 8 MiB are sent in one.")
    redirect: DurationOrZero = key(
        "0s",
        "How long the addresses in the store are good to which clients are redirected, who must reach it; 0s: none.",
        example='"5m"',
    )
    redirect_from: Size = key("8MB", "The smallest object that is fetched from there.")


CacheTier = Annotated[MemoryTier | DiskTier | S3Tier, Field(discriminator="backend")]
