# A CI job on a runner with nothing but git, zstd, curl and Python: docs/ci.md.
mkdir -p /srv/ci && cd /srv/ci
cat >cachew.toml <<'TOML'
[upstreams."git.example"]
url = "http://127.0.0.1:3000/"
TOML
/opt/cachew/bin/twistd --nodaemon --pidfile= cachew --config cachew.toml >server.log 2>&1 & server=$!
until_ready http://127.0.0.1:8080/_readiness
export HOME=/srv/ci/runner PATH=/srv/ci/runner/.local/bin:/usr/bin:/bin CACHEW=http://127.0.0.1:8080 TOKEN=s3same
mkdir runner
# The job's checkout, with the runner's token.
git config --global url."$CACHEW/git/git.example/".insteadOf https://git.example/
git config --global http."$CACHEW/git/git.example/".extraHeader "Authorization: Basic $(printf %s "x:$TOKEN" | base64 -w0)"
git clone -q --depth 1 https://git.example/acme/web web
git -C web log --oneline | wc -l
# A workspace from a snapshot, with the client that the server hands out.
curl -fsSL "$CACHEW/client/install.sh" | sh >/dev/null
cachew --url "$CACHEW" git restore https://git.example/public/tool workspace 2>/dev/null
git -C workspace status --short | wc -l
# Dependencies under a key: 2 when nothing was kept.
export CACHEW_URL=$CACHEW CACHEW_AUTHORIZATION="Bearer $(cat state/admin-token)"
cachew restore node modules --key one 2>/dev/null || echo "status $?"
mkdir modules && echo dependency >modules/a
cachew save node modules --key one 2>/dev/null
rm -r modules
cachew restore node modules --key one 2>/dev/null && cat modules/a
ended $server
grep -c 's3same\|Traceback' server.log || true
