"""The functional tests of this name that need the database most, on a MariaDB and a PostgreSQL."""

from tests.functional.test_strays import (
    test_found,
    test_pages,
    test_removed_by_itself,
    test_somebody_has_it_by_now,
    test_what_somebody_may_be_about_to_have,
)

__all__ = [
    "test_found",
    "test_pages",
    "test_removed_by_itself",
    "test_somebody_has_it_by_now",
    "test_what_somebody_may_be_about_to_have",
]
