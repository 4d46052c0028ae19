"""Files that are whole or absent."""

from __future__ import annotations

import stat
from pathlib import Path

from glancetx.runtime.safe_files import make_folder, replace_file


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """It is another file afterwards; nothing else is left."""
    path = tmp_path / "x"
    replace_file(path, b"one")
    inode = path.stat().st_ino
    replace_file(path, b"two", 0o644)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"two", 0o644)
    assert path.stat().st_ino != inode
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_no_obstacle(tmp_path: Path) -> None:
    """The next writer takes it over, with the right mode."""
    left = tmp_path / ".x.new"
    left.write_bytes(b"half of it, and more than that")
    left.chmod(0o666)
    replace_file(tmp_path / "x", b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600


def test_folders_are_made_for_their_owner(tmp_path: Path) -> None:
    """Those that are missing; others stay as they are."""
    tmp_path.chmod(0o755)
    make_folder(tmp_path / "a" / "b")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")] == [
        0o755,
        0o700,
        0o700,
    ]
