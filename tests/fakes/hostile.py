"""Archives that want to write elsewhere, one trick each."""

import tarfile

from tests.fakes.archives import member

HOSTILE = {
    "absolute": [member("/etc/passwd", b"x")],
    "parent": [member("a/../../x", b"x")],
    "bare parent": [member("..", type=tarfile.DIRTYPE)],
    "long absolute": [member("/" + "x" * 200, b"x")],
    "write through link": [member("l", type=tarfile.SYMTYPE, linkname="/tmp"), member("l/x", b"x")],
    "deep write through link": [member("a/l", type=tarfile.SYMTYPE, linkname=".."), member("a/l/b/c/x", b"x")],
    "replace link": [member("l", type=tarfile.SYMTYPE, linkname="/etc/passwd"), member("l", b"x")],
    "directory over link": [member("l", type=tarfile.SYMTYPE, linkname="/tmp"), member("l/", type=tarfile.DIRTYPE)],
    "hard link outside": [member("h", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "hard link to parent": [member("h", type=tarfile.LNKTYPE, linkname="../../etc/passwd")],
    "hard link through link": [
        member("l", type=tarfile.SYMTYPE, linkname="/etc"),
        member("h", type=tarfile.LNKTYPE, linkname="l/passwd"),
    ],
    "hard link to link": [
        member("l", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("h", type=tarfile.LNKTYPE, linkname="l"),
    ],
    "character device": [member("d", type=tarfile.CHRTYPE)],
    "block device": [member("d", type=tarfile.BLKTYPE)],
    "fifo": [member("d", type=tarfile.FIFOTYPE)],
    "sparse": [member("d", type=tarfile.GNUTYPE_SPARSE)],
    "unknown type": [member("d", type=b"Z")],
    "root as link": [member(".", type=tarfile.SYMTYPE, linkname="/tmp")],
    "link to nothing": [member("l", type=tarfile.SYMTYPE, linkname="")],
    "pax path": [member("fine", b"x", pax_headers={"path": "/etc/passwd"})],
    "pax linkpath": [member("h", type=tarfile.LNKTYPE, linkname="a", pax_headers={"linkpath": "/etc/passwd"})],
    "pax sparse": [member("fine", b"x", pax_headers={"GNU.sparse.major": "1"})],
    "pax NUL": [member("fine", b"x", pax_headers={"path": "a\0b"})],
    "pax size": [member("fine", b"x", pax_headers={"size": "-5"})],
}
