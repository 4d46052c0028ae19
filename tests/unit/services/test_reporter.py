"""What a process tells of itself, to Prometheus and to the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from twisted.internet.task import Clock

from glancetx.db.census import Census
from glancetx.db.claims import Claims, this_process
from glancetx.db.engine import Engine
from glancetx.runtime.metrics import SECONDS, UNSEEN, Metrics
from glancetx.runtime.threads import Threads
from glancetx.services.pulse import INTERVAL, Pulse
from glancetx.services.reporter import Reporter, numbers
from glancetx.testing.database import fresh_database

STATUS: dict[str, Any] = {"runs": 3, "running": False, "last_error": None, "found": {"corrupt": 2}}


@pytest_twisted.async_yield_fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    from twisted.internet import reactor

    async with fresh_database(reactor, tmp_path) as engine:  # type: ignore[arg-type]
        yield engine


@pytest_twisted.ensureDeferred
async def test_a_report_is_read_by_others_and_by_prometheus(engine: Engine) -> None:
    """It stands beside the process until that is gone; the numbers of it are gauges."""
    from twisted.internet import reactor

    process, claims, census, metrics = this_process(), Claims(engine), Census(engine), Metrics()
    await claims.register(process)
    pools = [Threads(reactor, "files", 3)]  # type: ignore[arg-type]
    reporter = Reporter(Clock(), census, process.id, metrics, pools, lambda: {"auditor": STATUS})
    for _ in range(2):
        await reporter.run_once()
    (found,) = (await census.facts()).processes
    assert (found.id, found.report) == (process.id, {"services": {"auditor": STATUS}})
    text = metrics.exposed().decode()
    assert 'glancetx_service{fact="found_corrupt",service="auditor"} 2.0' in text
    assert 'glancetx_pool_calls{pool="files",what="waiting"} 0.0' in text
    await claims.retire(process)
    other = this_process()
    await claims.register(other)
    await census.report(other.id, {})
    assert [(each.id, each.report) for each in (await census.facts()).processes] == [(other.id, {})]
    assert await engine.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM glancetx_reports").scalar()) == 1


def test_what_is_a_number() -> None:
    """Texts and nothing are not; what is nested has both names."""
    assert dict(numbers(STATUS)) == {"runs": 3.0, "running": 0.0, "found_corrupt": 2.0}


def test_the_pulse_tells_how_late_it_is() -> None:
    """A timer that comes two seconds late is two seconds of lag, and requests are counted; a stopped pulse has no timer
    left.
    """
    clock, metrics = Clock(), Metrics()
    pulse = Pulse(clock, metrics)
    pulse.startService()
    clock.advance(INTERVAL)
    metrics.request_begun()
    metrics.request_ended("GET", "/", 200, 0.004)
    clock.advance(INTERVAL + 2.0)
    labels = {"method": "GET", "route": "/", "status": "200"}
    assert metrics._registry.get_sample_value("glancetx_request_seconds_count", labels) == 1  # another worker may ask
    pulse.stopService()
    assert clock.getDelayedCalls() == []
    lines = dict(line.rsplit(" ", 1) for line in metrics.exposed().decode().splitlines() if not line.startswith("#"))
    assert float(lines["glancetx_event_loop_lag_seconds_count"]) == 2
    assert abs(float(lines["glancetx_event_loop_lag_seconds_sum"]) - 2.0) < 1e-6


def test_routes_and_transfers_are_counted() -> None:
    """By route, not by URL; under way is what has begun and not ended."""
    metrics = Metrics()
    for _ in range(3):
        metrics.request_begun()
    for _ in range(2):
        metrics.request_ended("GET", "/v2/images/<image_id>", 200, 0.004)
    metrics.transferred("upload", "cheap", 1000, "whole")
    text = metrics.exposed().decode()
    assert 'glancetx_request_seconds_count{method="GET",route="/v2/images/<image_id>",status="200"} 2.0' in text
    assert "glancetx_requests_under_way 1.0" in text
    assert 'glancetx_transferred_bytes_total{direction="upload",store="cheap"} 1000.0' in text


def test_times_are_counted_as_prometheus_does() -> None:
    """Each in the bucket of its bound, which belongs to it, and what is beyond the last one in that without."""
    metrics, registry = Metrics(), CollectorRegistry()
    theirs = Histogram("theirs", "", buckets=SECONDS, registry=registry)
    for seconds in (0.0, 0.001, 0.0011, 600.0, 601.0, *([0.3] * UNSEEN)):
        theirs.observe(seconds)
        metrics.request_begun()
        metrics.request_ended("GET", "/", 200, seconds)
    shown = [
        line.rsplit(" ", 1)[1] for line in metrics.exposed().decode().splitlines() if "request_seconds_bucket" in line
    ]
    assert shown == [
        line.rsplit(" ", 1)[1] for line in generate_latest(registry).decode().splitlines() if "_bucket" in line
    ]
