"""What somebody at a terminal sees while the real clients send and receive: bars that grow, from nothing to 100 %."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cloud import ALICE, Client, Cloud

SIZE = 24 * 1024 * 1024
RAW = ("--disk-format", "raw", "--container-format", "bare")


@pytest.fixture(scope="module")
def alice(cloud: Cloud) -> Client:
    (cloud.folder / "in.raw").write_bytes(os.urandom(SIZE))
    return cloud.client(ALICE)


def check_bar(seen: str) -> None:
    """It is drawn again and again on one line, never shrinks, and is full in the end."""
    bars = re.findall(r"\[(=*>?) *\] *(\d+)%", seen)
    percents = [int(percent) for _, percent in bars]
    assert len(percents) > 10, seen
    assert all(before <= after for before, after in pairwise(percents)), percents
    assert percents[0] < 50
    assert percents[-1] == 100
    assert all(len(before) <= len(after) for (before, _), (after, _) in pairwise(bars))
    assert "\r" in seen


def check_data(cloud: Cloud, seen: str) -> str:
    """The id that was printed; that image has the data."""
    found = re.search(r"\| id +\| ([0-9a-f-]{36}) ", seen)
    assert found is not None, seen
    assert (cloud.daemon.images / found[1]).read_bytes() == (cloud.folder / "in.raw").read_bytes()
    return found[1]


def test_openstack_create(alice: Client, cloud: Cloud) -> None:
    """``openstack image create --progress``."""
    seen = alice.watch("openstack", "image", "create", "--progress", "--file", "in.raw", *RAW, "x")
    check_bar(seen)
    check_data(cloud, seen)


def test_glance_create_and_download(alice: Client, cloud: Cloud, tmp_path: Path) -> None:
    """``glance image-create --progress``, and ``image-download --progress``, which needs the Content-Length."""
    seen = alice.watch("glance", "image-create", "--progress", "--file", "in.raw", *RAW)
    check_bar(seen)
    image_id = check_data(cloud, seen)
    check_bar(alice.watch("glance", "image-download", "--progress", "--file", str(tmp_path / "out.raw"), image_id))
    assert (tmp_path / "out.raw").read_bytes() == (cloud.folder / "in.raw").read_bytes()


def test_glance_upload(alice: Client) -> None:
    """``glance image-upload --progress``."""
    (image_id,) = re.findall(r"\| id +\| (\S+) ", alice.glance("image-create", *RAW))
    check_bar(alice.watch("glance", "image-upload", "--progress", "--file", "in.raw", image_id))
    assert "active" in alice.glance("image-show", image_id)
