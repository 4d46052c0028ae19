"""From a configuration file to the settings of stores."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from glancetx.config.loading import load_settings
from glancetx.config.settings import StoresSettings
from glancetx.config.store_settings import (
    MIB,
    HttpStoreSettings,
    RbdSettings,
    S3Settings,
    SwiftSettings,
    VmwareDatastore,
    VmwareSettings,
)
from glancetx.domain.errors import ConfigurationError


def stores(folder: Path, text: str) -> StoresSettings:
    path = folder / "glance-api.conf"
    path.write_text(textwrap.dedent(text))
    return load_settings([path]).stores


def test_old_form(tmp_path: Path) -> None:
    """Without enabled_backends there is a file store and one for the web, as Glance's defaults say."""
    found = stores(tmp_path, "[DEFAULT]\n")
    assert not found.multiple
    assert found.default == "file"
    assert found.order == ("file", "http")
    assert str(found.filesystems[0].datadir) == "/var/lib/glance/images"


def test_old_form_of_s3(tmp_path: Path) -> None:
    """``stores`` and ``default_store`` choose the drivers; their options stand in ``[glance_store]``."""
    text = """
        [glance_store]
        stores = s3,http
        default_store = s3
        s3_store_host = https://s3.example.com
        s3_store_bucket = images
        s3_store_access_key = key
        s3_store_secret_key = hidden
        s3_store_large_object_size = 64
    """
    found = stores(tmp_path, text)
    assert (found.default, found.order, found.filesystems) == ("s3", ("s3", "http"), ())
    s3 = found.others[0]
    assert isinstance(s3, S3Settings)
    assert (s3.large_object_size, s3.part_size, s3.identifier) == (64 * MIB, 10 * MIB, "s3")
    assert "hidden" not in repr(found)


def test_many(tmp_path: Path) -> None:
    """Each store has a group; what that leaves out comes from ``[backend_defaults]``, even if it says 0 itself."""
    text = """
        [DEFAULT]
        enabled_backends = fast:file, cloud:s3, web:http
        [glance_store]
        default_backend = cloud
        [backend_defaults]
        weight = 7
        filesystem_store_file_perm = 640
        s3_store_host = s3.example.com
        s3_store_secret_key = hidden
        [fast]
        filesystem_store_datadir = /srv/fast
        weight = 0
        store_description = quick and small
        [cloud]
        s3_store_bucket = images
        s3_store_access_key = key
        s3_store_region_name = here-1
    """
    found = stores(tmp_path, text)
    assert (found.multiple, found.default, found.order) == (True, "cloud", ("fast", "cloud", "web"))
    fast = found.filesystems[0]
    cloud, web = found.others
    assert (fast.weight, fast.description, fast.file_perm) == (0, "quick and small", 0o640)
    assert isinstance(cloud, S3Settings)
    assert (cloud.weight, cloud.host, cloud.region, cloud.secret_key) == (7, "s3.example.com", "here-1", "hidden")
    assert isinstance(web, HttpStoreSettings)
    assert not web.insecure  # Glance would not verify; whoever wants that has to say so
    reserved = {each.identifier: str(each.datadir) for each in found.reserved}
    assert reserved == {
        "os_glance_staging_store": "/var/lib/glance/os_glance_staging_store",
        "os_glance_tasks_store": "/var/lib/glance/os_glance_tasks_store",
    }


def test_folders(tmp_path: Path) -> None:
    """Several directories; the last colon is before the priority, which may be missing."""
    text = """
        [glance_store]
        filesystem_store_datadirs = /srv/a:1
        filesystem_store_datadirs = /srv/b:x : 20
        filesystem_store_datadirs = /srv/c
        filesystem_thin_provisioning = true
        filesystem_store_marker = .here
        filesystem_store_timeout = 7
    """
    (found,) = stores(tmp_path, text).filesystems
    assert found.datadirs == ((Path("/srv/a"), 1), (Path("/srv/b:x"), 20), (Path("/srv/c"), 0))
    assert (found.datadir, found.thin, found.marker, found.timeout) == (Path("/srv/b:x"), True, ".here", 7)


