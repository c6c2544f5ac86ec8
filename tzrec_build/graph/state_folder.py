"""Where state and locks lie: beside the workspace, or in the user's state folder when the workspace is on a network file system.

SQLite's write-ahead log needs memory that all its processes share, and flock does not always reach another machine.
"""

from __future__ import annotations

import os

REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "gpfs", "glusterfs", "beegfs", "afs", "coda"),
        *(
            "fuse",
            "fuse.sshfs",
            "fuse.s3fs",
            "fuse.gcsfuse",
            "fuse.glusterfs",
            "fuse.juicefs",
            "fuse.ossfs",
            "fuse.ceph",
        ),
        *("fuse.rclone", "fuse.goofys", "fuse.blobfuse2", "orangefs", "pvfs2", "panfs"),
    }
)  # types as /proc/self/mountinfo calls them
_MOUNTS = "/proc/self/mountinfo"


def state_folder(root: str) -> str:
    """Folder of state, locks and frozen code for the checkout at `root`; not made here."""
    workspace = os.path.join(root, "workspace")
    if not is_remote(workspace):
        return os.path.join(workspace, ".state")
    import hashlib

    home = os.environ.get("XDG_STATE_HOME", "")
    base = home if os.path.isabs(home) else os.path.expanduser("~/.local/state")
    return os.path.join(base, "tzrec-build", hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:16])


def is_remote(path: str) -> bool:
    """Whether a folder (or the nearest one above it that is there) lies on a network file system."""
    return file_system(path) in REMOTE


def file_system(path: str) -> str:
    """Type of the file system that a path is or will be on; "" when it cannot be told."""
    while True:
        try:
            dev = os.stat(path).st_dev
            break
        except OSError:
            if path == os.path.dirname(path):
                return ""
            path = os.path.dirname(path)
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return ""
    at = text.find(f" {os.major(dev)}:{os.minor(dev)} ")  # btrfs shows other numbers here: not found, and local
    return "" if at < 0 else text[text.find(" - ", at) + 3 :].split(" ", 1)[0]
