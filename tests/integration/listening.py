"""A listener of the real oslo.messaging, in Glance's environment: what it heard, as it came."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any

# Writes each notification as a line of JSON: all that oslo.messaging hands to an endpoint.
LISTENER = """
import json, sys
from oslo_config import cfg
import oslo_messaging

class Endpoint:
    def note(self, context, publisher_id, event_type, payload, metadata, priority):
        heard = json.dumps([priority, context, publisher_id, event_type, payload, metadata])
        sys.stdout.write("=>" + heard + "\\n")  # at once: several threads write
        sys.stdout.flush()
    def info(self, *heard):
        self.note(*heard, "info")
    def error(self, *heard):
        self.note(*heard, "error")

url, exchange, topic, *overrides = sys.argv[1:]
conf = cfg.ConfigOpts()
conf([], project="listener")
transport = oslo_messaging.get_notification_transport(conf, url=url)
for override in overrides:
    name, value = override.split("=")
    conf.set_override(name, value == "true", "oslo_messaging_rabbit")
target = oslo_messaging.Target(topic=topic, exchange=exchange)
server = oslo_messaging.get_notification_listener(transport, [target], [Endpoint()], executor="threading")
server.start()
print("ready", flush=True)
server.wait()
"""


class Listener:
    """Listens at the broker *url* from `start` to `stop`."""

    def __init__(
        self, venv: Path, url: str, *overrides: str, exchange: str = "glance", topic: str = "notifications"
    ) -> None:
        command = [str(venv / "bin" / "python"), "-W", "ignore", "-c", LISTENER, url, exchange, topic, *overrides]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: Queue[str] = Queue()
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        while (line := self._line(60)) != "ready":
            assert self._process.poll() is None, self._said
            self._said.append(line)

    def hear(self, count: int, patience: float = 60.0) -> list[dict[str, Any]]:
        """The next *count* notifications, in the order of their timestamps."""
        heard: list[dict[str, Any]] = []
        deadline = time.monotonic() + patience
        while len(heard) < count:
            line = self._line(deadline - time.monotonic())
            if line.startswith("=>"):
                names = ("priority", "context", "publisher_id", "event_type", "payload", "metadata")
                heard.append(dict(zip(names, json.loads(line[2:]), strict=True)))
            else:
                self._said.append(line)
        return sorted(heard, key=lambda each: str(each["metadata"]["timestamp"]))

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _line(self, patience: float) -> str:
        try:
            return self._lines.get(timeout=max(0.0, patience))
        except Empty:
            raise AssertionError(f"Nothing more was heard; it said: {self._said[-20:]}") from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._process.stdout.close()