def test_rbd(tmp_path: Path) -> None:
    """A pool; what nobody sets is Ceph's to say."""
    text = """
        [DEFAULT]
        enabled_backends = block:rbd, other:rbd
        [glance_store]
        default_backend = block
        [backend_defaults]
        rbd_store_ceph_conf = /etc/ceph/one.conf
        [block]
        rbd_store_pool = golden
        rbd_store_user = glance
        rbd_store_chunk_size = 4
        rados_connect_timeout = 3
        rbd_thin_provisioning = true
    """
    block, other = stores(tmp_path, text).others
    assert block == RbdSettings(
        identifier="block",
        pool="golden",
        user="glance",
        ceph_conf=Path("/etc/ceph/one.conf"),
        chunk_size=4 * MIB,
        timeout=3,
        thin=True,
    )
    assert other == RbdSettings(identifier="other", ceph_conf=Path("/etc/ceph/one.conf"))


def test_swift(tmp_path: Path) -> None:
    """An account in the store's own group; sizes are glance_store's megabytes."""
    text = """
        [DEFAULT]
        enabled_backends = objects:swift
        [glance_store]
        default_backend = objects
        [objects]
        swift_store_auth_address = keystone.example.com/v3
        swift_store_user = service:glance
        swift_store_key = hidden
        swift_store_large_object_chunk_size = 3
        swift_store_endpoint_type = internalURL
    """
    swift = stores(tmp_path, text).others[0]
    assert isinstance(swift, SwiftSettings)
    account = swift.accounts["ref1"]
    assert (account.auth_address, account.user, account.key) == (
        "https://keystone.example.com/v3",
        "service:glance",
        "hidden",
    )
    assert (account.user_domain_id, account.project_domain_id) == ("default", "default")
    assert (swift.segment_size, swift.large_object_size, swift.interface) == (3072000, 5242880000, "internal")
    assert "hidden" not in repr(swift)


def test_swift_accounts(tmp_path: Path) -> None:
    """Accounts in a file of their own, beside the configuration."""
    accounts = """
        [ref1]
        auth_address = "http://keystone.example.com:5000/v3"
        user = 'service:glance'
        key = a%b$c
        user_domain_name = People
        [ref2]
        auth_address = http://keystone.example.com:5000/v3
        application_credential_id = 17
        application_credential_secret = hidden
    """
    (tmp_path / "accounts.conf").write_text(textwrap.dedent(accounts))
    text = f"""
        [glance_store]
        stores = swift
        default_store = swift+config
        swift_store_config_file = {tmp_path}/accounts.conf
        default_swift_reference = ref2
    """
    found = stores(tmp_path, text)
    swift = found.others[0]
    assert isinstance(swift, SwiftSettings)
    assert (found.default, swift.reference) == ("swift", "ref2")
    first, second = swift.accounts["ref1"], swift.accounts["ref2"]
    assert (first.auth_address, first.user, first.key) == (
        "http://keystone.example.com:5000/v3",
        "service:glance",
        "a%b$c",
    )
    assert (first.user_domain_name, first.user_domain_id, first.project_domain_id) == ("People", None, "default")
    assert (second.application_credential_id, second.application_credential_secret) == ("17", "hidden")


def test_vmware(tmp_path: Path) -> None:
    """Datastores with and without a weight; a fingerprint in any spelling; a file of authorities means verifying."""
    text = f"""
        [DEFAULT]
        enabled_backends = farm:vmware
        [glance_store]
        default_backend = farm
        [farm]
        vmware_server_host = 2001:db8::7
        vmware_server_username = glance
        vmware_server_password = hidden
        vmware_datastores = Site/DC 0: fast store :70
        vmware_datastores = DC1:slow
        vmware_insecure = true
        vmware_ca_file = /etc/vcenter.pem
        vmware_server_fingerprint = {":".join(["AB"] * 32)}
    """
    vmware = stores(tmp_path, text).others[0]
    assert isinstance(vmware, VmwareSettings)
    assert vmware.datastores == (
        VmwareDatastore(datacenter="Site/DC 0", name="fast store", weight=70),
        VmwareDatastore(datacenter="DC1", name="slow"),
    )
    assert (vmware.netloc, vmware.folder) == ("[2001:db8::7]", "openstack_glance")
    assert (vmware.insecure, vmware.fingerprint) == (False, "ab" * 32)
    assert "hidden" not in repr(vmware)


