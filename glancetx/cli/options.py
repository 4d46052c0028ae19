"""Options that several programs have."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from glancetx.config.loading import find_tool_files, load_settings
from glancetx.config.settings import Settings

program_version: Final = click.version_option(package_name="glancetx", message="%(version)s")


def config_files(command: Callable[..., None]) -> Callable[..., None]:
    """Where the configuration is, as *files* and *folders*."""
    path = click.Path(path_type=Path)
    folders = click.option("--config-dir", "folders", multiple=True, type=path, help="May be repeated.")
    files = click.option("--config-file", "files", multiple=True, type=path, help="May be repeated.")
    return files(folders(command))


def settings_of(program: str, files: Sequence[Path], folders: Sequence[Path]) -> Settings:
    """What `config_files` say; without any, what Glance's *program* would read.

    :raises ConfigurationError: as `load_settings`.
    """
    return load_settings(files or ([] if folders else find_tool_files(os.environ, program)), folders)
