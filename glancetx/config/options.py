"""The options, in oslo.config's words: Glance's names, types and defaults, and our own group ``[glancetx]``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from oslo_config import cfg, types

from glancetx.config.cache import IMAGE_CACHE
from glancetx.config.cache import OWN as OWN_CACHE
from glancetx.config.certificates import BARBICAN
from glancetx.config.coordination import COORDINATION
from glancetx.config.identity import KEYSTONE_AUTHTOKEN
from glancetx.config.limits import OSLO_LIMIT
from glancetx.config.logs import LOGS
from glancetx.config.messaging import NOTIFICATIONS, RABBIT, TRANSPORT
from glancetx.config.messaging import OWN as OWN_MESSAGING
from glancetx.config.middleware import CORS, HEALTHCHECK, OSLO_MIDDLEWARE
from glancetx.config.plugins import IMAGE_CONVERSION, IMAGE_IMPORT, INJECT_METADATA
from glancetx.config.plugins import OWN as OWN_PLUGINS
from glancetx.config.settings import CONTAINER_FORMATS, DISK_FORMATS
from glancetx.config.store_options import ALL, BACKEND, GLANCE_STORE

API = [
    cfg.StrOpt("public_endpoint", help="Base URL shown in the versions document, if clients reach us by another."),
    cfg.IntOpt("limit_param_default", default=25, min=1, help="Images on a page if the request names no limit."),
    cfg.IntOpt("api_limit_max", default=1000, min=1, help="Most images on a page, whatever the request says."),
    cfg.IntOpt("image_size_cap", default=1024**4, min=1, max=2**63, help="Largest upload in bytes."),
    cfg.StrOpt(
        "user_storage_quota",
        default="0",
        help="Most bytes of all images of a project, such as 500GB (B, KB, MB, GB, TB: powers of 1024); 0: no limit.",
    ),
    cfg.BoolOpt("use_keystone_limits", default=False, help="Keystone's unified limits, and not user_storage_quota."),
    cfg.IntOpt("image_property_quota", default=128, help="Most properties of an image; negative: no limit."),
    cfg.IntOpt("image_tag_quota", default=128, help="Most tags of an image; negative: no limit."),
    cfg.IntOpt("image_location_quota", default=10, help="Most locations of an image; negative: no limit."),
    cfg.IntOpt("image_member_quota", default=128, help="Most members of an image; negative: no limit."),
    cfg.StrOpt("hashing_algorithm", default="sha512", help="Secure hash of image data; any name hashlib knows."),
    cfg.BoolOpt("do_secure_hash", default=True, help="Read the data of a location that is added, and hash it."),
    cfg.IntOpt("http_retries", default=3, min=0, help="How often reading it for that is tried again."),
    cfg.BoolOpt("show_image_direct_url", default=False, help="Show direct_url in image bodies."),
    cfg.BoolOpt("show_multiple_locations", default=False, help="Show locations in image bodies."),
    cfg.BoolOpt("allow_anonymous_access", default=False, help="Let callers without credentials read."),
    cfg.IntOpt("max_request_id_length", default=64, min=0, help="Longest request id taken over from a client."),
    cfg.StrOpt("property_protection_file", help="File of rules who may touch which custom properties."),
    cfg.StrOpt(
        "property_protection_rule_format",
        default="roles",
        choices=["roles", "policies"],
        help="Whether these rules name roles, or rules of the policy.",
    ),
    cfg.StrOpt(
        "metadata_encryption_key",
        secret=True,
        help="URLs of locations are kept encrypted by this key of 16, 24 or 32 characters; unset: as they are.",
    ),
    cfg.BoolOpt("delayed_delete", default=False, help="Keep the data of deleted images until the scrubber comes."),
    cfg.IntOpt("scrub_time", default=0, min=0, help="Seconds for which it is kept at least."),
    cfg.IntOpt("scrub_pool_size", default=1, min=1, help="Images that are scrubbed at once."),
    cfg.IntOpt("wakeup_time", default=300, min=0, help="Seconds between two runs of the scrubber."),
    cfg.BoolOpt("daemon", default=False, help="glancetx-scrubber goes on, with a run every wakeup_time seconds."),
    cfg.StrOpt("worker_self_reference_url", help="URL at which the other nodes reach this one."),
    cfg.ListOpt(
        "enabled_import_methods",
        item_type=types.String(quotes=True),
        bounds=True,
        help="Import methods that are offered, in brackets: [glance-direct,web-download]; []: none.",
    ),
    cfg.StrOpt("node_staging_uri", help="Where staged data lies if enabled_backends is not set: file:///..."),
    cfg.DictOpt("enabled_backends", help="The stores, as id:type; each has a group of its name."),
    cfg.StrOpt(
        "metadata_source_path", default="/etc/glance/metadefs/", help="Folder of the files that db load_metadefs loads."
    ),
]

IMAGE_FORMAT = [
    cfg.ListOpt(
        "container_formats",
        default=list(CONTAINER_FORMATS),
        deprecated_group="DEFAULT",
        help="Container formats that are accepted.",
    ),
    cfg.ListOpt(
        "disk_formats",
        default=list(DISK_FORMATS),
        deprecated_group="DEFAULT",
        help="Disk formats that are accepted.",
    ),
    cfg.BoolOpt("require_image_format_match", default=True, help="Refuse content that is not of the disk format."),
    cfg.ListOpt(
        "vmdk_allowed_types",
        default=["streamOptimized", "monolithicSparse"],
        help="VMDK create types that are accepted.",
    ),
    cfg.ListOpt("gpt_safety_checks_nonfatal", default=[], help="GPT checks that only warn."),
]

DATABASE = [
    cfg.StrOpt("connection", secret=True, help="SQLAlchemy URL of the database."),
    cfg.StrOpt("connection_parameters", default="", help="Added to that URL: name=value&name=value."),
    cfg.IntOpt("max_pool_size", default=5, min=0, help="Connections kept open by each process; 0: 50."),
    cfg.IntOpt(
        "connection_recycle_time", default=3600, help="Seconds after which a connection is replaced; <1: never."
    ),
    cfg.IntOpt("mysql_wsrep_sync_wait", help="What Galera nodes wait for before they answer; unset: server's default."),
]


class Listed(types.List):
    """A list that may stand in brackets, as Glance wants it."""

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str) and value.strip().startswith("[") and value.strip().endswith("]"):
            value = value.strip()[1:-1]
        return super().__call__(value)


TEXTS: Final = Listed(item_type=types.String(quotes=True))
NUMBERS: Final = Listed(item_type=types.Integer(1, 65535))

IMPORT_FILTERING = [
    cfg.Opt("allowed_schemes", type=TEXTS, default=["http", "https"], help="Schemes of URLs that may be fetched."),
    cfg.Opt(
        "disallowed_schemes", type=TEXTS, default=[], help="Schemes that may not; only if allowed_schemes is empty."
    ),
    cfg.Opt(
        "allowed_hosts",
        type=TEXTS,
        default=[],
        help="Hosts to fetch from, whatever their addresses; empty: all public.",
    ),
    cfg.Opt(
        "disallowed_hosts", type=TEXTS, default=[], help="Hosts not to fetch from; only if allowed_hosts is empty."
    ),
    cfg.Opt("allowed_ports", type=NUMBERS, default=[80, 443], help="Ports to fetch from."),
    cfg.Opt(
        "disallowed_ports",
        type=NUMBERS,
        default=[],
        help="Ports not to fetch from; only if allowed_ports is empty.",
    ),
]

PASTE_DEPLOY = [
    cfg.StrOpt("config_file", help="Glance's paste file; unset: glance-api-paste.ini beside the configuration."),
    cfg.StrOpt("flavor", help="Which of Glance's pipelines to be; none: no authentication."),
]

TASK = [
    cfg.IntOpt("task_time_to_live", default=48, min=0, deprecated_group="DEFAULT", help="Hours an ended task is kept."),
]

GLANCE_DOWNLOAD = [
    cfg.ListOpt(
        "extra_properties",
        default=["hw_", "trait:", "os_distro", "os_secure_boot", "os_type"],
        help="How names of properties begin that glance-download copies.",
    ),
]

WSGI = [
    cfg.IntOpt("task_pool_threads", default=16, min=1, help="Imports under way at a time in one process."),
]

OSLO_POLICY = [
    cfg.StrOpt("policy_file", default="policy.yaml", help="File of overridden policy rules."),
    cfg.MultiStrOpt("policy_dirs", default=["policy.d"], help="Folders of more policy files."),
    cfg.StrOpt("policy_default_rule", default="default", help="The rule that counts for one that does not exist."),
    cfg.BoolOpt("enforce_new_defaults", default=True, help="Leave out the defaults from before roles counted."),
]

GLANCETX = [
    cfg.StrOpt("data_dir", help="Folder of everything that is not named elsewhere (see docs/running.md)."),
    cfg.MultiStrOpt("listen", help="Twisted endpoint to listen on, tcp:, ssl: or unix:; may be repeated."),
    cfg.IntOpt("workers", default=0, min=0, help="Processes that serve; 0: this one."),
    cfg.FloatOpt("drain_timeout", default=60.0, min=0, mutable=True, help="Seconds transfers have to end at a stop."),
    cfg.StrOpt(
        "authentication",
        choices=["builtin", "keystone", "trusted", "none"],
        help="builtin accounts, keystone tokens, trusted headers of a proxy, or none at all.",
    ),
    cfg.StrOpt("tls_certificate", help="PEM file: certificate and chain of ssl: endpoints that name none."),
    cfg.StrOpt("tls_key", help="PEM file: the private key of tls_certificate."),
    cfg.StrOpt("tls_client_ca", help="PEM file: authorities of client certificates; unset: none are asked for."),
    cfg.BoolOpt("tls_client_certificate_required", default=False, help="Refuse clients without a certificate."),
    *OWN_PLUGINS,
    cfg.StrOpt("signature_certificates", help="Folder of certificates of signed images: ID.pem; before Barbican."),
    cfg.IntOpt("audit_rate", default=10 * 1024 * 1024, min=0, help="Bytes a second the auditor reads; 0: no audit."),
    cfg.IntOpt(
        "repair_rate",
        default=100 * 1024 * 1024,
        min=0,
        help="Bytes a second repairs read, and who looks for hashes that are missing; 0: neither happens.",
    ),
    cfg.BoolOpt(
        "verify_reads",
        default=True,
        help="Compare images with their digests while they are downloaded whole; files only if they were touched.",
    ),
    cfg.FloatOpt(
        "stuck_after",
        default=86400.0,
        min=0,
        help="Seconds after which an image that a dead Glance was filling is queued again; 0: never.",
    ),
    cfg.MultiStrOpt(
        "replication_rule",
        help="CONDITIONS -> STORES: where images are copied to; may be repeated, the first that fits an image counts.",
    ),
    cfg.FloatOpt("audit_period", default=30 * 86400.0, min=0, help="Seconds in which it reads every copy once."),
    cfg.IntOpt(
        "stray_rate",
        default=1000,
        min=0,
        help="Items a second of a store that are looked at, in search of data that no image has; 0: no search.",
    ),
    cfg.FloatOpt("stray_period", default=86400.0, min=0, help="Seconds between the beginnings of two such searches."),
    cfg.FloatOpt(
        "stray_grace", default=86400.0, min=0, help="Seconds for which data that no image has is left alone at first."
    ),
    cfg.ListOpt("stray_stores", default=[], help="Ids of the stores that are searched; empty: all that can be."),
    cfg.FloatOpt(
        "remove_strays_after",
        default=0.0,
        min=0,
        help="Days after which data that no image has is removed; 0: only glancetx-manage strays delete does that.",
    ),
    cfg.BoolOpt("access_log", default=False, help="Log a line for each request."),
    cfg.ListOpt(
        "metrics_sources",
        default=["127.0.0.0/8", "::1/128"],
        help="Networks from which /metrics may be asked; empty: nobody may.",
    ),
    cfg.FloatOpt("limits_cache_time", default=5.0, min=0, help="Seconds for which unified limits are remembered."),
    cfg.FloatOpt("header_timeout", default=30.0, min=0.1, mutable=True, help="Seconds for a request's headers."),
    cfg.FloatOpt("idle_timeout", default=60.0, min=0.1, mutable=True, help="Seconds without a byte on a connection."),
    cfg.IntOpt("min_body_rate", default=1024, min=0, mutable=True, help="Slowest upload, bytes a second; 0: any."),
    cfg.FloatOpt("rate_window", default=60.0, min=0.1, mutable=True, help="Seconds min_body_rate is averaged over."),
    cfg.IntOpt("max_header_count", default=100, min=1, mutable=True, help="Most headers of a request."),
    cfg.IntOpt("max_header_size", default=65536, min=1024, mutable=True, help="Bytes of all headers together."),
    cfg.IntOpt("max_url_length", default=16384, min=256, mutable=True, help="Bytes of a request's URL."),
    cfg.IntOpt("max_json_size", default=1024 * 1024, min=1024, mutable=True, help="Bytes of a JSON body."),
    cfg.IntOpt("max_json_depth", default=32, min=2, mutable=True, help="Nesting of a JSON body."),
    cfg.ListOpt("allowed_networks", default=[], help="Networks that are not public and may be fetched from."),
    cfg.FloatOpt("fetch_timeout", default=86400.0, min=0, help="Seconds an import may fetch its data; 0: no limit."),
    cfg.FloatOpt("fetch_stall", default=60.0, min=0.1, help="Seconds a server may send nothing before it is left."),
    cfg.IntOpt("fetch_min_rate", default=1024, min=0, help="Slowest server, bytes a second over a minute; 0: any."),
    cfg.IntOpt("fetch_max_rate", default=0, min=0, help="Bytes a second that one import fetches at most; 0: no limit."),
    cfg.IntOpt("fetch_max_redirects", default=5, min=0, help="Redirections that are followed for an import."),
    cfg.IntOpt("fetch_retries", default=4, min=0, help="More tries where a server does not answer, or breaks off."),
    cfg.StrOpt("fetch_cafile", help="PEM file: authorities of servers fetched from; unset: the system's."),
    cfg.StrOpt("fetch_proxy", secret=True, help="HTTP proxy for imports: http://user:password@host:port."),
    cfg.IntOpt("max_ranges", default=16, min=1, mutable=True, help="Parts one Range header may ask for."),
    cfg.IntOpt("drain_limit", default=1024 * 1024, min=0, mutable=True, help="Unread body bytes swallowed."),
    cfg.FloatOpt("linger", default=5.0, min=0, mutable=True, help="Seconds a refused upload has to read why."),
]

GROUPS: dict[str, Sequence[cfg.Opt]] = {
    "DEFAULT": [*API, *IMAGE_CACHE, *TRANSPORT, *LOGS],
    "image_format": IMAGE_FORMAT,
    "database": DATABASE,
    "glance_store": [*GLANCE_STORE, *ALL],
    "backend_defaults": [*ALL, *BACKEND],
    "task": TASK,
    "import_filtering_opts": IMPORT_FILTERING,
    "glance_download_properties": GLANCE_DOWNLOAD,
    "image_import_opts": IMAGE_IMPORT,
    "image_conversion": IMAGE_CONVERSION,
    "inject_metadata_properties": INJECT_METADATA,
    "wsgi": WSGI,
    "coordination": COORDINATION,
    "paste_deploy": PASTE_DEPLOY,
    "cors": CORS,
    "oslo_middleware": OSLO_MIDDLEWARE,
    "healthcheck": HEALTHCHECK,
    "keystone_authtoken": KEYSTONE_AUTHTOKEN,
    "barbican": BARBICAN,
    "oslo_limit": OSLO_LIMIT,
    "oslo_policy": OSLO_POLICY,
    "oslo_messaging_notifications": NOTIFICATIONS,
    "oslo_messaging_rabbit": RABBIT,
    "glancetx": [*GLANCETX, *OWN_CACHE, *OWN_MESSAGING],
}


def list_options() -> Iterable[tuple[str, Sequence[cfg.Opt]]]:
    """All groups with their options, for ``oslo-config-generator --namespace glancetx``."""
    return list(GROUPS.items())
