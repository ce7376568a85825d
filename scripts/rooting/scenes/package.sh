# The Debian package: installed, started under its user, upgraded, removed, purged.
apt-get install -y -q --no-install-recommends /dist/cachewd_*-1~deb*.deb >/tmp/apt.log 2>&1
getent passwd cachew | cut -d: -f6,7
stat -c '%U %a %n' /var/lib/cachew /etc/cachew
cat >>/etc/cachew/cachew.toml <<'TOML'
[upstreams."git.example"]
url = "http://127.0.0.1:3000/"
TOML
setpriv --reuid cachew --regid cachew --clear-groups /opt/cachew/bin/twistd cachew --config /etc/cachew/cachew.toml --check
setpriv --reuid cachew --regid cachew --clear-groups env HOME=/var/lib/cachew \
    /opt/cachew/bin/twistd --nodaemon --pidfile= cachew --config /etc/cachew/cachew.toml >/tmp/server.log 2>&1 & server=$!
until_ready http://127.0.0.1:8080/_readiness
git clone -q http://127.0.0.1:8080/git/git.example/public/tool /tmp/clone
git -C /tmp/clone log --oneline | wc -l
export CACHEW_URL=http://127.0.0.1:8080 CACHEW_ADMIN_TOKEN_FILE=/var/lib/cachew/admin-token
until_true 'cachew admin repositories --state ready | grep tool'
cachew admin repositories | sed 's/  *[0-9]* s  */ /'
ended $server
grep -c Traceback /tmp/server.log || true
# An upgrade keeps the changed config and the state.
dpkg -i /dist/cachewd_*-2~deb*.deb >/tmp/dpkg.log 2>&1
dpkg-query -W -f '${Status} ${Version}\n' cachewd
grep -c git.example /etc/cachew/cachew.toml
ls /var/lib/cachew/mirrors
# Removed, what was configured and kept stays; purged, nothing does but the user.
dpkg --remove cachewd >/tmp/dpkg.log 2>&1
ls -d /etc/cachew/cachew.toml /var/lib/cachew/admin-token
dpkg --purge cachewd >/tmp/dpkg.log 2>&1
ls -d /opt/cachew /etc/cachew /var/lib/cachew /usr/bin/cachew 2>&1 | grep -vc 'No such file' || true
getent passwd cachew | cut -d: -f1
