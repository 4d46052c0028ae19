"""Several kinds of stores: a directory, Swift, S3 and the web; chosen, read, filled, emptied and listed.

Rows of the contract: S-001 to S-012, S-110, S-112; A-023, A-024, A-100, A-101, A-104, A-110 to A-112, A-131 to A-133,
A-138, A-143, A-144, A-180, A-191, A-201, A-202.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from tests.integration.replaying import ADMIN, FRIEND, OWNER, STRANGER, Ask, image_id
from tests.integration.scripts.imports import COPY, DIRECT, WEB, run, stage, wait
from tests.integration.scripts.records import FORMATS, add, create, item, patch, remove, replace, upload
from tests.running import DATA

STORES = ("disk", "vault", "cloud")  # that can be written, the heaviest first; the default is the vault
RESERVED = "Glance lets clients use its own stores"
SERVED = dict.fromkeys(["status", "message", "content-range", "content-type", "content-md5"], "ranges are served")


def into(number: int, store: str, data: bytes = b"some data", **more: str) -> Ask:
    return upload(number, data, **{"X-Image-Meta-Store": store}, **more)


def show(number: int, caller: str = OWNER, **more: Any) -> Ask:
    return Ask("GET", item(number), caller=caller, **more)


def read(number: int, query: str = "", caller: str = OWNER, differs: Any = None, **headers: str) -> Ask:
    return Ask("GET", f"{item(number)}/file{query}", caller=caller, headers=headers, differs=differs or {})


def drop(store: str, number: int, caller: str = ADMIN, differs: Any = None) -> Ask:
    return Ask("DELETE", f"/v2/stores/{store}/{image_id(number)}", caller=caller, differs=differs or {})


CHOOSING = [
    *(create(number, **FORMATS) for number in range(1, 9)),
    into(1, "disk"),
    into(2, "vault"),
    into(3, "cloud", b"x" * 2_048_000),
    upload(4, b"where it always goes"),
    into(5, "nowhere"),
    into(5, "web"),
    Ask(
        "PUT",
        f"{item(8)}/file",
        body=b"x",
        headers={"Content-Type": DATA, "X-Image-Meta-Store": "os_glance_staging_store"},
        caller=OWNER,
        differs=dict.fromkeys(["status", "message", "content-type"], RESERVED),
    ),
    into(5, "VAULT"),
    into(5, ""),
    into(99, "nowhere"),
    show(5),
    Ask("DELETE", item(8), caller=OWNER),
    into(6, "cloud", b""),
    into(1, "cloud"),
    *(show(number) for number in range(1, 8)),
    Ask("GET", "/v2/images", caller=OWNER),
    *(read(number) for number in (1, 2, 3, 4, 6, 7)),
    read(1, Range="bytes=2-4"),
    read(2, Range="bytes=2-4", differs=SERVED),
    read(3, Range="bytes=2047990-", differs=SERVED),
    *(read(2, f"?prefer={names}") for names in ("vault", "disk,vault", "nowhere", "vault,nowhere", "web", "", ",")),
    read(2, "?prefer=vault&prefer=cloud"),
    read(2, "?prefer=vault", FRIEND),
    Ask("DELETE", item(1), caller=STRANGER),
    *(Ask("DELETE", item(number), caller=OWNER) for number in (1, 2, 3, 4, 6)),
    read(3),
    create(3, **FORMATS),
]

SEVERAL = [
    create(20, **FORMATS),
    stage(20),
    run(20, {**DIRECT, "stores": list(STORES)}),
    wait(20),
    create(21, **FORMATS),
    stage(21),
    run(21, {**DIRECT, "all_stores": True}),
    wait(21),
    create(22, **FORMATS),
    stage(22),
    run(22, {**DIRECT, "stores": ["disk", "nowhere"]}),
    run(22, {**DIRECT, "stores": ["disk"]}, X_Image_Meta_Store="disk"),
    run(22, {**DIRECT, "all_stores": True, "stores": ["disk"]}),
    show(22),
    create(23, **FORMATS),
    stage(23),
    run(23, X_Image_Meta_Store="cloud"),
    wait(23),
    *(read(20, query) for query in ("", "?prefer=cloud", "?prefer=vault,disk", "?prefer=disk")),
    read(20, Range="bytes=1-3"),
    read(20, "?prefer=cloud", Range="bytes=1-3"),
    run(23, {**COPY, "stores": ["cloud"]}),
    run(23, {**COPY, "stores": ["web"]}),
    run(23, {**COPY, "stores": ["disk"]}, caller=STRANGER),
    Ask("POST", f"{item(23)}/import", {**COPY, "stores": ["disk"]}),
    wait(23, stores="disk,cloud", os_glance_importing_to_stores=""),
    Ask("POST", f"{item(23)}/import", {**COPY, "all_stores": True}),
    wait(23, stores="disk,vault,cloud", os_glance_importing_to_stores=""),
    Ask("POST", f"{item(23)}/import", {**COPY, "all_stores": True}),
    read(23),
    Ask("GET", f"{item(20)}/locations", caller=ADMIN),
    Ask("GET", f"{item(20)}/locations", caller=OWNER),
]

EMPTYING = [
    drop("disk", 20, OWNER),
    drop("disk", 20, STRANGER),
    drop("nowhere", 20),
    drop("web", 20),
    drop("os_glance_staging_store", 20, differs=dict.fromkeys(["status", "message"], RESERVED)),
    drop("disk", 99),
    drop("disk", 22),
    drop("disk", 20),
    drop("disk", 20),
    show(20),
    read(20),
    drop("vault", 20),
    drop("cloud", 20),
    show(20),
    drop("cloud", 20),
    read(20),
    Ask("POST", f"/v2/stores/disk/{image_id(20)}"),
    Ask("DELETE", "/v2/stores/disk"),
    Ask("GET", "/v2/stores"),
    Ask("DELETE", item(20), caller=OWNER),
    drop("cloud", 20),
    Ask("DELETE", item(21), caller=OWNER),
    Ask("DELETE", item(22), caller=OWNER),
    Ask("DELETE", item(23), caller=OWNER),
]

INFO = [
    Ask("GET", "/v2/info/stores", caller=OWNER),
    Ask("GET", "/v2/info/stores/detail"),
    Ask("GET", "/v2/info/stores/detail", caller=OWNER),
    Ask("GET", "/v2/info/import", caller=OWNER),
    Ask("GET", "/v2/info/usage", caller=OWNER),
]


def on_the_web(port: int) -> list[Ask]:
    """Images whose data lies on a web server, alone and beside copies."""
    page, missing = f"http://127.0.0.1:{port}/page", f"http://127.0.0.1:{port}/missing"
    here = {"url": page, "metadata": {}}
    return [
        create(40, **FORMATS),
        patch(40, add("/locations/-", {"url": missing, "metadata": {}})),
        patch(40, add("/locations/-", here)),
        show(40),
        read(40),
        read(40, "?prefer=web"),
        read(40, differs={name: why for name, why in SERVED.items() if name != "content-md5"}, Range="bytes=5-9"),
        drop("web", 40),
        Ask("POST", f"{item(40)}/import", {**COPY, "stores": ["vault"]}),
        Ask(
            "GET",
            item(40),
            until={"stores": "vault,web", "os_glance_importing_to_stores": "", "os_glance_import_task": None},
            caller=OWNER,
        ),
        read(40),
        read(40, "?prefer=vault"),
        drop("web", 40),
        show(40),
        patch(40, remove("/locations/0"), caller=ADMIN),
        show(40),
        create(41, **FORMATS),
        patch(41, replace("/locations", [here])),
        show(41),
        Ask("DELETE", item(41), caller=OWNER),
        create(42, **FORMATS),
        run(42, {"method": {**WEB, "uri": page}, "stores": ["cloud", "disk"]}),
        wait(42),
        read(42),
        Ask("DELETE", item(40), caller=OWNER),
        Ask("DELETE", item(42), caller=OWNER),
    ]


SINGLE = [
    create(1, **FORMATS),
    into(1, "nowhere"),
    show(1),
    read(1),
    read(1, "?prefer=s3"),
    Ask("GET", "/v2/info/stores", caller=OWNER),
    Ask("GET", "/v2/info/stores/detail"),
    drop("s3", 1),
    create(2, **FORMATS),
    stage(2),
    run(2, {**DIRECT, "stores": ["s3"]}),
    wait(2),
    create(3, **FORMATS),
    stage(3),
    run(3, {**DIRECT, "all_stores_must_succeed": False}),
    run(3, {**DIRECT, "all_stores": True}),
    wait(3),
    run(3, {**COPY, "all_stores": True}),
    show(3),
    Ask("DELETE", item(1), caller=OWNER),
    Ask("DELETE", item(2), caller=OWNER),
    Ask("DELETE", item(3), caller=OWNER),
]


def sized(number: int, size: str, data: bytes, store: str, differs: Any = None) -> Ask:
    return evolve(into(number, store, data, **{"x-openstack-image-size": size}), differs=differs or {})


WORDS = {"message": "-1 is no size"}
SIZES = [  # S-008; Glance stores a part of the data in Swift, and says that it is all
    create(50, **FORMATS),
    *(
        sized(50, size, b"nine byte", store, differs)
        for store in ("disk", "vault")
        for size, differs in (("8", {}), ("10", {}), ("-1", WORDS), ("x", {}))
    ),
    show(50),
    sized(50, "9", b"nine byte", "cloud"),
    show(50),
    Ask("DELETE", item(50), caller=OWNER),
]

AWAY = "tells that the store does not answer"
FAILING = [  # S-007, A-144: the store "dead" refuses connections; Glance tries it for 12 s each time
    create(60, **FORMATS),
    evolve(into(60, "dead"), differs=dict.fromkeys(["status", "message"], AWAY)),
    show(60),
    create(62, **FORMATS),
    into(62, "disk"),
    run(62, {**COPY, "stores": ["vault", "dead"], "all_stores_must_succeed": False}, caller=ADMIN),
    wait(62, stores="disk,vault", os_glance_importing_to_stores="", os_glance_failed_import="dead"),
    *(Ask("DELETE", item(number), caller=OWNER) for number in (60, 62)),
]


def foreign(s3: str, account: str) -> list[Ask]:
    """Locations that clients may not name (S-010), and one of S3 as Glance wrote them, with credentials (S-012)."""
    there = f"{s3.removeprefix('http://')}/legacy/{image_id(70)}"
    old = {"url": f"s3://{account}@{there}", "metadata": {"store": "vault"}}
    named = [
        "file:///etc/passwd",
        "filesystem:///etc/passwd",
        f"swift+config://ref1/images/{image_id(70)}",
        "cinder://f3a1c3a0-52a1-4a86-9a3b-6b1c1b1c1b1c",
        "rbd://fsid/pool/image/snap",
        "vsphere://host/folder/x/y?dsName=z",
        f"s3://{there}-missing",
        "ftp://127.0.0.1/x",
        "nonsense",
    ]
    return [
        create(70, **FORMATS),
        *(patch(70, add("/locations/-", {"url": url, "metadata": {}})) for url in named),
        show(70),
        patch(70, add("/locations/-", old)),
        show(70),
        read(70),
        show(70),
        Ask("GET", f"{item(70)}/locations", caller="service"),
    ]


BEFORE = [  # S-112: in the old form
    create(1, **FORMATS),
    upload(1, b"in the bucket"),
    create(2, **FORMATS),
    upload(2, b"in the bucket as well"),
    show(1),
]
AFTER = [  # the same database, with several stores; the bucket is one of them
    Ask("POST", f"{item(2)}/import", {**COPY, "stores": ["vault"]}),
    show(1),
    read(1),
    show(1),
    read(1, "?prefer=vault"),
    Ask("POST", f"{item(1)}/import", {**COPY, "stores": ["disk"]}),
    wait(1, stores="disk,vault", os_glance_importing_to_stores=""),
    drop("vault", 1),
    show(1),
    drop("vault", 2),
    Ask("DELETE", item(1), caller=OWNER),
    Ask("DELETE", item(2), caller=OWNER),
    show(2),
]
