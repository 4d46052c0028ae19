"""The options of stores: glance_store's names, types and defaults, in each store's own group (stores.md)."""

from __future__ import annotations

from typing import Final

from oslo_config import cfg

GLANCE_STORE = [
    cfg.StrOpt("default_backend", help="The store used if the request names none."),
    cfg.ListOpt("stores", default=["file", "http"], help="The stores where enabled_backends is not set."),
    cfg.StrOpt(
        "default_store",
        default="file",
        choices=[
            *("file", "filesystem", "http", "https", "swift", "swift+http", "swift+https", "swift+config"),
            *("rbd", "cinder", "vsphere", "s3"),
        ],
        help="The scheme of the store that takes uploads where enabled_backends is not set.",
    ),
]

BACKEND = [
    cfg.StrOpt("store_description", help="Free text for discovery."),
    cfg.IntOpt("weight", default=0, help="Locations in a store of greater weight are read first."),
]

FILESYSTEM = [
    cfg.StrOpt("filesystem_store_datadir", help="Directory of the image files."),
    cfg.MultiStrOpt(
        "filesystem_store_datadirs",
        help="Several directories, each as path:priority; the highest with room takes an image. Instead of the above.",
    ),
    cfg.StrOpt("filesystem_store_metadata_file", help="JSON file: what locations tell about their mount points."),
    cfg.StrOpt(
        "filesystem_store_marker",
        help="Ours: a name that is to be found in each directory; where it is not, the disk counts as not mounted.",
    ),
    cfg.IntOpt("filesystem_store_chunk_size", default=65536, min=1, help="Bytes of zeros that may become a hole."),
    cfg.BoolOpt("filesystem_thin_provisioning", default=False, help="Make holes of zeros instead of writing them."),
    cfg.IntOpt("filesystem_store_timeout", default=0, min=0, help="Seconds to find or delete a file; 0: no limit."),
    cfg.IntOpt("filesystem_store_thread_pool_size", default=10, min=1, help="Threads for that, if it has a limit."),
    cfg.IntOpt("filesystem_store_threadpool_threshold", default=75, min=0, help="Percent in use that is warned of."),
    cfg.IntOpt("filesystem_store_file_perm", default=0, help="Mode of image files, digits read as octal; 0: umask."),
]

HTTP = [
    cfg.StrOpt("https_ca_certificates_file", help="PEM file: the authorities servers are verified by."),
    cfg.BoolOpt("https_insecure", default=True, help="Do not verify servers; without effect if a file is named."),
    cfg.DictOpt("http_proxy_information", default={}, help="Proxies, as scheme:host:port."),
]

RBD = [
    cfg.IntOpt(
        "rbd_store_chunk_size", default=8, min=1, help="MiB of an object of an image; a power of two, up to 32."
    ),
    cfg.StrOpt("rbd_store_pool", default="images", help="Pool of the images."),
    cfg.StrOpt("rbd_store_user", help="Who we are at Ceph, without client.; unset: Ceph's own default."),
    cfg.StrOpt("rbd_store_ceph_conf", default="", help="Ceph's configuration file; empty: where Ceph looks for it."),
    cfg.IntOpt(
        "rados_connect_timeout",
        default=-1,
        help="Seconds Ceph has to connect and to answer; below 0: Ceph's own options say.",
    ),
    cfg.BoolOpt("rbd_thin_provisioning", default=False, help="Do not write chunks that are all zeros."),
]

S3 = [
    cfg.StrOpt("s3_store_host", help="The endpoint: host, or URL; without a scheme http."),
    cfg.StrOpt("s3_store_region_name", default="", help="Region of the bucket; empty: from the host, or us-east-1."),
    cfg.StrOpt("s3_store_access_key", secret=True, help="Access key."),
    cfg.StrOpt("s3_store_secret_key", secret=True, help="Secret key."),
    cfg.StrOpt("s3_store_bucket", help="Bucket of the images."),
    cfg.BoolOpt("s3_store_create_bucket_on_put", default=False, help="Create the bucket if there is none."),
    cfg.StrOpt(
        "s3_store_bucket_url_format",
        default="auto",
        choices=["auto", "path", "virtual"],
        help="Where the bucket's name stands in URLs; auto: in the host name at AWS, else in the path.",
    ),
    cfg.IntOpt("s3_store_large_object_size", default=100, min=0, help="MiB from which images are sent in parts."),
    cfg.IntOpt("s3_store_large_object_chunk_size", default=10, min=5, help="MiB of a part."),
    cfg.IntOpt("s3_store_thread_pools", default=10, min=1, help="Most parts of an image under way at once."),
    cfg.StrOpt("s3_store_cacert", default="", help="PEM file: the authorities the endpoint is verified by."),
    cfg.BoolOpt("s3_store_enable_data_integrity_protection", default=False, help="Obey the next two options."),
    cfg.StrOpt(
        "s3_store_request_checksum_calculation",
        default="when_required",
        choices=["when_required", "when_supported"],
        help="Whether uploads carry a checksum that the server keeps.",
    ),
    cfg.StrOpt(
        "s3_store_response_checksum_validation",
        default="when_required",
        choices=["when_required", "when_supported"],
        help="Read for compatibility.",
    ),
]

