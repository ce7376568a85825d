#!/bin/sh
# Installs the cachew client and git-remote-cachew for the user who runs it.
#   curl -fsSL SERVER/client/install.sh | sh
# CACHEW_URL names another server than the one that has sent this, CACHEW_PREFIX another place than ~/.local.
set -eu

server=${CACHEW_URL:-@SERVER@}
prefix=${CACHEW_PREFIX:-${HOME:+$HOME/.local}}
digest=@DIGEST@
# There are no secrets in it, and what is installed into /usr/local is for everybody.
umask 022

fail() {
    echo "cachew: $1" >&2
    exit 1
}

case $prefix in
    "") fail "HOME is not set: CACHEW_PREFIX says where to install instead" ;;
    /*) ;;
    *) prefix=$PWD/$prefix ;;
esac

python=
for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9; do
    if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
        python=$("$name" -c 'import sys; print(sys.executable)')
        break
    fi
done
[ -n "$python" ] || fail "Python 3.9 or newer is needed, and there is none on the PATH"
"$python" -c 'import zstandard' 2>/dev/null || "$python" -c 'import compression.zstd' 2>/dev/null ||
    command -v zstd >/dev/null 2>&1 || fail "zstd is needed: install the program, or zstandard for $python"
[ -n "$server" ] || fail "say where the server is: CACHEW_URL=http://cachew.example sh install.sh"

place=$prefix/share/cachew
mkdir -p "$prefix/bin" "$prefix/share"
new=$(mktemp -d "$prefix/share/cachew.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

"$python" - "$server/client/cachew.pyz" "$digest" "$new" <<'END' || fail "nothing was installed"
import hashlib, io, sys, urllib.request, zipfile
url, digest, place = sys.argv[1:]
try:
    data = urllib.request.urlopen(url, timeout=60).read()
except OSError as error:
    sys.exit(f"cachew: {url}: {error}")
if hashlib.sha256(data).hexdigest() != digest:
    sys.exit(f"cachew: {url} is not what this script was made for: get the script again")
zipfile.ZipFile(io.BytesIO(data)).extractall(place)
END
"$python" -m compileall -q "$new" >/dev/null 2>&1 || true
mkdir "$new/bin"
chmod 755 "$new"

# Every fetch waits for the helper's start, which looks for libraries only when it needs one. A first line that names the
# interpreter is short and has no blanks; else the shell starts it, from a line that Python takes for a text.
case $python in
    *[!A-Za-z0-9._/+-]*) begin=sh ;;
    *) [ ${#python} -le 120 ] && begin=python || begin=sh ;;
esac
for name in cachew git-remote-cachew; do
    flags=-S
    [ "$name" = cachew ] || flags=-ES
    {
        if [ $begin = python ]; then
            echo "#!$python $flags"
        else
            printf "#!/bin/sh\n'''exec' '%s' %s \"\$0\" \"\$@\"\n' '''\n" "$python" "$flags"
        fi
        cat <<'END'
import os, sys
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
from cachew.cli.standalone import main
main()
END
    } >"$new/bin/$name"
    chmod 755 "$new/bin/$name"
done

rm -rf "$place.old"
[ ! -e "$place" ] || mv "$place" "$place.old"
mv "$new" "$place"
trap - EXIT
rm -rf "$place.old"
for name in cachew git-remote-cachew; do
    ln -sf "$place/bin/$name" "$prefix/bin/.$name.new"
    mv -f "$prefix/bin/.$name.new" "$prefix/bin/$name"
done
echo "cachew is in $prefix/bin."
case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) echo "Put it on your PATH:  export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
echo "Then:  cachew git setup $server --fast  and clone as ever."
