"""The data directories of a file store: which one takes an image, and whether what should be mounted there is.

Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger

from glancetx.config.store_settings import FilesystemSettings
from glancetx.domain.errors import (
    ConfigurationError,
    Conflict,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StoreWriteDenied,
)


class Folders:
    """One directory, or several with priorities (S-023)."""

    def __init__(self, settings: FilesystemSettings) -> None:
        ranked = sorted(settings.datadirs or ((settings.datadir, 0),), key=lambda each: -each[1])
        self._groups: Final = [
            [Path(os.path.abspath(folder)) for folder, _ in group] for _, group in groupby(ranked, lambda each: each[1])
        ]
        self.all: Final = [folder for group in self._groups for folder in group]
        self._settings = settings
        self._metadata: list[dict[str, Any]] = []
        self._log = Logger()

    def prepare(self) -> None:
        """Make the directories that are missing, unless a mark says that they have to be mounted; read the metadata.

        :raises ConfigurationError: if one cannot be made or read, or the metadata are not as they have to be.
        """
        name = self._settings.identifier
        for folder in self.all:
            if not self._is_mounted(folder):
                self._log.error("store {store}: {folder} is not mounted", store=name, folder=str(folder))
                continue
            try:
                folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(
                    f"Store {name}: {folder} is no directory and cannot be made: {error.strerror}"
                ) from error
            if not os.access(folder, os.R_OK | os.X_OK):
                raise ConfigurationError(f"Store {name}: {folder} cannot be read")
            self._let_through(folder)
        if self._settings.metadata_file is not None:
            self._metadata = read_metadata(self._settings.metadata_file, name)

    def choose(self, image_id: str, size: int) -> Path:
        """Where an image of at least *size* bytes goes.

        :raises Conflict: if one of the directories holds it already.
        :raises StoreFull, StoreWriteDenied, StoreUnavailable: if none can take it.
        """
        for folder in self.all:
            if os.path.lexists(folder / image_id):
                raise Conflict("The store holds data of this image already")
        if len(self.all) == 1:
            self.check(self.all[0])
            return self.all[0]
        refusals: list[StoreError] = []
        for group in self._groups:
            rooms = {}
            for folder in group:
                try:
                    rooms[folder] = self._room(folder)
                except StoreError as error:
                    refusals.append(error)
            best = max(rooms, key=lambda folder: rooms[folder], default=None)
            if best is not None and rooms[best] >= max(size, 1):
                return best
            refusals.extend(StoreFull("The store has no room left") for _ in rooms)
        raise next((error for error in refusals if isinstance(error, StoreFull)), refusals[0])

    def check(self, folder: Path) -> None:
        """:raises StoreUnavailable: if something has to be mounted there, and is not."""
        if not self._is_mounted(folder):
            raise StoreUnavailable("The store's disk is not mounted")

    def check_above(self, path: Path) -> None:
        """`check` the data directory that a file lies in, if it is one of ours."""
        for folder in self.all:
            if path.is_relative_to(folder):
                self.check(folder)

    def metadata_of(self, path: Path) -> Mapping[str, Any]:
        """What locations of this file are to tell: the entry of its mount point (S-027)."""
        for entry in self._metadata:
            if str(path).startswith(entry["mountpoint"]):
                return entry
        if self._metadata:
            self._log.error(
                "store {store}: {path} is below no mount point of filesystem_store_metadata_file",
                store=self._settings.identifier,
                path=str(path),
            )
        return {}

    def _room(self, folder: Path) -> int:
        """Bytes that are free."""
        self.check(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StoreWriteDenied("The store may not be written")
        try:
            found = os.statvfs(folder)
        except OSError as error:
            raise StoreUnavailable(f"The file system failed: {error.strerror}") from error
        return found.f_bavail * found.f_frsize

    def _is_mounted(self, folder: Path) -> bool:
        return self._settings.marker is None or os.path.lexists(folder / self._settings.marker)

    def _let_through(self, folder: Path) -> None:
        """Let those into the directory whom the mode of files lets read them."""
        wanted = sum(bit for bits, bit in ((0o070, 0o010), (0o007, 0o001)) if self._settings.file_perm & bits)
        mode = folder.stat().st_mode & 0o7777
        if wanted & ~mode:
            try:
                folder.chmod(mode | wanted)
            except OSError as error:
                self._log.warn("{folder}: its mode cannot be set: {why}", folder=str(folder), why=error.strerror)


def read_metadata(path: Path, store: str) -> list[dict[str, Any]]:
    """The entries of a metadata file: one object, or a list of them, each with texts for ``id`` and ``mountpoint``.

    :raises ConfigurationError: if it is not so.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"Store {store}: filesystem_store_metadata_file {path} cannot be used: {error}"
        ) from error
    entries = found if isinstance(found, list) else [found]
    for entry in entries:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("id", "mountpoint")):
            raise ConfigurationError(f"Store {store}: each entry of {path} needs texts for id and mountpoint")
        if not _is_plain(entry):
            raise ConfigurationError(f"Store {store}: {path} may hold texts, lists and objects only")
    return entries


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str)
