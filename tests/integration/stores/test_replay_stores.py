"""The same requests to a real Glance and to us, over the same kinds of stores; each side has places of its own."""

from __future__ import annotations

from urllib.request import Request, urlopen

import pytest_twisted
from attrs import evolve
from twisted.internet.threads import deferToThread

from tests.integration.replaying import image_id
from tests.integration.scripts import stores
from tests.integration.test_replay import Play, told
from tests.integration.test_replay import play as play
from tests.integration.test_replay import prepared as prepared
from tests.ports import free_port
from tests.services.keystone import PASSWORD, RealKeystone
from tests.services.objects import S3Server, SwiftServer
from tests.services.pages import serving

S3 = """
s3_store_host = {s3.url}
s3_store_region_name = eu-west-1
s3_store_access_key = {s3.access_key}
s3_store_secret_key = {s3.secret_key}
s3_store_bucket = images-of-{{side}}
s3_store_bucket_url_format = path
s3_store_create_bucket_on_put = true
s3_store_large_object_size = 6
s3_store_large_object_chunk_size = 5
"""
SWIFT = """
swift_store_config_file = {folder}/swift.conf
default_swift_reference = ref1
swift_store_container = images-of-{side}
swift_store_create_container_on_put = true
swift_store_large_object_size = 1
swift_store_large_object_chunk_size = 1
"""
ACCOUNT = f"[ref1]\nauth_address = {{url}}/v3\nuser = red:red\nkey = {PASSWORD}\n"
SEVERAL = f"""
[DEFAULT]
enabled_backends = cloud:swift, disk:file, vault:s3, web:http
enabled_import_methods = [glance-direct,web-download,copy-image]
{{more}}
[glance_store]
default_backend = vault
[cloud]
weight = 10
store_description = far away
{SWIFT}
[disk]
weight = 30
filesystem_store_datadir = {{folder}}/disk
[vault]
weight = 20
store_description =
{{s3}}
[web]
[os_glance_staging_store]
filesystem_store_datadir = {{folder}}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {{folder}}/tasks
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{{port}}]
"""
FAILING = SEVERAL.replace("web:http", "web:http, dead:s3").replace("[web]", "[dead]\n{dead}\n[web]")
SINGLE = """
[DEFAULT]
enabled_import_methods = [glance-direct,web-download,copy-image]
node_staging_uri = file://{folder}/staging
{more}
[glance_store]
stores = file, s3, http
default_store = s3
filesystem_store_datadir = {folder}/images
{s3}
[task]
work_dir = {folder}/work
"""
SHOWN = "show_multiple_locations = true\nshow_image_direct_url = true"


@pytest_twisted.ensureDeferred
async def test_several(play: Play, moto: S3Server, keystone_swift: SwiftServer, keystone: RealKeystone) -> None:
    """A directory, Swift, S3 and the web."""
    with serving() as port:
        options = SEVERAL.replace("{port}", str(port)).replace("{s3}", S3.format(s3=moto))
        script = [*stores.CHOOSING, *stores.SEVERAL, *stores.EMPTYING, *stores.INFO, *stores.on_the_web(port)]
        found = await play(script, options, SHOWN, {"swift.conf": ACCOUNT.format(url=keystone.url)})
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_single(play: Play, moto: S3Server) -> None:
    """The old form, with S3 as the default store: nobody can choose, and locations do not say where they are."""
    found = await play(stores.SINGLE, SINGLE.replace("{s3}", S3.format(s3=moto)), SHOWN)
    assert not found, told(found)


def put(url: str, data: bytes = b"") -> None:
    """By hand, beside both services."""
    with urlopen(Request(url, data, method="PUT")) as answer:
        assert answer.status == 200


@pytest_twisted.ensureDeferred
async def test_failing(play: Play, moto: S3Server, keystone_swift: SwiftServer, keystone: RealKeystone) -> None:
    """Wrong sizes, a store that refuses connections, locations of others."""
    await deferToThread(put, f"{moto.url}/legacy")
    await deferToThread(put, f"{moto.url}/legacy/{image_id(70)}", b"written long ago")
    dead = S3.format(s3=evolve(moto, url=f"http://127.0.0.1:{free_port()}"))
    with serving() as port:
        options = FAILING.replace("{port}", str(port)).replace("{dead}", dead).replace("{s3}", S3.format(s3=moto))
        account = f"{moto.access_key}:{moto.secret_key}"
        script = [*stores.SIZES, *stores.FAILING, *stores.foreign(moto.url, account)]
        found = await play(script, options, SHOWN, {"swift.conf": ACCOUNT.format(url=keystone.url)})
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_from_single_to_several(play: Play, moto: S3Server) -> None:
    """Images of one store are found in several."""
    s3 = S3.format(s3=moto)
    found = await play(stores.BEFORE, SINGLE.replace("{s3}", s3), SHOWN)
    several = SEVERAL.replace("cloud:swift, ", "").replace("{port}", "80").replace("{s3}", s3)
    found += await play(stores.AFTER, several, SHOWN, again=True)
    assert not found, told(found)
