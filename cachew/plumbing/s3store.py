"""Buckets of S3 and of stores that speak its protocol, described for the library that asks them.

The library takes settings out of the environment (``AWS_…``) too. What the config says goes before them, so that a
token or an endpoint that somebody's shell holds is not mixed with its keys.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from obstore.store import ObjectStore, S3Store


def s3_store(
    *,
    bucket: str,
    endpoint: str | None = None,
    region: str = "us-east-1",
    prefix: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    timeout: float = 60.0,
    connect_timeout: float = 5.0,
    retries: int = 2,
    path_style: bool = True,
    checksums: bool = True,
) -> ObjectStore:
    """Describe a bucket of S3 or of a store that speaks its protocol; nothing is asked of it yet.

    :param endpoint: the store's URL; Amazon's own when None. ``http`` is allowed, it is the operator's word.
    :param prefix: what every object's name begins with.
    :param access_key: with ``secret_key`` the credentials; when None the machine's own are looked for (instance role).
    :param timeout: seconds that one request may take.
    :param retries: how often a request that failed is made again.
    :param path_style: whether the bucket is part of the path rather than of the host name.
    :param checksums: whether uploads have their checksums in headers; their signatures hold some in any case.
    """
    config: Any = {}
    if endpoint is not None:
        config["endpoint"] = config["aws_endpoint_url_s3"] = endpoint if path_style else _with_bucket(endpoint, bucket)
    if access_key is not None and secret_key is not None:
        config["credential_provider"] = lambda: {
            "access_key_id": access_key,
            "secret_access_key": secret_key,
            "token": None,
            "expires_at": None,
        }
    if checksums:
        # The store refuses an upload that was damaged on its way.
        config["checksum_algorithm"] = "SHA256"
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=region,
        virtual_hosted_style_request=not path_style,
        # Not all know the request that removes many objects, and here they go one by one.
        disable_bulk_delete=True,
        client_options={
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "timeout": timedelta(seconds=timeout),
            "connect_timeout": timedelta(seconds=connect_timeout),
        },
        retry_config={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=timeout),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        },
        **config,
    )


def bucket_host(host: str, bucket: str) -> str:
    """Return the name of the host that is a bucket's own."""
    return host if host.startswith(f"{bucket}.") else f"{bucket}.{host}"


def _with_bucket(endpoint: str, bucket: str) -> str:
    # The library leaves that to its callers.
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{bucket_host(parts.netloc, bucket)}{parts.path.rstrip('/')}"
