"""The tests of this name, on a MariaDB and a PostgreSQL."""

from tests.unit.db.test_writing import *
