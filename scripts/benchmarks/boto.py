"""boto3 as a client of its own: ``python -m scripts.benchmarks.boto up|down|sign-up|sign-down URL KEY [FILE]``."""

import sys
from importlib import import_module
from typing import Any

from scripts.benchmarks.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY


def main() -> None:
    """Do what the arguments say; the signing ones print an address that needs no further credentials."""
    action, url, key, *file = sys.argv[1:]
    boto3: Any = import_module("boto3")
    given = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **given)
    if action == "up":
        client.upload_file(file[0], BUCKET, key)
    elif action == "down":
        client.download_file(BUCKET, key, file[0])
    else:
        method = {"sign-up": "put_object", "sign-down": "get_object"}[action]
        print(client.generate_presigned_url(method, Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=3600))


if __name__ == "__main__":
    main()
