"""Glance's options: their names, defaults and limits, row by row of the contract (config.md, stores.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve

from glancetx.config.loading import find_tool_files, load_settings, read_files
from glancetx.config.settings import Settings
from glancetx.domain.errors import ConfigurationError

STORE_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "S-021": {
        "filesystem_store_datadirs": None, "filesystem_store_metadata_file": None, "filesystem_store_file_perm": 0,
        "filesystem_store_chunk_size": 65536, "filesystem_thin_provisioning": False, "filesystem_store_timeout": 0,
        "filesystem_store_thread_pool_size": 10, "filesystem_store_threadpool_threshold": 75,
    },
    "S-036": {"https_ca_certificates_file": None, "https_insecure": True, "http_proxy_information": {}},
    "S-046": {
        "rbd_store_chunk_size": 8, "rbd_store_pool": "images", "rbd_store_user": None, "rbd_store_ceph_conf": "",
        "rados_connect_timeout": -1, "rbd_thin_provisioning": False,
    },
    "S-061": {
        "s3_store_host": None, "s3_store_region_name": "", "s3_store_access_key": None, "s3_store_secret_key": None,
        "s3_store_bucket": None, "s3_store_create_bucket_on_put": False, "s3_store_bucket_url_format": "auto",
        "s3_store_large_object_size": 100, "s3_store_large_object_chunk_size": 10, "s3_store_thread_pools": 10,
        "s3_store_cacert": "", "s3_store_enable_data_integrity_protection": False,
        "s3_store_request_checksum_calculation": "when_required",
        "s3_store_response_checksum_validation": "when_required",
    },
    "S-072 S-073 S-074 S-078 S-079 S-082": {
        "default_swift_reference": "ref1", "swift_store_config_file": None, "swift_store_auth_version": "3",
        "swift_store_large_object_size": 5120, "swift_store_large_object_chunk_size": 200,
        "swift_store_container": "glance", "swift_store_multiple_containers_seed": 0,
        "swift_store_create_container_on_put": False, "swift_store_admin_tenants": [],
        "swift_store_multi_tenant": False, "swift_buffer_on_upload": False, "swift_upload_buffer_dir": None,
        "swift_store_retry_get_count": 0, "swift_store_expire_soon_interval": 60, "swift_store_use_trusts": True,
        "swift_store_endpoint_type": "publicURL", "swift_store_service_type": "object-store",
    },
    "S-101": {
        "vmware_server_host": None, "vmware_server_username": None, "vmware_server_password": None,
        "vmware_api_retry_count": 10, "vmware_task_poll_interval": 5, "vmware_insecure": False,
        "vmware_store_image_dir": "/openstack_glance", "vmware_ca_file": None, "vmware_datastores": None,
    },
}  # fmt: skip

DEFAULTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "C-010 C-011 C-012 C-013": ("DEFAULT", {
        "public_endpoint": None, "worker_self_reference_url": None, "allow_anonymous_access": False,
        "max_request_id_length": 64,
    }),
    "C-014 C-015 C-016 C-017": ("DEFAULT", {
        "limit_param_default": 25, "api_limit_max": 1000, "image_member_quota": 128, "image_property_quota": 128,
        "image_tag_quota": 128, "image_location_quota": 10, "image_size_cap": 2**40,
    }),
    "C-018 C-019 C-020 C-021 C-022": ("DEFAULT", {
        "user_storage_quota": "0", "use_keystone_limits": False, "hashing_algorithm": "sha512", "do_secure_hash": True,
        "http_retries": 3,
    }),
    "C-023 C-024 C-025 C-026 C-029": ("DEFAULT", {
        "show_image_direct_url": False, "show_multiple_locations": False, "metadata_encryption_key": None,
        "enabled_backends": None, "property_protection_file": None, "property_protection_rule_format": "roles",
    }),
    "C-030 C-031 C-032 C-033 C-034": ("DEFAULT", {
        "image_cache_dir": None, "image_cache_driver": "centralized_db", "image_cache_max_size": 10 * 2**30,
        "image_cache_stall_time": 86400, "image_cache_sqlite_db": "cache.db",
    }),
    "C-035 C-036 C-037 C-042": ("DEFAULT", {
        "delayed_delete": False, "scrub_time": 0, "scrub_pool_size": 1, "wakeup_time": 300, "daemon": False,
    }),
    "C-038 C-039 C-040": ("DEFAULT", {
        "default_publisher_id": "image.localhost", "disabled_notifications": [], "control_exchange": "glance",
    }),
    "C-051 C-052 C-053": ("image_format", {
        "vmdk_allowed_types": ["streamOptimized", "monolithicSparse"], "require_image_format_match": True,
        "gpt_safety_checks_nonfatal": [],
    }),
    "C-054": ("task", {"task_time_to_live": 48}),
    "C-058": ("wsgi", {"task_pool_threads": 16}),
    "C-059": ("paste_deploy", {"flavor": None, "config_file": None}),
    "C-060 C-061": ("glance_store", {"default_backend": None, "stores": ["file", "http"], "default_store": "file"}),
    "C-062 C-063": ("backend_defaults", {"store_description": None, "weight": 0}),
    "C-065 C-066": ("image_import_opts", {"image_import_plugins": [], "max_parallel_stores": 1}),
    "C-067 C-068 C-069": ("import_filtering_opts", {
        "allowed_schemes": ["http", "https"], "disallowed_schemes": [], "allowed_hosts": [], "disallowed_hosts": [],
        "allowed_ports": [80, 443], "disallowed_ports": [],
    }),
    "C-070": ("inject_metadata_properties", {"ignore_user_roles": ["admin"], "inject": {}}),
    "C-071": ("image_conversion", {"output_format": "raw"}),
    "C-072": ("glance_download_properties", {
        "extra_properties": ["hw_", "trait:", "os_distro", "os_secure_boot", "os_type"],
    }),
    "C-073 C-074": ("database", {
        "connection": None, "max_pool_size": 5, "connection_recycle_time": 3600, "mysql_wsrep_sync_wait": None,
        "connection_parameters": "",
    }),
    "C-076": ("keystone_authtoken", {
        "interface": "internal", "token_cache_time": 300, "memcache_security_strategy": "None",
        "service_token_roles": ["service"], "service_token_roles_required": True, "include_service_catalog": True,
        "cafile": None, "insecure": False, "http_connect_timeout": None, "http_request_max_retries": 3,
        "www_authenticate_uri": None, "region_name": None, "memcached_servers": None,
    }),
    "C-077": ("oslo_limit", {"endpoint_id": None}),
    "C-078": ("oslo_policy", {
        "policy_file": "policy.yaml", "policy_dirs": ["policy.d"], "policy_default_rule": "default",
        "enforce_new_defaults": True,
    }),
    "C-080": ("healthcheck", {
        "detailed": False, "allowed_source_ranges": [], "ignore_proxied_requests": False, "disable_by_file_path": None,
        "disable_by_file_paths": [], "enable_by_file_paths": [],
    }),
    "C-041": ("DEFAULT", {
        "debug": False, "log_file": None, "log_dir": None, "log_config_append": None, "use_stderr": False,
        "use_json": False, "use_syslog": False, "use_journal": False, "syslog_log_facility": "LOG_USER",
    }),
    "C-083": ("oslo_messaging_notifications", {"driver": [], "topics": ["notifications"], "retry": -1}),
}  # fmt: skip
EXPECTED: Final = [
    (rows, group, name, default)
    for rows, (group, options) in [
        *DEFAULTS.items(),
        *((rows, ("glance_store", options)) for rows, options in STORE_DEFAULTS.items()),
    ]
    for name, default in options.items()
]


@pytest.fixture(scope="module")
def plain() -> Any:
    return read_files([], [])


@pytest.mark.parametrize(("rows", "group", "name", "default"), EXPECTED)
def test_default(plain: Any, rows: str, group: str, name: str, default: Any) -> None:
    """An option nobody sets has Glance's value."""
    assert (plain if group == "DEFAULT" else plain[group])[name] == default


