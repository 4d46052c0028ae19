"""``glancetx-cache-manage`` and the real glanceclient's ``cache-*`` commands, against a service with a cache.

Contract rows P-082.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from glancetx.cli.cache import main
from tests.cloud import ADMIN, ALICE, Client, Cloud
from tests.nursery import run_command

CONTENT = os.urandom(100_000)
UNKNOWN = "0f44c25c-d457-4b7e-bbdb-39a4fdd6ae88"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A daemon with built-in accounts and a cache that fetches only when it is asked to."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    cloud.daemon.configure(
        f"""
        [DEFAULT]
        image_cache_dir = {cloud.folder}/cache
        image_cache_max_size = 10
        [glancetx]
        cache_interval = 0
        """
    )
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="module")
def image(cloud: Cloud) -> str:
    (cloud.folder / "in.raw").write_bytes(CONTENT)
    made = ("--disk-format", "raw", "--container-format", "bare", "--file", "in.raw")
    printed = cloud.client(ALICE).glance("image-create", *made)
    return next(line.split("|")[2].strip() for line in printed.splitlines() if line.startswith("| id "))


@pytest.fixture
def admin(cloud: Cloud) -> Client:
    """The administrator, who finds the cache empty."""
    client = cloud.client(ADMIN)
    manage(client, "delete-all-cached-images", "--force")
    manage(client, "delete-all-queued-images", "--force")
    return client


def manage(client: Client, *words: str, answer: str = "", password: bool = False) -> Result:
    """Call the program in this process."""
    who = {"OS_USERNAME": client.user, "OS_PASSWORD": client.password} if password else {"OS_AUTH_TOKEN": client.token}
    arguments = ["--url", client.url, "--os-cacert", str(client.ca), *words]
    return CliRunner().invoke(main, arguments, input=answer, env={**who, "COLUMNS": "40"})


def soon(condition: Callable[[], bool]) -> None:
    latest = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.02)


def cached(cloud: Cloud) -> list[str]:
    return sorted(path.name for path in (cloud.folder / "cache").iterdir() if path.is_file() and "-" in path.name)


def test_life_of_a_cached_image(admin: Client, cloud: Cloud, image: str) -> None:
    """Queued, fetched, listed, and taken out again."""
    assert manage(admin, "list-cached").output == "No cached images.\n"
    assert manage(admin, "list-queued", password=True).output == "No queued images.\n"
    queued = manage(admin, "-f", "-v", "queue-image", image)
    assert (queued.exit_code, queued.output) == (0, f"Queued image {image} for caching\n")
    soon(lambda: cached(cloud) == [image])
    soon(lambda: image in manage(admin, "list-cached").output)
    listed = manage(admin, "list-cached").output.splitlines()
    assert listed[0] == "Found 1 cached images..."
    (row,) = [line for line in listed if image in line]
    assert [cell.strip() for cell in row.strip("│┃").split("│")][-2:] == ["100000", "0"]
    deleted = manage(admin, "delete-cached-image", image, "-fv")
    assert deleted.output == f"Deleted cached image {image}\n"
    assert cached(cloud) == []


def test_queue(admin: Client, cloud: Cloud) -> None:
    """What cannot be fetched stays on the queue until it is taken off."""
    queue = cloud.folder / "cache" / "queue"
    ids = [UNKNOWN.replace("0", digit) for digit in "12"]
    for number, image_id in enumerate(ids):
        (queue / image_id).touch()
        os.utime(queue / image_id, (number, number))
    listed = manage(admin, "list-queued").output
    assert listed.startswith("Found 2 queued images...")
    assert listed.index(ids[0]) < listed.index(ids[1])
    assert manage(admin, "delete-queued-image", "-f", ids[0]).exit_code == 0
    assert [path.name for path in queue.iterdir()] == [ids[1]]
    assert manage(admin, "delete-all-queued-images", "-fv").output == "Deleted 1 queued images\n"


def test_all_and_prune(admin: Client, cloud: Cloud, image: str) -> None:
    """The whole cache is emptied, or shrunk to its limit, or cleaned."""
    manage(admin, "queue-image", image, "-f")
    soon(lambda: cached(cloud) == [image])
    assert manage(admin, "prune").output == "Pruned 1 files of 100000 bytes.\n"
    manage(admin, "queue-image", image, "-f")
    soon(lambda: cached(cloud) == [image])
    assert manage(admin, "delete-all-cached-images", "-vf").output == "Deleted 1 cached images\n"
    (cloud.folder / "cache" / "invalid" / "x").touch()
    assert manage(admin, "clean").exit_code == 0
    assert not (cloud.folder / "cache" / "invalid" / "x").exists()


def test_it_asks(admin: Client, image: str) -> None:
    """Nothing is done unless somebody says yes."""
    result = manage(admin, "queue-image", image, answer="n\n")
    assert (result.exit_code, "Queue image" in result.output) == (0, True)
    assert manage(admin, "list-queued").output == "No queued images.\n"
    assert manage(admin, "delete-cached-image", image, "-v", answer="y\n").output.endswith(f"image {image}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("queue-image",), "the id of one image"),
        (("queue-image", "x"), "not a valid UUID"),
        (("list-cached", UNKNOWN), "no argument"),
        (("nonsense",), "not a valid command"),
        (("list-cached", "--url", "file:///etc/passwd"), "no URL"),
        (("list-cached", "--url", "http://127.0.0.1:9"), "127.0.0.1:9"),
        (("list-cached", "--os-auth-token", "wrong"), "Not authorized"),
    ],
)
def test_errors(admin: Client, words: tuple[str, ...], said: str) -> None:
    """Each is one line, and the exit status is 1."""
    result = manage(admin, *words)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_not_for_everybody(cloud: Cloud) -> None:
    """Policy decides; the program says so."""
    result = manage(cloud.client(ALICE), "list-cached")
    assert (result.exit_code, "not authorized" in result.output) == (1, True)


def test_help(admin: Client) -> None:
    """All commands are named; each says what it does."""
    assert "delete-all-cached-images" in manage(admin).output
    assert manage(admin, "help", "prune").output.startswith("Shrink the cache")


def test_glance_client(admin: Client, cloud: Cloud, image: str) -> None:
    """Every ``cache-*`` command of python-glanceclient."""
    assert image not in admin.glance("cache-list")
    admin.glance("cache-queue", image)
    soon(lambda: cached(cloud) == [image])
    soon(lambda: image in admin.glance("cache-list"))
    assert "https://" in admin.glance("cache-nodes-list", image)
    admin.glance("cache-delete", image)
    assert cached(cloud) == []
    admin.glance("cache-queue", image)
    soon(lambda: cached(cloud) == [image])
    assert "1" in admin.glance("cache-prune")
    admin.glance("cache-clean")
    admin.glance("cache-queue", image)
    soon(lambda: cached(cloud) == [image])
    admin.glance("cache-clear", "--target", "cache")
    assert cached(cloud) == []
    admin.glance("cache-clear")
    assert "403" in cloud.client(ALICE).refused("glance", "cache-list")


def test_one_shot(admin: Client, cloud: Cloud, image: str) -> None:
    """``glancetx-manage run`` prunes from cron, beside the service."""
    manage(admin, "queue-image", image, "-f")
    soon(lambda: cached(cloud) == [image])
    done = run_command("glancetx-manage", "--config-file", cloud.folder / "glance-api.conf", "run", "pruner")
    assert done.returncode == 0, done
    assert done.stdout.startswith("pruner: 1")
    assert cached(cloud) == []
