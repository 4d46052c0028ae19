"""An image changes its status only as the status machine allows."""

from __future__ import annotations

import pytest

from glancetx.domain.errors import Invalid, InvalidTransition
from glancetx.domain.image import Image
from glancetx.domain.status import check_transition

# in their words; what is deleted stays so.
STEPS = {
    "queued": "saving uploading importing active deleted",
    "saving": "active killed deleted queued",
    "uploading": "importing queued deleted",
    "importing": "active deleted queued",
    "active": "pending_delete deleted deactivated",
    "killed": "deleted",
    "pending_delete": "deleted active",
    "deactivated": "active deleted",
    "deleted": "",
}
READY = Image(id="1", disk_format="raw", container_format="bare", size=1, virtual_size=2)


def test_to_saving() -> None:
    """Queued images with formats may be saved."""
    assert READY.to("saving").status == "saving"


def test_saving_needs_formats() -> None:
    """Without formats there is no data."""
    with pytest.raises(Invalid, match="disk_format, container_format"):
        Image(id="1").to("saving")


def test_back_in_the_queue_without_sizes() -> None:
    """What was measured of data that is gone is forgotten."""
    queued = READY.to("saving").to("queued")
    assert (queued.size, queued.virtual_size) == (None, None)


@pytest.mark.parametrize("current", STEPS)
@pytest.mark.parametrize("wanted", STEPS)
def test_every_step(current: str, wanted: str) -> None:
    """A step is allowed exactly if the contract has it, or if it is none (A-080 to A-089)."""
    if wanted == current or wanted in STEPS[current].split():
        check_transition(current, wanted)
    else:
        with pytest.raises(InvalidTransition):
            check_transition(current, wanted)