def configured(folder: Path, text: str) -> Settings:
    path = folder / "glance-api.conf"
    path.write_text(text)
    return load_settings([path], environ={"HOME": str(folder)})


REFUSED: Final = [
    ("C-006 S-002", "[DEFAULT]\nenabled_backends = os_glance_x:file", "os_glance_x is reserved"),
    ("C-006", "[DEFAULT]\nenabled_backends = a:file", "default_backend"),
    ("C-006", "[DEFAULT]\nimage_cache_dir = /c", "worker_self_reference_url"),
    ("C-014", "[DEFAULT]\nlimit_param_default = 0", "limit_param_default"),
    ("C-014", "[DEFAULT]\napi_limit_max = 0", "api_limit_max"),
    ("C-017", "[DEFAULT]\nimage_size_cap = 0", "image_size_cap"),
    ("C-017", "[DEFAULT]\nimage_size_cap = 9223372036854775809", "image_size_cap"),
    ("C-018", "[DEFAULT]\nuser_storage_quota = 1 GB", "user_storage_quota"),
    ("C-020", "[DEFAULT]\nhashing_algorithm = sha9", "hashing_algorithm = sha9"),
    ("C-020", "[DEFAULT]\nhashing_algorithm = shake_128", "hashing_algorithm = shake_128"),
    ("C-027", "[DEFAULT]\nenabled_import_methods = [ftp]", "there is no ftp"),
    ("C-027", "[DEFAULT]\nenabled_import_methods = web-download", "should start with"),
    ("C-028", "[DEFAULT]\nnode_staging_uri = http://staging", "node_staging_uri"),
    ("C-029", "[DEFAULT]\nproperty_protection_rule_format = users", "roles, policies"),
    ("C-031", "[DEFAULT]\nimage_cache_driver = memory", "centralized_db, sqlite, xattr"),
    ("C-059", "[paste_deploy]\nflavor = vanilla", "vanilla"),
    ("C-003", "[paste_deploy]\nconfig_file = /nowhere.ini", "/nowhere.ini"),
    ("C-060", "[DEFAULT]\nenabled_backends = a:file\n[glance_store]\ndefault_backend = b", "default_backend"),
    ("C-065", "[image_import_opts]\nimage_import_plugins = [mine]", "there is no mine"),
    ("C-069", "[import_filtering_opts]\nallowed_ports = 65536", "65535"),
    ("C-071", "[image_conversion]\noutput_format = vhd", "qcow2, raw, vmdk"),
    ("C-005", "[DEFAULT]\ndebug = maybe", "debug"),
    ("C-041", "[DEFAULT]\ndefault_log_levels = glancetx=LOUD", "LOUD"),
    ("C-041", "[DEFAULT]\nuse_syslog = true\nsyslog_log_facility = LOG_ME", "LOG_ME"),
    ("C-083", "[oslo_messaging_notifications]\ndriver = pigeon", "pigeon"),
    ("S-001", "[DEFAULT]\nenabled_backends = a:tape\n[glance_store]\ndefault_backend = a", "tape"),
    ("S-022", "[glance_store]\nfilesystem_store_datadir = /a\nfilesystem_store_datadirs = /b:1", "either"),
    ("S-022", "[glance_store]\nfilesystem_store_file_perm = 890", "octal"),
    ("S-011", "[DEFAULT]\nenabled_backends = a:file\n[glance_store]\ndefault_backend = a\n[a]\nweight = x", "weight"),
    ("S-046", "[DEFAULT]\nenabled_backends = a:rbd\n[glance_store]\ndefault_backend = a\n[a]\nrbd_store_chunk_size = 0",
     "rbd_store_chunk_size"),
    ("S-061", "[backend_defaults]\ns3_store_large_object_chunk_size = 4", "s3_store_large_object_chunk_size"),
    ("S-074", "[glance_store]\nswift_store_multiple_containers_seed = 33", "swift_store_multiple_containers_seed"),
    ("S-110", "[glance_store]\nstores = http", "default_store = file"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "text", "why"), REFUSED)
