# A private organisation: docs/private.md, with a stand-in forge that wants the token s3same.
mkdir -p /srv/private && cd /srv/private
printf s3same >forge-token
cat >cachew.toml <<'TOML'
listen = ["tcp:8081:interface=127.0.0.1"]
[upstreams."git.example"]
url = "http://127.0.0.1:3000/"
forge = "gitea"
[[credentials]]
kind = "token"
url-prefix = "http://127.0.0.1:3000/acme/"
token-file = "/srv/private/forge-token"
[[prefetch]]
repositories = ["git.example/acme/*"]
TOML
/opt/cachew/bin/twistd --nodaemon --pidfile= cachew --config cachew.toml >server.log 2>&1 & server=$!
until_ready http://127.0.0.1:8081/_readiness
# Both repositories of the organisation are mirrored before anybody asks.
export CACHEW_URL=http://127.0.0.1:8081 CACHEW_ADMIN_TOKEN_FILE=state/admin-token
until_true '[ $(cachew admin repositories --state ready | wc -l) = 2 ]'
cachew admin repositories --state ready | sed 's/  *[0-9]* s  */ /' | sort
# A developer without a credential is refused, one with his own is let in.
git config --global url."http://127.0.0.1:8081/git/git.example/".insteadOf https://git.example/
GIT_TERMINAL_PROMPT=0 git ls-remote https://git.example/acme/web 2>&1 | tail -1
server_address=http://127.0.0.1:8081/git/git.example/
git config --global http.$server_address.extraHeader "Authorization: Basic $(printf %s x:s3same | base64 -w0)"
git clone -q https://git.example/acme/web clone
git -C clone log --oneline | wc -l
git -C clone commit -q --allow-empty -m pushed
git -C clone push -q
git ls-remote /srv/forge/acme/web.git main | cut -c1-40 >there && git -C clone rev-parse HEAD | diff - there && echo pushed
git config --global --unset http.$server_address.extraHeader
git config --global --unset url."http://127.0.0.1:8081/git/git.example/".insteadOf
ended $server
grep -c 's3same\|Traceback' server.log || true
