"""``twistd glancetx``: its options, and the service they make."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted.application.service import IService
from twisted.python.usage import Options as UsageOptions

from glancetx.runtime.memory import loading

if TYPE_CHECKING:
    from glancetx.config.settings import Settings


def _count(text: str) -> int:
    """:raises ValueError: if it is no number of processes."""
    if (number := int(text)) < 0:
        raise ValueError("there cannot be fewer than none")
    return number


class Options(UsageOptions):
    """What ``twistd glancetx`` understands. Everything else is in the configuration files."""

    synopsis = "[options]"
    longdesc = "Without any option and configuration file it serves https://127.0.0.1:9292 from one data directory."
    optParameters = [
        ["workers", "w", None, "Processes that serve; 0: this one. [default: 0]", _count],
        ["data-dir", "d", None, "Folder of everything that no configuration file names."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.folders: list[str] = []
        self.listen: list[str] = []

    def opt_config_file(self, path: str) -> None:
        """Configuration file, such as glance-api.conf; may be repeated, later ones win."""
        self.files.append(os.path.abspath(path))

    def opt_config_dir(self, path: str) -> None:
        """Folder whose *.conf files are read; may be repeated."""
        self.folders.append(os.path.abspath(path))

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen, as a Twisted endpoint: ssl:9292, tcp:9292:interface=127.0.0.1; may be repeated."""
        self.listen.append(endpoint)

    def load(self) -> Settings:
        """Read the files anew."""
        from glancetx.config.loading import load_settings  # with which a mistyped option need not wait

        return load_settings(
            self.files, self.folders, data_dir=self["data-dir"], listen=self.listen, workers=self["workers"]
        )

    def arguments(self) -> list[str]:
        """The same options again, for worker processes."""
        repeated = [("config-file", self.files), ("config-dir", self.folders), ("listen", self.listen)]
        found = [f"--{name}={value}" for name, values in repeated for value in values]
        return found + ([f"--data-dir={os.path.abspath(self['data-dir'])}"] if self["data-dir"] else [])


def makeService(options: Options) -> IService:
    """Called by twistd in the foreground; it forks, binds and drops privileges afterwards."""
    with loading():  # most of what is loaded to start is loaded here
        from glancetx.process import make_service

        return make_service(options.load, options.arguments())
