"""``/metrics`` and ``glancetx status``, of real daemons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from prometheus_client.parser import text_string_to_metric_families

from tests.nursery import run_command
from tests.running import DATA, Daemon

PATIENCE = 60.0


def values(daemon: Daemon) -> dict[tuple[str, str], float]:
    """The samples by name and by one label that tells most."""
    status, body = daemon.call("GET", "/metrics")
    assert status == 200
    families = text_string_to_metric_families(body.decode())
    return {
        (sample.name, ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def counted(daemon: Daemon, name: str, labels: str, expected: float) -> dict[tuple[str, str], float]:
    """All samples, as soon as this one is as expected: who has its answer may ask before that is counted."""
    deadline = time.monotonic() + PATIENCE
    while (found := values(daemon)).get((name, labels)) != expected:
        assert time.monotonic() < deadline, found
    return found


def upload(daemon: Daemon, data: bytes) -> str:
    document = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    image_id: str = json.loads(daemon.call("POST", "/v2/images", document, Content_Type="application/json")[1])["id"]
    assert daemon.call("PUT", f"/v2/images/{image_id}/file", data, Content_Type=DATA)[0] == 204
    return image_id


def glancetx(daemon: Daemon, *words: str, whole: bool = False) -> subprocess.CompletedProcess[str]:
    config = daemon.folder / "glance-api.conf"
    return run_command("glancetx", *words, "--config-file", config, whole=whole, environ={"COLUMNS": "250"})


def test_workers_count_together(daemon: Daemon) -> None:
    """Whichever is asked tells of all, of the dead ones too; what these were doing does not count any more."""
    daemon.start("--workers", "2")
    image_id = upload(daemon, b"x" * 1000)
    for _ in range(20):
        assert daemon.call("GET", f"/v2/images/{image_id}/file") == (200, b"x" * 1000)
    assert daemon.call("GET", "/v2/images/nonsense")[0] == 404
    counted(daemon, "glancetx_transferred_bytes_total", "direction=download,store=default", 20_000)
    counted(daemon, "glancetx_transfers_total", "direction=upload,how=whole,store=default", 1)
    route = "method=GET,route=/v2/images/<image_id>,status=404"
    found = counted(daemon, "glancetx_request_seconds_count", route, 1)
    assert not any(image_id in labels or "nonsense" in labels for _, labels in found)
    facts = json.loads(glancetx(daemon, "status", "--json").stdout)
    os.kill(facts["processes"][0]["pid"], signal.SIGKILL)
    counted(daemon, "glancetx_transferred_bytes_total", "direction=download,store=default", 20_000)


def test_metrics_are_for_those_near(daemon: Daemon) -> None:
    """What came through a proxy gets the 404 of what is not there; so does everybody where nobody may ask."""
    daemon.start()
    assert daemon.call("GET", "/metrics")[0] == 200
    assert daemon.call("GET", "/metrics", X_Forwarded_For="203.0.113.1")[0] == 404
    assert daemon.call("GET", "/metrics", Forwarded="for=203.0.113.1")[0] == 404
    daemon.stop()
    daemon.configure("[glancetx]\nmetrics_sources =\n")
    daemon.start()
    assert daemon.call("GET", "/metrics")[0] == 404


def test_status_of_a_living_service_and_of_a_dead_one(daemon: Daemon) -> None:
    """Processes, leases, services and copies, read from the database; the exit status tells whether all is well."""
    daemon.configure("[glancetx]\naudit_period = 0\n")
    daemon.start()
    upload(daemon, b"y" * 10)
    deadline = time.monotonic() + PATIENCE
    while "auditor" not in json.loads((shown := glancetx(daemon, "status", "--json")).stdout)["leases"]:
        assert time.monotonic() < deadline, shown
    facts = json.loads(shown.stdout)
    (process,) = facts["processes"]
    assert (process["pid"], process["lives"]) == (daemon.pid, True)
    assert facts["leases"]["auditor"] == process["id"]
    while "reaper" not in (table := glancetx(daemon, "status")).stdout:
        assert time.monotonic() < deadline, table
    assert table.returncode == 0
    assert str(daemon.pid) in table.stdout
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    assert glancetx(daemon, "status", "--config-dir", str(daemon.folder / "none")).returncode != 0
    daemon.start()
    daemon.stop()
    assert glancetx(daemon, "status", whole=True).returncode == 1
