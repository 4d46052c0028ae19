"""glancetx: the image service for clouds, built on Twisted.

What is named in `__all__` here, in `glancetx.interfaces` and in `glancetx.testing` is public; all else may change.
The names are loaded when they are first used, so that importing glancetx installs no reactor and costs little.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glancetx.runtime.postponed import postpone

if TYPE_CHECKING:
    from glancetx.app import ImageService as ImageService
    from glancetx.config.loading import load_settings as load_settings
    from glancetx.config.settings import Settings as Settings
    from glancetx.web.request import ImageRequest as ImageRequest

__all__ = ["ImageRequest", "ImageService", "Settings", "load_settings"]

# What oslo.config, oslo.policy and oslo.utils load for types of options, policy files, plugins and logs that hardly
# anybody has: 3 MB, and hundreds of regular expressions to be compiled.
postpone("netaddr", "rfc3986", "oslo_serialization.jsonutils", "oslo_utils.strutils", "stevedore", "yaml")

_PLACES = {
    "ImageRequest": "glancetx.web.request",
    "ImageService": "glancetx.app",
    "Settings": "glancetx.config.settings",
    "load_settings": "glancetx.config.loading",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'glancetx' has no attribute {name!r}")
