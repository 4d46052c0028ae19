"""Where the data of images lies: shown, changed by patches, and added through the locations API.

Rows: A-022, A-023, A-072, A-073, A-074, A-075, A-076, A-191, A-193.
"""

from __future__ import annotations

from typing import Any

from tests.integration.replaying import ADMIN, OWNER, STRANGER, Ask, image_id
from tests.integration.scripts.records import FORMATS, add, create, item, patch, remove, replace, upload

OPTIONS = "show_multiple_locations = true\nshow_image_direct_url = true"
SECRET = {"message": "locations may hold credentials"}
NOWHERE = "http://127.0.0.1:9/nothing"


def place(url: str, **metadata: Any) -> dict[str, Any]:
    return {"url": url, "metadata": metadata}


def stored(number: int, store: str = "fast", **metadata: Any) -> dict[str, Any]:
    """Where the upload of this image went."""
    return place(f"file://<folder>/{store}/{image_id(number)}", store=store, **metadata)


def show(number: int, caller: str = OWNER) -> Ask:
    return Ask("GET", item(number), caller=caller)


PATCHING = [
    create(1, **FORMATS),
    show(1),
    patch(1, replace("/locations", [])),
    patch(1, add("/locations/-", place(NOWHERE))),
    patch(1, remove("/locations/0")),
    patch(1, remove("/locations/0"), caller=ADMIN),
    upload(1, b"data"),
    show(1),
    show(1, ADMIN),
    Ask("GET", "/v2/images", caller=OWNER),
    patch(1, replace("/locations", [])),
    patch(1, replace("/locations", [stored(1)])),
    patch(1, replace("/locations", [stored(1, note="x")])),
    patch(1, replace("/locations", [stored(1, note="\U0001f600")]), differs={"message": "in other words"}),
    show(1),
    patch(1, replace("/locations", [stored(1), stored(1)]), differs=SECRET),
    patch(1, replace("/locations", [place(NOWHERE)]), differs=SECRET),
    patch(1, replace("/locations", [stored(1), place(NOWHERE)]), differs=SECRET),
    patch(1, replace("/locations", "x")),
    patch(1, replace("/locations", [{"url": "x"}])),
    patch(1, replace("/locations", [{"metadata": {}}])),
    patch(1, replace("/locations", [{"url": 5, "metadata": {}}])),
    patch(1, replace("/locations", [{"url": "x" * 256, "metadata": {}}])),
    patch(1, replace("/locations", [{"url": "x", "metadata": []}])),
    patch(1, replace("/locations/0", stored(1))),
    patch(1, add("/locations", [stored(1)])),
    patch(1, add("/locations/x", stored(1))),
    patch(1, add("/locations/-1", stored(1))),
    patch(1, add("/locations/9", stored(1))),
    patch(1, add("/locations/0", stored(1))),
    patch(1, add("/locations/-", stored(1))),
    patch(1, add("/locations/-", stored(1, "cheap"))),
    patch(1, add("/locations/-", place("file:///etc/passwd"))),
    patch(1, add("/locations/-", place("filesystem:///etc/passwd"))),
    patch(1, add("/locations/-", place("FILE:///etc/passwd"))),
    patch(1, add("/locations/-", place("swift+config://x/y/z"))),
    patch(1, add("/locations/-", place("swift+https://x/y/z"))),
    patch(1, add("/locations/-", place("rbd://a/b/c/d"))),
    patch(1, add("/locations/-", place("cinder://11111111-1111-1111-1111-111111111111"))),
    patch(1, add("/locations/-", place("nothing://x"))),
    patch(1, add("/locations/-", place("nothing"))),
    patch(1, add("/locations/-", place(""))),
    patch(1, add("/locations/-", place(NOWHERE))),
    patch(1, add("/locations/-", place(NOWHERE, store="fast"))),
    patch(1, add("/locations/-", place(NOWHERE, store="nothing"))),
    patch(1, add("/locations/-", "x")),
    patch(1, add("/locations/-", {})),
    patch(1, add("/locations/-", place(NOWHERE) | {"more": 1})),
    patch(1, remove("/locations")),
    patch(1, remove("/locations/0")),
    patch(1, remove("/locations/0"), caller=ADMIN),
    patch(1, remove("/locations/1"), caller=ADMIN),
    patch(1, remove("/locations/x"), caller=ADMIN),
    patch(1, remove("/locations/-"), caller=ADMIN),
    patch(1, remove("/locations/-1"), caller=ADMIN),
    patch(1, remove("/locations/0/x"), caller=ADMIN),
    patch(1, add("/locations/-", place(NOWHERE)), caller=STRANGER),
    show(1),
]

