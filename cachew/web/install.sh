#!/bin/sh
# Installs the cachew client and git-remote-cachew for the user who runs it.
#   curl -fsSL SERVER/client/install.sh | sh
# CACHEW_URL names another server than the one that has sent this, CACHEW_PREFIX another place than ~/.local.
set -eu

server=${CACHEW_URL:-@SERVER@}
prefix=${CACHEW_PREFIX:-$HOME/.local}
digest=@DIGEST@

fail() {
    echo "cachew: $1" >&2
    exit 1
}

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

# Every fetch waits for the helper's start, which looks for libraries only when it needs one.
for name in cachew git-remote-cachew; do
    flags=" -S"
    [ "$name" = cachew ] || flags=" -ES"
    cat >"$new/bin/$name" <<END
#!$python$flags
import sys
sys.path.insert(0, "$place")
from cachew.cli.standalone import main
main()
END
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
