"""A real Ceph cluster on loopback: a monitor, a manager and an OSD on a sparse file, a pool and a user for images."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glancetx.config.store_settings import RbdSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.stores.rbd_cluster import binding
from tests.needs import lacking
from tests.ports import free_port
from tests.services.processes import find_program

PROGRAMS = ("ceph", "ceph-authtool", "ceph-mgr", "ceph-mon", "ceph-osd", "monmaptool", "rbd")
USER = "images"
FIXED = ("rbd_children", "rbd_directory", "rbd_info", "rbd_trash")
PATIENCE = 120.0
"""Seconds a daemon has to answer."""
GIB = 1024**3


class Ceph:
    """One cluster with all it keeps in *folder*. The user ``images`` may do there what an image service has to.

    Data is in memory, unless there is a *disk* of so many bytes, a sparse file.
    """

    def __init__(self, disk: int = 0) -> None:
        self._programs = {name: find_program(name, "/usr/bin", "/usr/sbin") for name in PROGRAMS}
        try:
            self.rados, self.rbd = binding("rados"), binding("rbd")
        except ConfigurationError as error:
            lacking(str(error))
        self.folder = Path(tempfile.mkdtemp(prefix="ceph-"))  # short: there are Unix sockets in it
        self.config = self.folder / "ceph.conf"
        self.fsid = str(uuid.uuid4())
        self._disk = disk
        self._monitors = f"[v2:127.0.0.1:{free_port()},v1:127.0.0.1:{free_port()}]"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Make the cluster, and wait until images can be kept in it."""
        try:
            self._configure()
            self._make_monitor()
            self._spawn("ceph-mon", "a")
            self._wait(lambda: self.command("mon", "stat"))
            self._make_osd()
            self._spawn("ceph-osd", "0")
            (self.folder / "mgr").mkdir()
            self._spawn("ceph-mgr", "x")
            self.make_pool("images")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it, and forget all it has kept."""
        for daemon in self._daemons.values():  # nothing is to be kept, so nobody waits for a farewell
            daemon.kill()
            daemon.wait()
        self._daemons.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def freeze(self) -> None:
        """Let every daemon stand still, so that nothing is answered; `thaw` lets them go on."""
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> Any:
        """What ``ceph`` answers, as the administrator."""
        out = self._run("ceph", "--connect-timeout", "10", *words, "--format", "json")
        return json.loads(out) if out.strip() else None

    def make_pool(self, name: str) -> None:
        """A pool with one replica, ready for images."""
        self._wait(lambda: self.command("osd", "pool", "create", name, "8"))
        self._wait(lambda: self._run("rbd", "pool", "init", name))

    def settings(self, **changes: Any) -> RbdSettings:
        """Those of a store in this cluster."""
        values: dict[str, Any] = {"ceph_conf": self.config, "user": USER, "timeout": 60}
        return RbdSettings(**(values | changes))

    @contextmanager
    def pool(self, name: str = "images") -> Iterator[Any]:
        """A pool, as Ceph's own client sees it."""
        patience = dict.fromkeys(("rados_osd_op_timeout", "rados_mon_op_timeout"), f"{PATIENCE:.0f}")
        client = self.rados.Rados(conffile=str(self.config), rados_id=USER, conf=patience)
        with client, client.open_ioctx(name) as pool:
            yield pool

    def objects(self, name: str = "images") -> list[str]:
        """Everything there is in a pool, but for what is there without any image."""
        with self.pool(name) as pool:
            return sorted(found.key for found in pool.list_objects() if found.key not in FIXED)

    def clear(self, name: str = "images") -> None:
        """Remove all images."""
        images = self.rbd.RBD()
        with self.pool(name) as pool:
            for each in images.list(pool):
                with self.rbd.Image(pool, each) as image:
                    for snapshot in list(image.list_snaps()):
                        if image.is_protected_snap(snapshot["name"]):
                            image.unprotect_snap(snapshot["name"])
                        image.remove_snap(snapshot["name"])
                images.remove(pool, each)

    def _configure(self) -> None:
        self.config.write_text(
            textwrap.dedent(
                f"""
                [global]
                fsid = {self.fsid}
                mon host = {self._monitors}
                public addr = 127.0.0.1
                cluster addr = 127.0.0.1
                keyring = {self.folder}/$name.keyring
                mon data = {self.folder}/mon
                osd data = {self.folder}/osd
                mgr data = {self.folder}/mgr
                log file = {self.folder}/$name.log
                admin socket = {self.folder}/$name.asok
                run dir = {self.folder}
                crash dir =
                paxos propose interval = 0.02
                paxos min wait = 0.01
                mon allow pool size one = true
                mon allow pool delete = true
                mon data avail crit = 1
                mon data avail warn = 2
                mon tick interval = 1
                mgr tick period = 1
                mgr stats period = 1
                objecter tick interval = 1
                osd client watch timeout = 4
                # Of it a part is how long an OSD that was frozen may still be read from; beyond it stays "laggy".
                osd heartbeat grace = 3600
                osd pool default size = 1
                osd pool default min size = 1
                osd pool default pg autoscale mode = off
                osd crush chooseleaf type = 0
                osd memory target = 1073741824
                osd objectstore = {"bluestore" if self._disk else "memstore"}
                bluestore block size = {self._disk}
                memstore device bytes = {2 * GIB}
                debug none = 0/0
                [client]
                log file =
                admin socket =
                """
            )
        )

    def _make_monitor(self) -> None:
        (self.folder / "mon").mkdir()
        every = str(self.folder / "all.keyring")
        entities = {
            "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
            f"client.{USER}": {"mon": "profile rbd", "osd": "profile rbd", "mgr": "profile rbd"},
            "osd.0": {"mon": "profile osd", "osd": "allow *", "mgr": "allow profile osd"},
            "mgr.x": {"mon": "allow profile mgr", "osd": "allow *"},
        }
        self._make_key(every, "mon.", {"mon": "allow *"})
        for name, rights in entities.items():
            keyring = str(self.folder / f"{name}.keyring")
            self._make_key(keyring, name, rights)
            self._run("ceph-authtool", every, "--import-keyring", keyring)
        monitors = str(self.folder / "monmap")
        self._run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", self._monitors, monitors)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monitors, "--keyring", every)

    def _make_key(self, keyring: str, name: str, rights: dict[str, str]) -> None:
        capabilities = [word for kind, right in rights.items() for word in ("--cap", kind, right)]
        self._run("ceph-authtool", keyring, "--create-keyring", "--gen-key", "-n", name, *capabilities)

    def _make_osd(self) -> None:
        identity, folder = str(uuid.uuid4()), self.folder / "osd"
        folder.mkdir()
        self.command("osd", "new", identity, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity, "--no-mon-config")
        shutil.copy(self.folder / "osd.0.keyring", folder / "keyring")

    def _run(self, program: str, *words: str) -> str:
        command = [self._programs[program], "-c", str(self.config), *words]
        if program in ("ceph-authtool", "monmaptool"):
            del command[1:3]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=self.folder)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def _spawn(self, program: str, name: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as log:
            self._daemons[program] = subprocess.Popen(
                [self._programs[program], "-f", "-c", str(self.config), "-i", name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "HOME": str(self.folder)},
            )

    def _wait(self, ready: Callable[[], object]) -> None:
        """Until it does not raise."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for program, daemon in self._daemons.items():
                out = self.folder / f"{program}.out"
                assert daemon.poll() is None, f"{program} ended: {out.read_text(errors='replace')[-3000:]}"
            try:
                ready()
                return
            except (AssertionError, subprocess.TimeoutExpired) as error:
                if time.monotonic() > deadline:
                    raise AssertionError("Ceph does not answer") from error
            time.sleep(0.1)
