"""Buckets that keep the parts of broken uploads for ever are told of."""

from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
import pytest_twisted
from twisted.logger import capturedLogs

from cachew.cache.bucketrules import BucketAddress, BucketRuleCheck, removes_parts, signed_headers
from cachew.plumbing.threads import Threads
from tests.fakes.clock import FakeClock
from tests.fakes.objectservers import ACCESS_KEY, BUCKET, SECRET_KEY, free_ports

RULES = """<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>parts</ID>
<Filter><Prefix>{prefix}</Prefix></Filter><Status>{status}</Status>
<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>
</Rule></LifecycleConfiguration>"""


def address(endpoint: str | None, **changed: Any) -> BucketAddress:
    """Return where the tests' bucket is."""
    facts: dict[str, Any] = {
        "bucket": BUCKET,
        "endpoint": endpoint,
        "region": "us-east-1",
        "prefix": "cachew/",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "path_style": True,
    }
    return BucketAddress(**facts | changed)


def test_requests_are_signed_as_the_reference_says() -> None:
    """The example "GET Bucket Lifecycle" of Amazon's S3 API reference has this signature."""
    example = address(
        "https://s3.amazonaws.com",
        bucket="examplebucket",
        path_style=False,
        access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    headers = signed_headers(example, "lifecycle=", 1369353600)
    assert headers["host"] == "examplebucket.s3.amazonaws.com"
    assert headers["authorization"].endswith(
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


@pytest.mark.parametrize(
    ("prefix", "status", "there"),
    [("", "Enabled", True), ("cach", "Enabled", True), ("other", "Enabled", False), ("", "Disabled", False)],
)
def test_a_rule_counts_that_is_enabled_and_covers_us(prefix: str, status: str, there: bool) -> None:
    """One for other objects, or one that is switched off, removes nothing of ours."""
    assert removes_parts(RULES.format(prefix=prefix, status=status).encode(), "cachew/") is there


def test_a_rule_that_only_expires_objects_does_not_count() -> None:
    """It leaves parts alone."""
    text = RULES.format(prefix="", status="Enabled").replace("AbortIncompleteMultipartUpload", "Expiration")
    assert not removes_parts(text.replace("DaysAfterInitiation", "Days").encode(), "")
    with pytest.raises(ValueError, match="can't be read"):
        removes_parts(b"<html>", "")


@pytest_twisted.ensureDeferred
async def test_a_missing_rule_is_told(moto: str, threads: Threads) -> None:
    """Until there is one; a store that does not say, or is not there, is no reason to say anything."""

    async def told(endpoint: str) -> list[str]:
        check = BucketRuleCheck(
            address=address(endpoint), threads=threads, clock=FakeClock(now=1_800_000_000.0), timeout=10
        )
        with capturedLogs() as logs:
            await check.look()
        return [event["bucket"] for event in logs if event["log_level"].name == "warn"]

    assert await told(moto) == [BUCKET]
    client = boto3.client(
        "s3",
        endpoint_url=moto,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    rule = {
        "ID": "parts",
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    try:
        assert await told(moto) == []
    finally:
        client.delete_bucket_lifecycle(Bucket=BUCKET)
        client.close()
    (port,) = free_ports(1)
    assert await told(f"http://127.0.0.1:{port}") == []