VALIDATION = [
    create(2, **FORMATS),
    *(
        patch(number, add("/locations/-", place(NOWHERE) | {"validation_data": data}))
        for number in (1, 2)
        for data in (
            {},
            {"os_hash_algo": "sha512"},
            {"os_hash_value": "0" * 128},
            {"os_hash_algo": "sha512", "os_hash_value": "0" * 128},
            {"os_hash_algo": "sha512", "os_hash_value": "0" * 127},
            {"os_hash_algo": "sha512", "os_hash_value": "x" * 128},
            {"os_hash_algo": "md5", "os_hash_value": "0" * 32},
            {"os_hash_algo": "sha256", "os_hash_value": "0" * 64},
            {"os_hash_algo": "nothing", "os_hash_value": "0" * 64},
            {"checksum": "0" * 32, "os_hash_algo": "sha512", "os_hash_value": "0" * 128},
            {"checksum": "0" * 31, "os_hash_algo": "sha512", "os_hash_value": "0" * 128},
            {"checksum": "x" * 32, "os_hash_algo": "sha512", "os_hash_value": "0" * 128},
            {"os_hash_algo": "sha512", "os_hash_value": "0" * 128, "more": "x"},
            "x",
        )
    ),
    show(2),
]

STATES = [
    Ask("POST", f"{item(1)}/actions/deactivate", caller=OWNER),
    show(1),
    show(1, ADMIN),
    Ask("GET", "/v2/images", caller=OWNER),
    patch(1, replace("/locations", [stored(1)])),
    patch(1, replace("/locations", [stored(1)]), caller=ADMIN),
    patch(1, add("/locations/-", place(NOWHERE))),
    patch(1, remove("/locations/0"), caller=ADMIN),
    patch(1, replace("/name", "x")),
    Ask("POST", f"{item(1)}/actions/reactivate", caller=OWNER),
    show(1),
]

GETTING = [
    Ask("GET", f"{item(number)}/locations", caller=caller)
    for number in (1, 2, 99)
    for caller in (OWNER, ADMIN, STRANGER, "service")
] + [
    Ask("PUT", f"{item(1)}/locations", caller=OWNER, differs={"allow": "what is allowed"}),
    Ask("DELETE", f"{item(1)}/locations", caller=OWNER, differs={"allow": "what is allowed"}),
]  # fmt: skip

LOCATIONS = [*PATCHING, *VALIDATION, *STATES, *GETTING]

# Under a policy of the operator's own.
RULES = """
get_image_location: "role:admin"
set_image_location: "role:admin"
fetch_image_location: "role:member"
"""
POLICED = [
    create(1, **FORMATS),
    upload(1, b"data"),
    show(1),
    show(1, ADMIN),
    Ask("GET", "/v2/images", caller=OWNER),
    patch(1, replace("/locations", [])),
    patch(1, replace("/locations", [stored(1)])),
    patch(1, replace("/locations", "x")),
    patch(1, add("/locations/-", place(NOWHERE))),
    patch(1, add("/locations/x", place(NOWHERE))),
    patch(1, replace("/locations", [stored(1)]), caller=ADMIN),
    patch(1, replace("/name", "x")),
    Ask("GET", f"{item(1)}/locations", caller=OWNER),
    Ask("GET", f"{item(1)}/locations", caller=ADMIN),
    Ask("GET", f"{item(1)}/file", caller=OWNER),
    Ask("POST", f"{item(1)}/actions/deactivate", caller=OWNER),
    Ask("GET", f"{item(1)}/locations", caller=OWNER),
    Ask("GET", f"{item(1)}/locations", caller=ADMIN),
]

# Where two rules are broken at once, the same one is told.
QUOTAS = "image_member_quota = 1\nimage_location_quota = 1\nimage_tag_quota = 2\nimage_property_quota = 2"
LONG = "x" * 256
BAD = place("foo://x")
MORE_TAGS, MORE_NAMES = {"tags": ["1", "2", "3"]}, {"a": "1", "b": "2", "c": "3"}
SCARCE = [
    create(10, **FORMATS),
    upload(10, b"data"),
    *(
        Ask("POST", f"{item(10)}/members", {"member": member}, caller=caller)
        for member, caller in (("a", OWNER), ("a", OWNER), ("b", OWNER), ("a", STRANGER), ("", OWNER))
    ),
    *(
        Ask("PUT", f"{item(number)}/tags/{tag}", caller=caller)
        for number, tag, caller in (
            (99, LONG, OWNER), (10, "a", OWNER), (10, "b", OWNER), (10, "b", OWNER), (10, "c", OWNER),
            (10, LONG, OWNER), (10, LONG, STRANGER), (10, "c", STRANGER),
        )
    ),
    *(
        patch(10, *changes, caller=ADMIN)
        for changes in (
            [add("/locations/-", BAD)], [add("/locations/x", BAD)], [replace("/locations", [BAD, BAD])],
            [remove("/locations/7")], [add("/locations/-", BAD), replace("/tags", [1])],
            [add("/locations/-", BAD), replace("/tags", ["1", "2", "3"])],
            [replace("/tags", ["1", "2", "3"]), add("/locations/-", BAD)],
            [replace("/tags", ["1", "2", "3"]), *(add(f"/{name}", "1") for name in "def")],
            [*(add(f"/{name}", "1") for name in "def"), add("/locations/-", BAD)],
            [*(add(f"/{name}", "1") for name in "def"), remove("/d")],
        )
    ),
    *(
        create(number, **values)
        for number, values in (
            (10, MORE_NAMES), (11, {**MORE_TAGS, **MORE_NAMES}), (11, {**MORE_TAGS, "owner": STRANGER}),
            (11, {**MORE_NAMES, "visibility": "public"}), (10, {"owner": STRANGER}),
        )
    ),
    show(10),
]  # fmt: skip
POLICED += SCARCE
