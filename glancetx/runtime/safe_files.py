"""Small files that are whole or absent, whatever happens meanwhile. Blocking: never in the reactor thread."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write *content* so that *path* holds the old or the new content at any moment, and durably the new at the end.

    The caller keeps others from replacing the same file (`exclusive`).
    """
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        give_to_owner_of(path.parent, descriptor)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(fresh, path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make *path*, and what is missing above it, for the owner only; leave what is there as it is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    give_to_owner_of(path.parent, path)


def give_to_owner_of(folder: Path, path: Path | int) -> None:
    """Let root's new files belong to whom their folder belongs, so that a service that is not root can use them."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def sync_folder(folder: Path) -> None:
    """Make names that were added or removed in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file *path*, waiting for whoever holds it; it is released when its holder dies, however."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        give_to_owner_of(path.parent, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
