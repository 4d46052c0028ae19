"""What limits allow, and in which words they refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glancetx.domain.errors import LimitExceeded, ProjectOverLimit, StorageQuotaFull
from glancetx.domain.limits import MIB, UNLIMITED, Limits

QUOTA = Limits(size_total=100)
UNIFIED = Limits(
    size_total=5 * MIB, stage_total=5 * MIB, count_total=3, count_uploading=2, unified=True
)  # fmt: skip


@pytest.mark.parametrize(
    "check",
    [
        lambda: QUOTA.check_size("p", 40, 60),
        lambda: QUOTA.check_size("p", 100, 0),
        lambda: QUOTA.check_size("p", 99, None),
        lambda: UNIFIED.check_size("p", 5 * MIB, None),
        lambda: UNIFIED.check_staging("p", 4 * MIB, MIB),
        lambda: UNIFIED.check_count("p", 2),
        lambda: UNIFIED.check_uploading("p", 2),
        lambda: UNLIMITED.check_size("p", 2**62, 2**62),
        lambda: UNLIMITED.check_staging("p", 2**62, 2**62),
        lambda: UNLIMITED.check_count("p", 10**9),
        lambda: UNLIMITED.check_uploading("p", 10**9),
    ],
)
def test_allowed(check: Callable[[], None]) -> None:
    """Up to the limit, and it included, everything is allowed."""
    check()


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: QUOTA.check_size("p", 40, 61), "The size of the data 61 will exceed the limit. 60 bytes remaining."),
        (lambda: QUOTA.check_size("p", 100, None), "of the data None will exceed the limit. 0 bytes remaining."),
        (lambda: QUOTA.check_size("p", 130, 0), "of the data 0 will exceed the limit. -30 bytes remaining."),
    ],
)
def test_storage_quota(check: Callable[[], None], words: str) -> None:
    """The quota of the options says how many bytes are left, as Glance does."""
    with pytest.raises(StorageQuotaFull) as caught:
        check()
    assert str(caught.value).endswith(words)


@pytest.mark.parametrize(
    ("check", "resource", "limit", "usage", "delta"),
    [
        (lambda: UNIFIED.check_size("p", 5 * MIB, 1), "image_size_total", 5, 5, 1),
        (lambda: UNIFIED.check_size("p", 6 * MIB, None), "image_size_total", 5, 6, 0),
        (lambda: UNIFIED.check_staging("p", MIB, 5 * MIB), "image_stage_total", 5, 1, 5),
        (lambda: UNIFIED.check_count("p", 3), "image_count_total", 3, 3, 1),
        (lambda: UNIFIED.check_uploading("p", 3), "image_count_uploading", 2, 3, 0),
    ],
)
def test_unified(check: Callable[[], None], resource: str, limit: int, usage: int, delta: int) -> None:
    """Keystone's limits are told in oslo.limit's words; sizes are MiB."""
    with pytest.raises(ProjectOverLimit) as caught:
        check()
    assert isinstance(caught.value, LimitExceeded)
    assert str(caught.value).endswith(
        "\n\nThe response body:\nProject p is over a limit for "
        f"[Resource {resource} is over limit of {limit} due to current usage {usage} and delta {delta}]"
    )
