"""Options of the certificates with which images are signed, in castellan's words where it has some."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from glancetx.config.settings import CertificateSettings, ClientTlsSettings

BARBICAN: Final = [
    cfg.URIOpt("barbican_endpoint", help="URL of Barbican; unset: the one in Keystone's catalog."),
    cfg.StrOpt(
        "barbican_endpoint_type",
        default="public",
        choices=["public", "internal", "admin"],
        help="Which endpoint of the catalog.",
    ),
    cfg.StrOpt("barbican_region_name", help="Region of that endpoint."),
    cfg.BoolOpt("verify_ssl", default=True, help="Verify Barbican's certificate."),
    cfg.StrOpt("verify_ssl_path", help="PEM file of authorities, instead of the system's."),
]


def certificate_settings(conf: Any) -> CertificateSettings:
    group, folder = conf.barbican, conf.glancetx.signature_certificates
    return CertificateSettings(
        folder=Path(folder) if folder else None,
        barbican=group.barbican_endpoint or None,
        interface=group.barbican_endpoint_type,
        region=group.barbican_region_name or None,
        tls=ClientTlsSettings(
            cafile=Path(group.verify_ssl_path) if group.verify_ssl_path else None, insecure=not group.verify_ssl
        ),
    )