def test_refused(tmp_path: Path, row: str, text: str, why: str) -> None:
    """A value that cannot be right prevents the start, by a message that names it."""
    with pytest.raises(ConfigurationError, match=why.replace("/", "\\/")) as caught:
        configured(tmp_path, text + "\n")
    assert "LocationInfo" not in str(caught.value)  # the file is named in words


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_former_places(tmp_path: Path) -> None:
    """Options that were in [DEFAULT] once are found there (C-050, C-054), and nobody is told that they are unknown."""
    text = "[DEFAULT]\ndisk_formats = raw\ncontainer_formats = bare,ovf\ntask_time_to_live = 7\n"
    settings = configured(tmp_path, text)
    assert (settings.images.disk_formats, settings.images.container_formats) == (("raw",), ("bare", "ovf"))
    assert (settings.imports.task_time_to_live, settings.ignored) == (7, ())


@pytest.mark.parametrize(
    ("connection", "url"),
    [("mysql://u@h/d", "mysql://u@h/d?a=1&b=2"), ("mysql://u@h/d?c=3", "mysql://u@h/d?c=3&a=1&b=2")],
)
def test_database(tmp_path: Path, connection: str, url: str) -> None:
    """The parameters are added to the URL; a pool without a limit has one (C-074)."""
    text = f"[database]\nconnection = {connection}\nconnection_parameters = a=1&b=2\nmax_pool_size = 0\n"
    database = configured(tmp_path, text).database
    assert (database.connection, database.max_pool_size) == (url, 50)


