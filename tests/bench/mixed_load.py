"""Clients who do everything at once to a service that has to bear it: each a thread, one action after the other.

What a client learns of is counted by kind. Faults are expected to be told of (503, a broken connection); wrong bytes
and an error of the service itself (500) never are, and are kept with what was seen.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

from tests.running import DATA, JSON, PATCH

KIB: Final = 1024
MIB: Final = 1024 * KIB
LARGEST: Final = 6 * MIB
KEPT: Final = 60
"""Images above which the oldest are deleted."""
TIMEOUT: Final = 60.0


@define
class Load:
    """All clients of one service: what there is, and what came of it. *block* is what all data is cut from."""

    port: int
    stores: tuple[str, ...]
    source: str
    block: bytes
    over: threading.Event = field(factory=threading.Event)
    counts: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)
    _images: dict[str, str] = field(factory=dict)  # id -> sha256 of its data
    _lock: threading.Lock = field(factory=threading.Lock)

    def client(self, seed: int) -> None:
        """One thread's work, until it is over."""
        chance = random.Random(seed)
        actions = self._actions()
        names, weights = list(actions), [weight for weight, _ in actions.values()]
        while not self.over.is_set():
            name = chance.choices(names, weights)[0]
            try:
                outcome = actions[name][1](chance)
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
            with self._lock:
                self.counts[f"{name}: {outcome}"] += 1

    def _actions(self) -> dict[str, tuple[int, Callable[[random.Random], Any]]]:
        return {
            "upload": (10, self._upload),
            "download": (10, self._download),
            "part": (5, self._part),
            "list": (10, self._list),
            "patch": (8, self._patch),
            "tag": (4, self._tag),
            "delete": (6, self._delete),
            "import staged": (3, self._import_staged),
            "import from web": (3, self._import_from_web),
            "copy": (3, self._copy),
            "slow upload": (2, self._slow_upload),
            "vanishing upload": (4, self._vanishing_upload),
            "slow download": (2, self._slow_download),
            "vanishing download": (4, self._vanishing_download),
        }

    def _call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Accept": JSON, **sent})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status == 500:
            self.wrong.append(f"{method} {path}: 500 {content[:200]!r}")
        return response.status, content

    def _create(self) -> str:
        body = json.dumps({"name": "soak", "disk_format": "raw", "container_format": "bare"}).encode()
        status, answer = self._call("POST", "/v2/images", body, Content_Type=JSON)
        if status != 201:
            raise ConnectionError(f"create: {status}")
        return str(json.loads(answer)["id"])

    def _data(self, chance: random.Random) -> bytes:
        size = chance.choice([chance.randrange(64 * KIB), chance.randrange(MIB), chance.randrange(LARGEST)])
        begin = chance.randrange(len(self.block) - size)
        return self.block[begin : begin + size]

    def _keep(self, image_id: str, data: bytes) -> None:
        with self._lock:
            self._images[image_id] = hashlib.sha256(data).hexdigest()

    def _some(self, chance: random.Random) -> str:
        with self._lock:
            known = list(self._images)
        return chance.choice(known) if known else "0" * 8

    def _upload(self, chance: random.Random) -> int:
        image_id, data = self._create(), self._data(chance)
        headers = {"Content_Type": DATA, "X_Image_Meta_Store": chance.choice(self.stores)}
        status, _ = self._call("PUT", f"/v2/images/{image_id}/file", data, **headers)
        if status == 204:
            self._keep(image_id, data)
        else:
            self._call("DELETE", f"/v2/images/{image_id}")
        return status

    def _download(self, chance: random.Random) -> int:
        image_id = self._some(chance)
        status, data = self._call("GET", f"/v2/images/{image_id}/file")
        expected = self._images.get(image_id)
        if status == 200 and expected is not None and hashlib.sha256(data).hexdigest() != expected:
            self.wrong.append(f"image {image_id}: {len(data)} other bytes than were stored")
        return status

    def _part(self, chance: random.Random) -> int:
        begin = chance.randrange(64 * KIB)
        return self._call("GET", f"/v2/images/{self._some(chance)}/file", Range=f"bytes={begin}-{begin + 65535}")[0]

    def _list(self, chance: random.Random) -> int:
        query = chance.choice(["", "?limit=5", "?status=active&sort=size:desc", "?tag=soak", "?limit=200&name=soak"])
        return self._call("GET", f"/v2/images{query}")[0]

    def _patch(self, chance: random.Random) -> int:
        change = [{"op": "add", "path": f"/soak_{chance.randrange(5)}", "value": str(chance.random())}]
        return self._call("PATCH", f"/v2/images/{self._some(chance)}", json.dumps(change).encode(), Content_Type=PATCH)[
            0
        ]

    def _tag(self, chance: random.Random) -> int:
        method = chance.choice(["PUT", "DELETE"])
        return self._call(method, f"/v2/images/{self._some(chance)}/tags/soak")[0]

    def _delete(self, chance: random.Random) -> int:
        with self._lock:
            image_id = next(iter(self._images), "0" * 8)
            if len(self._images) < KEPT and chance.random() < 0.7:
                return 0
        status = self._call("DELETE", f"/v2/images/{image_id}")[0]
        if status in (204, 404):
            with self._lock:
                self._images.pop(image_id, None)
        return status

    def _import_staged(self, chance: random.Random) -> str | int:
        image_id, data = self._create(), self._data(chance)
        status, _ = self._call("PUT", f"/v2/images/{image_id}/stage", data, Content_Type=DATA)
        return self._finish(image_id, data, {"name": "glance-direct"}, chance) if status == 204 else status

    def _import_from_web(self, chance: random.Random) -> str | int:
        """From a server that breaks off now and then."""
        size = min(LARGEST, 2 * MIB)
        fault = chance.choice(["", "", f"&cutonce={chance.randrange(size)}", "&status=404", "&chunked=1"])
        method = {"name": "web-download", "uri": f"{self.source}/x?soak=1{fault}"}
        return self._finish(self._create(), self.block[:size], method, chance)

    def _finish(self, image_id: str, data: bytes, method: dict[str, str], chance: random.Random) -> str | int:
        body = json.dumps({"method": method, "stores": [chance.choice(self.stores)]}).encode()
        status, _ = self._call("POST", f"/v2/images/{image_id}/import", body, Content_Type=JSON)
        if status != 202:
            self._call("DELETE", f"/v2/images/{image_id}")
            return status
        latest = time.monotonic() + TIMEOUT
        while time.monotonic() < latest and not self.over.is_set():
            status, answer = self._call("GET", f"/v2/images/{image_id}")
            state = json.loads(answer)["status"] if status == 200 else "?"
            if state == "active":
                self._keep(image_id, data)
                return state
            if state == "queued":
                break
            time.sleep(0.2)
        self._call("DELETE", f"/v2/images/{image_id}")
        return "not imported"

    def _copy(self, chance: random.Random) -> int:
        document = {"method": {"name": "copy-image"}, "all_stores": True, "all_stores_must_succeed": False}
        body = json.dumps(document).encode()
        return self._call("POST", f"/v2/images/{self._some(chance)}/import", body, Content_Type=JSON)[0]

    def _sending(self, chance: random.Random, size: int) -> socket.socket:
        """A connection on which an upload of *size* bytes has begun."""
        path = f"/v2/images/{self._create()}/file"
        head = f"PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {DATA}\r\nContent-Length: {size}\r\n"
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        connection.sendall(f"{head}X-Image-Meta-Store: {chance.choice(self.stores)}\r\n\r\n".encode())
        return connection

    def _slow_upload(self, chance: random.Random) -> str:
        data = self.block[: 256 * KIB]
        with self._sending(chance, len(data)) as connection:
            for begin in range(0, len(data), 16 * KIB):
                connection.sendall(data[begin : begin + 16 * KIB])
                time.sleep(0.3)
            return connection.recv(12)[9:].decode()

    def _vanishing_upload(self, chance: random.Random) -> str:
        with self._sending(chance, LARGEST) as connection:
            connection.sendall(self.block[: chance.randrange(LARGEST)])
            if chance.random() < 0.5:  # a reset, and not an end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return "left"

    def _reading(self, chance: random.Random) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)
        connection.settimeout(TIMEOUT)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(f"GET /v2/images/{self._some(chance)}/file HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        return connection

    def _slow_download(self, chance: random.Random) -> str:
        with self._reading(chance) as connection:
            status = connection.recv(12)[9:].decode()
            for _ in range(15):
                connection.recv(8 * KIB)
                time.sleep(0.3)
        return status

    def _vanishing_download(self, chance: random.Random) -> str:
        with self._reading(chance) as connection:
            connection.recv(chance.randrange(1, 64 * KIB))
        return "left"
