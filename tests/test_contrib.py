"""What operators install is in order, as far as the programs that read it are here."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from cachew.config.load import load

ROOT = Path(__file__).parents[1]
CONTRIB = ROOT / "contrib"


def run(*argv: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in argv], text=True, capture_output=True, check=False)


def test_the_unit_is_valid_and_leaves_little_open(tmp_path: Path) -> None:
    """systemd takes the unit as it is, and finds an exposure of no more than 2.5 of 10."""
    unit = (CONTRIB / "systemd" / "cachew.service").read_text()
    assert "twistd --nodaemon --pidfile= cachew --config /etc/cachew/cachew.toml" in unit
    for program in ('/bin/sh -c "kill -HUP $MAINPID"', "/opt/cachew/bin/twistd"):
        assert program in unit
    here = tmp_path / "cachew.service"
    here.write_text(unit.replace("/opt/cachew/bin/twistd", "/bin/true"))
    if shutil.which("systemd-analyze") is None:
        return
    verified = run("systemd-analyze", "verify", "--recursive-errors=no", here)
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if "cachew.service" in line]) == (0, [])
    exposure = run("systemd-analyze", "security", "--offline=true", here).stdout
    found = re.search(r"exposure level for cachew.service: ([0-9.]+)", exposure)
    assert found is not None and float(found[1]) <= 2.5, exposure[-300:]


def test_users_and_directories_are_those_of_the_unit() -> None:
    """The user that sysusers makes owns the directory that the unit's state is in."""
    assert re.search(r'^u cachew - ".*" /var/lib/cachew$', (CONTRIB / "systemd" / "cachew.sysusers").read_text(), re.M)
    assert "d /var/lib/cachew 0700 cachew cachew -" in (CONTRIB / "systemd" / "cachew.tmpfiles").read_text()
    unit = (CONTRIB / "systemd" / "cachew.service").read_text()
    assert "User=cachew\n" in unit and "StateDirectory=cachew\n" in unit


def test_systemd_makes_the_user_and_the_directories(tmp_path: Path) -> None:
    """What systemd makes of the files in an empty root is a user without a shell, and directories of its own."""
    if shutil.which("systemd-sysusers") is None or os.geteuid() != 0:
        return
    (tmp_path / "etc").mkdir()
    made = run("systemd-sysusers", f"--root={tmp_path}", CONTRIB / "systemd" / "cachew.sysusers")
    assert made.returncode == 0, made.stderr
    (line,) = re.findall(r"^cachew:.*", (tmp_path / "etc" / "passwd").read_text(), re.M)
    _, _, uid, gid, _, home, shell = line.split(":")
    assert (home, shell) == ("/var/lib/cachew", "/usr/sbin/nologin")
    made = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", CONTRIB / "systemd" / "cachew.tmpfiles")
    assert made.returncode == 0, made.stderr
    for name, mode, owner in (("etc/cachew", 0o40750, 0), ("var/lib/cachew", 0o40700, int(uid))):
        status = (tmp_path / name).stat()
        assert (status.st_mode, status.st_uid, status.st_gid) == (mode, owner, int(gid)), name


def test_a_rotated_log_is_opened_anew() -> None:
    """logrotate has the server open the file that it was told to log to, by the signal that has it do so."""
    text = (CONTRIB / "logrotate" / "cachew").read_text()
    assert "--logfile=/var/log/cachew/cachew.log)" in text and text.count("/var/log/cachew/cachew.log {") == 1
    (command,) = re.findall(r"^\s+postrotate\n(.*?)^\s+endscript$", text, re.M | re.S)
    assert run("sh", "-nc", command).returncode == 0 and "kill -HUP" in command
    pages = (ROOT / "docs" / "install.md").read_text()
    (options,) = re.findall(r"^/opt/cachew/bin/twistd (.*--logfile.*) cachew", pages, re.M)
    assert options.split() == ["--pidfile=/run/cachew/twistd.pid", "--logfile=/var/log/cachew/cachew.log"]


def test_compose_configures_what_there_is_to_configure() -> None:
    """The replicas' environment is a config without mistakes, with the store as the last tier, behind the proxy."""
    document: Any = yaml.safe_load((CONTRIB / "docker" / "compose.yaml").read_text())
    replicas = {name: one for name, one in document["services"].items() if name.startswith("cachew-")}
    assert len(replicas) == 3
    proxy = (CONTRIB / "docker" / "nginx-replicas.conf").read_text()
    for name, replica in replicas.items():
        environ = {key: re.sub(r"\$\{.*\}", "a-secret", str(value)) for key, value in replica["environment"].items()}
        settings = load("", environ=environ)
        assert [tier.backend for tier in settings.cache] == ["disk", "s3"]
        assert settings.access.proxies and settings.listen == ("tcp:8080",)
        assert f"server {name}:8080" in proxy
    assert {volume.split(":")[0] for one in replicas.values() for volume in one["volumes"]} < set(document["volumes"])


def test_the_image_starts_what_is_there() -> None:
    """The image is no root's, has an init, a health check and a volume, and configures by keys that exist."""
    text = (CONTRIB / "docker" / "Dockerfile").read_text()
    for needed in ("USER 10001", "/usr/bin/tini", "HEALTHCHECK", "VOLUME /var/lib/cachew", "git-lfs", "twistd"):
        assert needed in text
    (line,) = re.findall(r"^ENV (.*)$", text, re.M)
    settings = load("", environ=dict(word.split("=", 1) for word in line.split()))
    assert (str(settings.state), settings.listen, settings.log_format) == ("/var/lib/cachew", ("tcp:8080",), "json")


