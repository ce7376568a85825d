"""A config of the Go original becomes one of this server's."""

import json
from pathlib import Path

import pytest

from cachew.cli.main import run
from cachew.client.clienterrors import BadUsage
from cachew.client.goconfig import migrated, read_hcl
from cachew.config.cachetiers import DiskTier, S3Tier
from cachew.config.credentialkinds import GitHubAppCredential
from cachew.config.load import load

EVERYTHING = """
# what a build farm has
state = "/var/lib/cachew"
bind = "[::1]:9000"
url = "https://cachew.example"
shutdown-readiness-delay = "5s"
log {
  level = "WARN"
  json = true
  remap = { "msg" : "message" }
}
opa {
  policy = <<EOF
  package cachew.authz
  allow if input.path[0] != "api"
  EOF
}
scheduler { concurrency = 8 }
git-clone {
  mirror-root = "/srv/mirrors"
  ls-remote-timeout = "30s"
  pack-threads = 4
}
s3 {
  endpoint = "store.example:9000"
  use-ssl = false
}
github-app {
  app-id = "123"
  private-key-path = "/etc/app.pem"
  installations = { "org" : "77" }
}
metrics {}
strategy git {
  snapshot-interval = "1h"
  mirror-snapshot-interval = "3h"
  zstd-threads = 4
}
strategy host "https://files.example" {}
strategy hermit { }
cache disk {
  root = "/srv/cache"
  limit-mb = 250000
  max-ttl = "8h"
}
cache s3 {
  bucket = "cachew"
  upload-concurrency = 2
}
metadata s3 { bucket = "meta" }
"""


def test_each_key_that_has_a_counterpart_is_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed config is one without mistakes and says what the original's said; the rest is in comments."""
    file = tmp_path / "cachew.hcl"
    file.write_text(EVERYTHING)
    assert run(["migrate-config", str(file)]) == 0
    text = capsys.readouterr().out
    settings = load(text, environ={})
    assert (str(settings.state), settings.listen) == ("/var/lib/cachew", ("tcp6:9000:interface=\\:\\:1",))
    assert (settings.public_url, settings.log_level, settings.log_format) == ("https://cachew.example/", "warn", "json")
    assert (settings.git.snapshot_interval, settings.git.mirror_snapshot_interval) == (3600, 10800)
    assert (settings.git.ref_check_timeout, settings.git.pack_threads) == (30, 4)
    disk, store = settings.cache
    assert isinstance(disk, DiskTier) and (disk.limit, disk.max_ttl) == (250_000 * 2**20, 8 * 3600)
    assert isinstance(store, S3Tier) and (store.bucket, store.endpoint) == ("cachew", "http://store.example:9000/")
    (app,) = settings.credentials
    assert isinstance(app, GitHubAppCredential) and (app.app_id, str(app.private_key_file)) == ("123", "/etc/app.pem")
    for remark in (
        "log: remap", "opa: policies", "scheduler: see", "git-clone: mirror-root", "github-app: installations",
        "metrics are at", "strategy git: zstd-threads", "strategy host https://files.example", "strategy hermit",
        "s3: upload-concurrency", "metadata: replicas",
    ):  # fmt: skip
        assert f"# {remark}" in text


def test_the_smallest_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is as it is by default isn't written down, variables stay, and JSON has both parts."""
    file = tmp_path / "cachew.hcl"
    file.write_text('url = "http://127.0.0.1:8080"\nstate = "${HOME}/c"\nstrategy git {}\ncache memory {}\n')
    assert run(["--json", "migrate-config", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"].startswith('state = "${HOME}/c"\n\n[[cache]]\nbackend = "memory"\n\n# ')
    assert load(found["config"], environ={"HOME": "/x"}).cache[0].backend == "memory"
    assert len(found["remarks"]) == 1


def test_what_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No HCL, and a cache that is not known, end with 1 and a sentence."""
    file = tmp_path / "cachew.hcl"
    file.write_text("strategy git {")
    assert run(["migrate-config", str(file)]) == 1
    assert capsys.readouterr().err.startswith("cachew: This is no HCL: ")
    with pytest.raises(BadUsage, match="cache redis is not known here"):
        migrated(read_hcl("cache redis {}"))
