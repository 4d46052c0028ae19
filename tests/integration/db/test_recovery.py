"""The tests of this name, on a MariaDB and a PostgreSQL."""

from tests.unit.transfer.test_recovery import *