def test_defaults_of_backends(tmp_path: Path) -> None:
    """What a store's group leaves out is [backend_defaults]' (C-062, C-063); reserved stores have places (C-064)."""
    text = """
        [DEFAULT]
        enabled_backends = a:file, b:file
        [glance_store]
        default_backend = a
        [backend_defaults]
        filesystem_store_file_perm = 640
        weight = 3
        [b]
        filesystem_store_datadir = /b
        weight = 5
    """.replace("        ", "")
    stores = configured(tmp_path, text).stores
    assert [(str(each.datadir), each.file_perm, each.weight) for each in stores.filesystems] == [
        ("/var/lib/glance/images", 0o640, 3),
        ("/b", 0o640, 5),
    ]
    assert [str(each.datadir) for each in stores.reserved] == [
        "/var/lib/glance/os_glance_staging_store",
        "/var/lib/glance/os_glance_tasks_store",
    ]


def test_files_of_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find Glance's files where Glance's do, and their own after them (C-001, C-002)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".glance"
    folder.mkdir()
    for path in (folder / "glance-manage.conf", tmp_path / "glance-manage.conf", tmp_path / "glance-api.conf"):
        path.touch()
    found = [path for path in find_tool_files({}, "glance-manage") if path.is_relative_to(tmp_path)]
    assert found == [tmp_path / "glance-api.conf", folder / "glance-manage.conf"]
    chosen = {"OS_GLANCE_CONFIG_DIR": str(folder)}
    assert find_tool_files(chosen, "glance-manage") == [folder / "glance-manage.conf"]
    assert find_tool_files(chosen, "glance-scrubber") == []


WITHOUT_EFFECT: Final = [
    ("C-041", "DEFAULT", "log_rotation_type = size\nlog_color = true\nlogging_debug_format_suffix = x"),
    ("C-055 C-056", "task", "task_executor = taskflow\nwork_dir = /x"),
    ("C-057", "taskflow_executor", "engine_mode = serial\nmax_workers = 2\nconversion_format = raw"),
    ("C-058", "wsgi", "python_interpreter = /usr/bin/python3"),
    ("C-074 C-075", "database", "backend = sqlalchemy\nmax_overflow = -1\nuse_db_reconnect = true\ndb_max_retries = 3"),
    ("C-082", "oslo_concurrency", "lock_path = /x"),
    ("C-084", "oslo_messaging_kafka", "consumer_group = x"),
    ("C-085", "key_manager", "backend = barbican"),
    ("C-086", "profiler", "enabled = false"),
    ("C-087", "oslo_reports", "log_dir = /x"),
    ("C-153", "DEFAULT", "cert_file = x\nkey_file = x\nca_file = x"),
    ("C-154 C-155", "DEFAULT", "bind_host = ::\nworkers = four\nbacklog = x\nmax_header_line = 1\nhttp_keepalive = no"),
]


@pytest.mark.parametrize(("rows", "group", "text"), WITHOUT_EFFECT)
def test_without_effect(tmp_path: Path, rows: str, group: str, text: str) -> None:
    """What means nothing here is accepted, whatever its value, changes nothing, and is told."""
    changed, plain = configured(tmp_path, f"[{group}]\n{text}\n"), configured(tmp_path, "")
    assert evolve(changed, ignored=()) == plain
    named = [f"[{group}] {line.partition(' ')[0]}" for line in text.splitlines()]
    assert changed.ignored in (tuple(named), (f"[{group}]",))