SWIFT = "[glance_store]\nstores = swift\ndefault_store = swift\n"
SWIFT_V1 = "swift_store_auth_version = 1\nswift_store_auth_address = x\nswift_store_user = a:u\nswift_store_key = k"
VMWARE = "[glance_store]\nstores = vmware\ndefault_store = vsphere\n"
ACCOUNT = "vmware_server_host = h\nvmware_server_username = u\nvmware_server_password = p\n"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (SWIFT, "swift_store_auth_address is not set"),
        (SWIFT + "swift_store_multi_tenant = true", "swift_store_auth_address is not set"),
        (
            SWIFT + "swift_store_multi_tenant = true\nswift_store_config_file = a.conf",
            "either swift_store_multi_tenant",
        ),
        (SWIFT + "swift_store_multi_tenant = true\n" + SWIFT_V1, "needs Keystone"),
        (SWIFT + "swift_store_auth_address = x\nswift_store_user = glance\nswift_store_key = k", "project:user"),
        (SWIFT + "swift_store_auth_address = x\nswift_store_auth_version = 2", "only 3 and 1"),
        (SWIFT + "swift_store_config_file = none.conf", "no such file"),
        ("[DEFAULT]\nenabled_backends = os_glance_mine:file", "reserved"),
        ("[DEFAULT]\nenabled_backends = a:cinder\n[glance_store]\ndefault_backend = a", "cinder of a"),
        ("[DEFAULT]\nenabled_backends = a:file", "default_backend"),
        ("[glance_store]\ndefault_store = s3", "not one of stores"),
        ("[glance_store]\nstores = cinder\ndefault_store = cinder", "cinder is not available"),
        ("[glance_store]\nstores = s3\ndefault_store = s3", "s3_store_host is not set"),
        (VMWARE, "vmware_server_host is not set"),
        (VMWARE + ACCOUNT, "vmware_datastores is not set"),
        (VMWARE + ACCOUNT + "vmware_datastores = LocalDS", "not datacenter_path:datastore"),
        (VMWARE + ACCOUNT + "vmware_datastores = DC0:LocalDS:heavy", "not datacenter_path:datastore"),
        (VMWARE + "vmware_server_fingerprint = abcd", "not a SHA-256"),
        (VMWARE + "vmware_store_image_dir = /", "not a directory"),
        ("[glance_store]\ns3_store_large_object_chunk_size = 4", "s3_store_large_object_chunk_size"),
        ("[glance_store]\nfilesystem_store_datadirs = /a:b", "path:priority"),
        ("[glance_store]\nfilesystem_store_datadirs = :7", "path:priority"),
        ("[glance_store]\nfilesystem_store_datadirs = /a:1\nfilesystem_store_datadirs = /a:2", "twice"),
        ("[glance_store]\nfilesystem_store_datadirs = /a:1\nfilesystem_store_datadir = /b", "either"),
        ("[glance_store]\nfilesystem_store_file_perm = 99", "not an octal number"),
        ("[glancetx]\nallowed_networks = 10.0.0.1/8", "allowed_networks"),
        ("[import_filtering_opts]\nallowed_ports = http", "allowed_ports"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, hint: str) -> None:
    """What cannot work is said at the start."""
    with pytest.raises(ConfigurationError, match=hint):
        stores(tmp_path, text)


def test_fetch_rules(tmp_path: Path) -> None:
    """The filtering options and our networks become rules."""
    path = tmp_path / "glance-api.conf"
    path.write_text("[import_filtering_opts]\nallowed_ports = 8080\n[glancetx]\nallowed_networks = 127.0.0.0/8\n")
    rules = load_settings([path]).fetch
    assert rules.admit("http://127.0.0.1:8080/x").port == 8080
