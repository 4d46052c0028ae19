"""Files of many formats through the API: what is not what it is said to be, or points elsewhere, is not kept."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
import pytest_twisted

from tests.disks import Sample, made_by_hand, made_by_qemu
from tests.functional.test_import import ended, nothing_staged, stage, staged, start_import
from tests.running import Api


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Sample]:
    return [*made_by_hand(), *made_by_qemu(tmp_path_factory.mktemp("disks"))]


@pytest_twisted.ensureDeferred
async def test_uploads(api: Api, samples: Sequence[Sample]) -> None:
    """What is refused is answered 415 with the reason, is queued again, and leaves nothing."""
    for sample in samples:
        image_id = await api.create(disk_format=sample.declared)
        reply = await api.upload(image_id, sample.content)
        image = await api.show(image_id)
        if sample.refused is None:
            assert (reply.status, image["status"]) == (204, "active"), sample.name
        else:
            assert (reply.status, image["status"], image["size"]) == (415, "queued", None), sample.name
            assert re.search(sample.refused, reply.json["message"]), sample.name
        await api.request("DELETE", f"/v2/images/{image_id}")
        assert api.stored() == []


@pytest_twisted.ensureDeferred
async def test_imports(api: Api, samples: Sequence[Sample]) -> None:
    """The task of an import says the reason, and the image is queued again."""
    for sample in samples:
        image_id = await api.create(disk_format=sample.declared)
        assert (await stage(api, image_id, sample.content)).status == 204
        assert (await start_import(api, image_id)).status == 202
        task, image = await ended(api, image_id), await api.show(image_id)
        if sample.refused is None:
            assert (task["status"], image["status"]) == ("success", "active"), sample.name
        else:
            assert (task["status"], image["status"]) == ("failure", "queued"), sample.name
            assert re.search(sample.refused, task["message"]), sample.name
        await nothing_staged(api)
        await api.request("DELETE", f"/v2/images/{image_id}")
        assert api.stored() == []
    assert staged(api) == []
