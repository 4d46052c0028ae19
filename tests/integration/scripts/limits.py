"""What a project may have by Keystone's unified limits, and what it is told when it wants more.

Rows: A-140, A-203, C-131, C-132, P-004.
"""

from __future__ import annotations

from tests.integration.replaying import OWNER, Ask
from tests.integration.scripts.imports import run, stage, wait
from tests.integration.scripts.records import FORMATS, create, item, upload
from tests.running import DATA

MIB = 1024 * 1024
REGISTERED = {"image_size_total": 2, "image_stage_total": 2, "image_count_total": 6, "image_count_uploading": 1}
AT_ONCE = {"status": "told at once", "message": "by the task there", "content-type": "it is an error"}
USAGE = Ask("GET", "/v2/info/usage", caller=OWNER)


def announced(number: int, size: int) -> Ask:
    """An upload that says it will be so large, and is refused before that is seen."""
    sent = {"Content-Type": DATA, "X-Openstack-Image-Size": str(size)}
    return Ask("PUT", f"{item(number)}/file", body=b"x", headers=sent, caller=OWNER)


LIMITED = [
    USAGE,
    *(create(number, **FORMATS) for number in range(1, 8)),
    USAGE,
    announced(1, 3 * MIB),
    upload(1, bytes(MIB)),
    USAGE,
    announced(2, 2 * MIB),
    Ask("GET", item(2), caller=OWNER),
    stage(2, b"x", X_Openstack_Image_Size=str(3 * MIB)),
    stage(2, bytes(MIB)),
    USAGE,
    stage(3, b"x", X_Openstack_Image_Size=str(2 * MIB)),
    upload(3, b"x"),
    stage(3, b"x"),
    Ask("GET", item(3), caller=OWNER),
    run(2),
    wait(2),
    USAGE,
    announced(4, MIB),
    Ask("DELETE", item(1), caller=OWNER),
    upload(4, bytes(MIB)),
    USAGE,
    stage(5, bytes(MIB)),
    run(5, differs=AT_ONCE),
    Ask("GET", item(5), caller=OWNER, until={"os_glance_import_task": None}, differs={"body": "it is still staged"}),
]
