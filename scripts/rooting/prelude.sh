# What every scene finds: a forge on 127.0.0.1:3000 with public/tool, and the private acme/web and acme/api.
set -eu
export HOME=/root LANG=C.UTF-8 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example
printf '[safe]\n\tdirectory = *\n' >/root/.gitconfig
python3 /src/scripts/rooting/forge.py /srv/forge 3000 s3same & forge=$!

# Waits until a server is ready: until_ready URL
until_ready() {
    for n in $(seq 150); do
        python3 -c 'import ssl, sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=2, context=ssl._create_unverified_context())' \
            "$1" 2>/dev/null && return
        sleep 0.2
    done
    echo "$1 does not answer"
    exit 1
}
# Waits until a command succeeds: until_true COMMAND
until_true() {
    for n in $(seq 150); do
        eval "$1" >/dev/null 2>&1 && return
        sleep 0.2
    done
    echo "in vain: $1"
    exit 1
}
ended() { kill "$1" && wait "$1" || true; }
trap 'kill $forge $(jobs -p) 2>/dev/null || true' EXIT
