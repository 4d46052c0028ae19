"""Loading and exporting metadata definitions, on a MariaDB and a PostgreSQL."""

from __future__ import annotations

import pytest

from glancetx.config.settings import DatabaseSettings
from tests.unit.cli.test_metadefs import *

del database, test_without_a_database, test_file_names


@pytest.fixture(name="database")
def on_server(settings: DatabaseSettings) -> DatabaseSettings:
    """In place of an SQLite file."""
    return settings
