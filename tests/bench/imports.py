"""How fast imports are: ``python -m tests.bench.imports [MiB]``.

web-download against curl and the two hashes one after the other, of a file that nginx serves; glance-direct into two
stores against a real Glance's into one. What is compared runs in turns, since other work on the machine varies.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

from tests.bench.images import write_random
from tests.needs import program
from tests.ports import free_port
from tests.running import DATA, Daemon
from tests.services.glance import RealGlance, find_venv
from tests.services.programs import Processes, answers

TURNS = 3
TRUSTED = {"X-Identity-Status": "Confirmed", "X-Roles": "admin,member", "X-Project-Id": "p", "X-User-Id": "u"}
STORES = """
[DEFAULT]
enabled_backends = {names}
enabled_import_methods = [glance-direct,web-download]
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {folder}/fast
[cheap]
filesystem_store_datadir = {folder}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[import_filtering_opts]
allowed_hosts = 127.0.0.1
allowed_ports = {port}
"""


def ask(port: int, method: str, path: str, document: object = None) -> dict[str, object]:
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    body = None if document is None else json.dumps(document)
    connection.request(method, path, body, TRUSTED | {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 300, (path, answer.status, text)
    connection.close()
    found: dict[str, object] = json.loads(text) if text else {}
    return found


def create(port: int) -> str:
    return str(ask(port, "POST", "/v2/images", {"disk_format": "raw", "container_format": "bare"})["id"])


def imported(port: int, image_id: str, document: object) -> float:
    """The seconds from the request to the active image, which is deleted then."""
    began = time.monotonic()
    ask(port, "POST", f"/v2/images/{image_id}/import", document)
    while (image := ask(port, "GET", f"/v2/images/{image_id}"))["status"] != "active":
        assert image["status"] in ("importing", "uploading"), image
        time.sleep(0.02)
    seconds = time.monotonic() - began
    while "os_glance_import_task" in ask(port, "GET", f"/v2/images/{image_id}"):
        time.sleep(0.1)  # Glance is not through yet
    ask(port, "DELETE", f"/v2/images/{image_id}")
    return seconds


def staged(port: int, file: Path) -> str:
    image_id = create(port)
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    with file.open("rb") as data:
        length = {"Content-Type": DATA, "Content-Length": str(file.stat().st_size)}
        connection.request("PUT", f"/v2/images/{image_id}/stage", data, TRUSTED | length)
        assert connection.getresponse().status == 204
    return image_id


def by_hand(url: str, target: Path) -> float:
    """curl, then md5, then sha512."""
    began = time.monotonic()
    for command in (["curl", "-s", "-o", str(target), url], ["md5sum", str(target)], ["sha512sum", str(target)]):
        subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - began
    target.unlink()
    return seconds


def start_nginx(folder: Path, port: int) -> Processes:
    places = " ".join(f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    server = f"server {{ listen 127.0.0.1:{port}; sendfile on; root {folder}/served; }}"
    text = f"user root; pid {folder}/pid; events {{}} http {{ access_log off; {places} {server} }}"
    (folder / "nginx.conf").write_text(text)
    processes = Processes(folder)
    command: list[str | Path] = [program("nginx"), "-p", folder, "-c", folder / "nginx.conf"]
    processes.start("nginx", [*command, "-e", folder / "error.log", "-g", "daemon off;"], answers(port))
    return processes


def compare(what: str, ours: Callable[[], float], theirs: Callable[[], float], size: int) -> None:
    pairs = [(ours(), theirs()) for _ in range(TURNS)]
    ratio = statistics.median(other / mine for mine, other in pairs)
    mine, other = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(f"{what}: {size / mine:.0f} MiB/s against {size / other:.0f} MiB/s: {ratio:.2f}", flush=True)


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    with tempfile.TemporaryDirectory(prefix="glancetx-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("served", "ours", "theirs"):
            (folder / each).mkdir()
        file, port = folder / "served" / "image", free_port()
        write_random(file, size * 1024**2)
        nginx = start_nginx(folder, port)
        daemon = Daemon(folder / "ours")
        daemon.configure(STORES.format(names="fast:file, cheap:file", folder=folder / "ours", port=port))
        daemon.configure("[glancetx]\nauthentication = trusted\n")
        options = STORES.format(names="fast:file", folder=folder / "theirs", port=port)
        glance = RealGlance(find_venv(), folder / "theirs", options)
        try:
            daemon.start()
            glance.start()
            url = f"http://127.0.0.1:{port}/image"
            web = {"method": {"name": "web-download", "uri": url}}
            direct = {"method": {"name": "glance-direct"}}
            fetch = lambda: imported(daemon.port, create(daemon.port), web)  # noqa: E731
            compare("web-download against curl, md5 and sha512", fetch, lambda: by_hand(url, folder / "curl"), size)
            two = lambda: imported(daemon.port, staged(daemon.port, file), {**direct, "all_stores": True})  # noqa: E731
            one = lambda: imported(glance.port, staged(glance.port, file), direct)  # noqa: E731
            compare("glance-direct to two stores against Glance's to one", two, one, size)
        finally:
            daemon.stop()
            glance.stop()
            nginx.stop()


if __name__ == "__main__":
    main()
