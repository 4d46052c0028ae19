"""The functional tests of this name that need the database most, on a MariaDB and a PostgreSQL."""

from tests.functional.test_crash import test_killed_in_recovery

__all__ = ["test_killed_in_recovery"]
