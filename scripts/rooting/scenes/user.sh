# A new user's machine, which is of its own and has git, curl, Python and zstd: the three commands of README.md as they stand there.
apt-get install -y -q --no-install-recommends git curl >/tmp/apt.log 2>&1
mkdir -p /srv/user-server && cd /srv/user-server
git init -q --bare -b main /srv/forge/org/repo.git
python3 - <<'PY' | git -C /srv/forge/org/repo.git fast-import --quiet
for n in range(60000):
    print(f"commit refs/heads/main\ncommitter a <a@example> {1600000000 + n} +0000\ndata 2\nn\n")
    print(f"M 100644 inline {n % 40}/{n % 1000}\ndata 9\n{n:08}\n")
PY
cat >cachew.toml <<'TOML'
[upstreams."github.com"]
url = "http://127.0.0.1:3000/"
[git]
ref-check-interval = "0s"
TOML
python3 -m venv /opt/server
/opt/server/bin/pip install -q /dist/cachewd-*.whl
/opt/server/bin/twistd --nodaemon --pidfile= cachew --config cachew.toml >server.log 2>&1 & server=$!
until_ready http://127.0.0.1:8080/_readiness
curl -fsS -o /dev/null http://127.0.0.1:8080/git/github.com/org/repo/snapshot.tar.zst
until_true 'curl -fsSI http://127.0.0.1:8080/git/github.com/org/repo/snapshot.tar.zst'
# Of a second ago: what the snapshot does not have.
git -C /srv/forge/org/repo.git update-ref refs/heads/main "$(git -C /srv/forge/org/repo.git commit-tree -p main -m new 'main^{tree}')"
mount -t proc proc /srv/user/proc
chroot /srv/user useradd -m user
as_user() { chroot --userspec=user:user /srv/user env -i HOME=/home/user PATH=/usr/bin:/bin "$@"; }
sed -n '/three commands/,/^```$/p' /src/README.md | sed '1,/^```sh$/d; /^```$/d' >/srv/user/tmp/commands.sh
cat /srv/user/tmp/commands.sh
test "$(wc -l </srv/user/tmp/commands.sh)" = 3
as_user GIT_TRACE=/tmp/trace sh -ec 'cd; . /tmp/commands.sh' 2>&1
# It went by way of the helper, and is sound, clean and fresh.
grep -c 'run_command: .*git-\?.*remote-cachew' /srv/user/tmp/trace
as_user git -C /home/user/repo for-each-ref --format='%(refname)' refs/bundles
as_user git -C /home/user/repo fsck --strict --no-progress
as_user git -C /home/user/repo status --short | wc -l
as_user git -C /home/user/repo remote -v
test "$(as_user git -C /home/user/repo rev-parse HEAD)" = "$(git -C /srv/forge/org/repo.git rev-parse main)"
# The least of three clones by way of the helper takes less than half of what the upstream's take.
milliseconds() {
    for n in 1 2 3; do
        rm -rf /srv/user/tmp/clone && begin=$(date +%s%N)
        as_user PATH=/home/user/.local/bin:/usr/bin:/bin git clone -q "$1" /tmp/clone && echo $((($(date +%s%N) - begin) / 1000000))
    done | sort -n | head -1
}
fast=$(milliseconds https://github.com/org/repo) plain=$(milliseconds http://127.0.0.1:3000/org/repo)
awk "BEGIN {print \"it took\", $fast / 1000, \"s, the upstream's took\", $plain / 1000, \"s\"}"
test $((fast * 2)) -lt $plain
as_user PATH=/home/user/.local/bin:/usr/bin:/bin cachew git unsetup
as_user git config --global --list | wc -l
umount /srv/user/proc
ended $server
grep -c Traceback server.log || true
