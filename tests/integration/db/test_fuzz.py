"""The functional tests of this name, on a MariaDB and a PostgreSQL."""

from tests.functional.test_fuzz import *
