"""The clients of the benchmark, as calls: each runs its client processes to the end, or raises BenchFailure."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import asdict, frozen

from tests.bench.hammer import Order, Outcome
from tests.bench.processes import ROOT, BenchFailure
from tests.bench.slow import Crowd, Progress

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@frozen(kw_only=True)
class Rate:
    """Requests a second, and the seconds in which half and 99 of 100 requests were answered."""

    per_second: float
    p50: float
    p99: float


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"tests.bench.{name}", *arguments]


def _start(arguments: Sequence[str], takes_input: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE if takes_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _collect(clients: Sequence[subprocess.Popen[str]], seconds: float) -> list[str]:
    """What each printed, when all have ended; none survives this call."""
    deadline = time.monotonic() + seconds
    printed = []
    try:
        for client in clients:
            output, errors = client.communicate(timeout=max(0.1, deadline - time.monotonic()))
            if client.returncode:
                raise BenchFailure(f"{Path(str(client.args[0])).name}: {errors.strip()[-300:]}")  # type: ignore[index]
            printed.append(output)
    except subprocess.TimeoutExpired:
        raise BenchFailure(f"clients did not end within {seconds:.0f} s") from None
    finally:
        for client in clients:
            if client.poll() is None:
                client.kill()
                client.wait()
    return printed


def get_repeatedly(
    url: str, seconds: float, connections: int = 16, script: Path | None = None, token: str = ""
) -> Rate:
    """As many GETs of *url* as *connections* bring home in *seconds* (wrk); a *script* of wrk's may vary them."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "--latency", url]
    command += ["--script", str(script)] if script is not None else []
    command += ["--header", f"X-Auth-Token: {token}"] if token else []
    (output,) = _collect([_start(command)], seconds + 15)
    if "Non-2xx" in output:
        raise BenchFailure(f"{url}: {output[output.index('Non-2xx') :].splitlines()[0]}")
    percentiles = dict(re.findall(r"^ +(50|99)% +([\d.]+(?:us|ms|s|m))$", output, re.MULTILINE))
    found = re.search(r"Requests/sec: +([\d.]+)", output)
    if found is None:
        raise BenchFailure(f"wrk says: {output}")
    p50, p99 = (_duration(percentiles.get(wanted, "0s")) for wanted in ("50", "99"))
    return Rate(per_second=float(found[1]), p50=p50, p99=p99)


def _duration(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def hammer(order: Order) -> tuple[Rate, Outcome]:
    """Carry out *order* in a process of its own; the rate is that of the 2xx answers, the rest are in the outcome."""
    client = _start(_module("hammer"), takes_input=True)
    assert client.stdin is not None
    client.stdin.write(json.dumps(asdict(order)))
    client.stdin.flush()
    (output,) = _collect([client], order.seconds + 20)
    outcome = Outcome(**json.loads(output))
    latencies = sorted(outcome.latencies)
    if not latencies:
        raise BenchFailure(f"{order.method} {order.path}: {outcome.failures or 'no answer'}")
    count = len(latencies)
    rate = Rate(
        per_second=count / outcome.seconds, p50=latencies[count // 2], p99=latencies[min(count - 1, count * 99 // 100)]
    )
    return rate, outcome


def upload(port: int, paths: Sequence[str], file: Path, seconds: float) -> float:
    """PUT *file* to each of *paths* at the same time; returns the seconds until the last was answered."""
    clients = [_start(_module("sender", str(port), path, str(file), str(seconds))) for path in paths]
    elapsed = []
    for output in _collect(clients, seconds + 5):
        status, _, took = output.strip().partition(" ")
        if not status.startswith("2"):
            raise BenchFailure(f"upload answered {status}")
        elapsed.append(float(took))
    return max(elapsed)


def download(url: str, clients: int, repeats: int, length: int, seconds: float) -> None:
    """*clients* curl processes at once, each reading *url* *repeats* times over one connection."""
    target = [part for _ in range(repeats) for part in ("-o", "/dev/null", url)]
    command = ["curl", "-sS", "-k", "--fail", "--max-time", f"{seconds:g}", "-w", "%{size_download}\n", *target]
    for output in _collect([_start(command) for _ in range(clients)], seconds + 5):
        if output.split() != [str(length)] * repeats:
            raise BenchFailure(f"{url}: curl received {output.split()}, not {length} bytes each time")


def download_each(urls: Sequence[str], length: int, seconds: float) -> None:
    """One curl process for each of *urls*, all at once."""
    command = ["curl", "-sS", "--fail", "--max-time", f"{seconds:g}", "-w", "%{size_download}", "-o", "/dev/null"]
    for output in _collect([_start([*command, url]) for url in urls], seconds + 5):
        if output != str(length):
            raise BenchFailure(f"curl received {output}, not {length} bytes")


def digest_of(url: str, seconds: float) -> str:
    """The sha512 of what *url* answers."""
    digest = hashlib.sha512()
    command = ["curl", "-sS", "-k", "--fail", "--max-time", f"{seconds:g}", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as client:
        assert client.stdout is not None
        while piece := client.stdout.read(1024 * 1024):
            digest.update(piece)
    return digest.hexdigest()


class SlowClients:
    """A crowd that is under way; `dismiss` ends it and tells what it saw."""

    def __init__(self, client: subprocess.Popen[str], ready: float) -> None:
        self._client = client
        self.ready = ready
        self.progress = Progress()

    def dismiss(self) -> Progress:
        """Close the crowd's connections."""
        if self._client.poll() is None:
            (output,) = _collect([self._client], 30)
            self.progress = Progress(**json.loads(output))
        return self.progress


@contextmanager
def slow_clients(crowd: Crowd) -> Iterator[SlowClients]:
    """A crowd at work in a process of its own, from the moment all are under way or have lost patience."""
    client = _start(_module("slow"), takes_input=True)
    try:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(json.dumps(asdict(crowd)) + "\n")
        client.stdin.flush()
        line = client.stdout.readline()
        if not line:
            raise BenchFailure(f"slow clients: {client.communicate()[1][-300:]}")
        yield SlowClients(client, json.loads(line)["ready"])
    finally:
        if client.poll() is None:
            client.kill()
        client.communicate()
