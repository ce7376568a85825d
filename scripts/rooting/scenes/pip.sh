# By pip, for a trial: docs/quickstart.md.
apt-get install -y -q --no-install-recommends git git-lfs zstd >/tmp/apt.log 2>&1
python3 -m venv /opt/cachew
/opt/cachew/bin/pip install -q /dist/cachewd-*.whl
ln -sf /opt/cachew/bin/cachew /opt/cachew/bin/git-remote-cachew /usr/local/bin/
mkdir -p /srv/trial && cd /srv/trial
cat >cachew.toml <<'TOML'
[upstreams."git.example"]
url = "http://127.0.0.1:3000/"
TOML
/opt/cachew/bin/twistd cachew --config cachew.toml --check
/opt/cachew/bin/twistd --nodaemon --pidfile= cachew --config cachew.toml >server.log 2>&1 & server=$!
until_ready http://127.0.0.1:8080/_readiness
git config --global url."http://127.0.0.1:8080/git/git.example/".insteadOf https://git.example/
git clone -q https://git.example/public/tool clone
cachew git restore https://git.example/public/tool workspace 2>&1 | tail -1
git -C workspace status --short | wc -l
export CACHEW_ADMIN_TOKEN_FILE=state/admin-token
until_true 'cachew admin repositories --state ready | grep tool'
cachew admin repositories | sed 's/  *[0-9]* s  */ /'
cachew doctor 2>/dev/null | grep -c '^ok' | sed 's/^[1-9].*/several things are ok/'
ended $server
grep -c Traceback server.log || true
git config --global --unset url."http://127.0.0.1:8080/git/git.example/".insteadOf