def test_proxies_pass_on_what_counts() -> None:
    """Each example tells the server who the client is and that it came by TLS, limits no body and waits for clones."""
    for name in ("nginx.conf", "../docker/nginx-replicas.conf"):
        text = (CONTRIB / "proxies" / name).read_text()
        for needed in (
            "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id", "client_max_body_size 0", "proxy_buffering off",
            "proxy_request_buffering off", "proxy_set_header Host $http_host",
        ):  # fmt: skip
            assert needed in text, name
    haproxy = (CONTRIB / "proxies" / "haproxy.cfg").read_text()
    for needed in ("option forwardfor", "X-Forwarded-Proto https", "X-Request-Id", "GET /_readiness"):
        assert needed in haproxy
    assert "reverse_proxy 127.0.0.1:8080" in (CONTRIB / "proxies" / "Caddyfile").read_text()


def test_replicas_get_each_repository_by_its_name() -> None:
    """The proxy's map gives every request for one repository the same name, whatever is asked of it."""
    text = (CONTRIB / "docker" / "nginx-replicas.conf").read_text()
    (pattern,) = re.findall(r"~(\^/git/\S+) \$git_host/\$git_path", text)
    expression = re.compile(pattern.replace("(?<", "(?P<"))
    for path in (
        "/git/h/o/r.git/info/refs", "/git/h/o/r/git-upload-pack", "/git/h/o/r/snapshot.tar.zst",
        "/git/h/o/r.git/info/lfs/objects/batch", "/git/h/o/r/bundle-list", "/git/h/o/r/ensure-refs",
    ):  # fmt: skip
        found = expression.match(path)
        assert found is not None and (found["git_host"], found["git_path"]) == ("h", "o/r"), path


def rendered() -> dict[tuple[str, str], Any]:
    """What the chart makes of its example, by kind and name."""
    documents = yaml.safe_load_all((CONTRIB / "helm" / "rendered.yaml").read_text())
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


def test_the_rendered_chart_is_that_of_the_sources() -> None:
    """What ``scripts/chart`` has written is of the chart and the values as they are."""
    files = [CONTRIB / "helm" / "example-values.yaml", *(CONTRIB / "helm" / "cachew").rglob("*")]
    names = sorted(path.relative_to(ROOT).as_posix() for path in files if path.is_file())
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in names)).hexdigest()
    assert digest in (CONTRIB / "helm" / "rendered.yaml").read_text().splitlines()[1]


def test_the_chart_runs_what_there_is() -> None:
    """Its config is one without mistakes, its probes ask what there is, and its pods may do little."""
    found = rendered()
    (pods,) = (one["spec"]["template"]["spec"] for (kind, _), one in found.items() if kind == "StatefulSet")
    (container,) = pods["containers"]
    environ = {one["name"]: one["value"] for one in container["env"]}
    settings = load(found["ConfigMap", "cachew"]["data"]["cachew.toml"], environ=environ)
    assert (str(settings.state), str(settings.admin.token_file)) == ("/var/lib/cachew", "/etc/cachew-admin/token")
    assert settings.shutdown_readiness_delay + settings.shutdown_timeout < pods["terminationGracePeriodSeconds"]
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    files = {"/etc/cachew/cachew.toml", "/etc/cachew-admin", "/etc/cachew/github-app"}
    assert mounted == {"/var/lib/cachew", "/tmp", *files}
    asked = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")]
    assert asked == ["/_readiness", "/_liveness", "/_readiness"]
    assert container["securityContext"]["readOnlyRootFilesystem"] and pods["securityContext"]["runAsNonRoot"]
    assert "requiredDuringSchedulingIgnoredDuringExecution" in pods["affinity"]["podAntiAffinity"]
    assert found["PodDisruptionBudget", "cachew"]["spec"]["maxUnavailable"] == 1


def test_the_ingress_sends_each_repository_to_one_pod() -> None:
    """The first group of the path's expression is the repository's name, whatever is asked of it."""
    ingress = rendered()["Ingress", "cachew"]
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/upstream-hash-by"] == "$1"
    first, other = (one["path"] for one in ingress["spec"]["rules"][0]["http"]["paths"])
    for asked in ("/info/refs", ".git/git-upload-pack", "/snapshot.tar.zst", "/bundle-list", "/info/lfs/objects/batch"):
        found = re.match(first, f"/git/h/o/r{asked}")
        assert found is not None and found[1] == "h/o/r", asked
    assert re.match(other, "/api/v1/stats")


def test_the_debian_package_is_that_of_the_unit() -> None:
    """Its scripts are valid, its config is one without mistakes, and it owns what the unit runs and what it purges."""
    debian = CONTRIB / "debian"
    for script in ("postinst", "prerm", "postrm"):
        assert run("sh", "-n", debian / script).returncode == 0
    settings = load((debian / "cachew.toml").read_text(), environ={})
    assert str(settings.state) == "/var/lib/cachew"
    unit = (CONTRIB / "systemd" / "cachew.service").read_text()
    assert "/opt/cachew/bin/twistd" in unit and "home=$root/opt/cachew" in (ROOT / "scripts" / "deb").read_text()
    (conffile,) = (debian / "conffiles").read_text().split()
    assert f"--config {conffile} " in unit
    assert "rm -rf /var/lib/cachew /etc/cachew\n" in (debian / "postrm").read_text()