SWIFT = [
    cfg.BoolOpt("swift_store_auth_insecure", default=False, help="Do not verify the servers' certificates."),
    cfg.StrOpt("swift_store_cacert", help="PEM file: the authorities servers are verified by."),
    cfg.StrOpt("swift_store_region", help="Region of the endpoint."),
    cfg.StrOpt("swift_store_endpoint", help="Storage URL that replaces the one of the catalog."),
    cfg.StrOpt(
        "swift_store_endpoint_type",
        default="publicURL",
        choices=["publicURL", "adminURL", "internalURL"],
        help="Which endpoint of the catalog is used.",
    ),
    cfg.StrOpt("swift_store_service_type", default="object-store", help="Service type in the catalog."),
    cfg.StrOpt("swift_store_container", default="glance", help="Container of the images, or how its name begins."),
    cfg.IntOpt("swift_store_large_object_size", default=5120, min=1, help="MB from which images are segmented."),
    cfg.IntOpt("swift_store_large_object_chunk_size", default=200, min=1, help="MB of a segment."),
    cfg.BoolOpt("swift_store_create_container_on_put", default=False, help="Create containers that are missing."),
    cfg.BoolOpt(
        "swift_store_multi_tenant", default=False, help="Keep each image in the account of the project that owns it."
    ),
    cfg.IntOpt(
        "swift_store_multiple_containers_seed",
        default=0,
        min=0,
        max=32,
        help="Spread images over containers by so many characters of their ids.",
    ),
    cfg.ListOpt("swift_store_admin_tenants", default=[], help="Multi-tenant: ids of projects that may write."),
    cfg.BoolOpt("swift_store_ssl_compression", default=True, help="Read for compatibility: TLS compresses no more."),
    cfg.IntOpt("swift_store_retry_get_count", default=0, min=0, help="Least times a download is resumed."),
    cfg.IntOpt(
        "swift_store_expire_soon_interval", default=60, min=0, help="Seconds before its end a token counts as old."
    ),
    cfg.BoolOpt("swift_store_use_trusts", default=True, help="Read for compatibility: no trusts are needed."),
    cfg.BoolOpt("swift_buffer_on_upload", default=False, help="Spool segments, so that each can be sent again."),
    cfg.StrOpt("swift_upload_buffer_dir", help="Directory of spooled segments."),
    cfg.StrOpt("default_swift_reference", default="ref1", help="Section of swift_store_config_file for new images."),
    cfg.StrOpt("swift_store_config_file", help="INI file of accounts, so that locations hold no credentials."),
    cfg.StrOpt("swift_store_auth_version", default="3", help="Version of the authentication: 3, or 1 (ours only)."),
    cfg.StrOpt("swift_store_auth_address", help="URL of the authentication service."),
    cfg.StrOpt("swift_store_user", secret=True, help="project:user, or account:user with version 1."),
    cfg.StrOpt("swift_store_key", secret=True, help="Password of swift_store_user."),
    cfg.StrOpt("swift_store_application_credential_id", secret=True, help="Instead of user and key."),
    cfg.StrOpt("swift_store_application_credential_secret", secret=True, help="Instead of user and key."),
    cfg.StrOpt("swift_store_project_name", help="Read for compatibility: the credential knows its project."),
    cfg.StrOpt("swift_store_project_id", help="Read for compatibility: the credential knows its project."),
]

VMWARE = [
    cfg.StrOpt("vmware_server_host", help="vCenter or ESX host: a name or address, perhaps with a port."),
    cfg.StrOpt("vmware_server_username", help="Who we are there."),
    cfg.StrOpt("vmware_server_password", secret=True, help="Password of vmware_server_username."),
    cfg.IntOpt("vmware_api_retry_count", default=10, min=1, help="How often a request that fails is repeated."),
    cfg.IntOpt("vmware_task_poll_interval", default=5, min=1, help="Most seconds between two looks at a task."),
    cfg.StrOpt("vmware_store_image_dir", default="/openstack_glance", help="Directory of the images in a datastore."),
    cfg.BoolOpt(
        "vmware_insecure",
        default=False,
        deprecated_name="vmware_api_insecure",
        help="Do not verify the server; without effect if a file or a fingerprint is given.",
    ),
    cfg.StrOpt("vmware_ca_file", help="PEM file: the authorities the server is verified by."),
    cfg.StrOpt(
        "vmware_server_fingerprint",
        help="SHA-256 of the server's certificate, in hex: no other is accepted, and nothing else is verified.",
    ),
    cfg.MultiStrOpt(
        "vmware_datastores",
        help="Where new images go, as datacenter_path:datastore[:weight]: the greatest weight that has room, and of "
        "several of that weight the one with most room.",
    ),
]

DRIVERS: Final[dict[str, list[cfg.Opt]]] = {
    "file": FILESYSTEM,
    "http": HTTP,
    "rbd": RBD,
    "s3": S3,
    "swift": SWIFT,
    "vmware": VMWARE,
}
"""The options of each type of store that ``enabled_backends`` may name."""

ALL: Final = [option for options in DRIVERS.values() for option in options]
