"""`ImageSite`: the factory of our connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.web.http import datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import Site, version

from glancetx.config.settings import HttpSettings
from glancetx.web.channel import ImageChannel
from glancetx.web.deadlines import Timers
from glancetx.web.request import ImageRequest, IStreamingResource


class ImageSite(Site):
    """A Site whose uploads stream and whose clients have deadlines. *log* is called with each finished request."""

    def __init__(
        self,
        resource: IResource,
        settings: HttpSettings,
        reactor: Any,
        log: Callable[[ImageRequest], None] | None = None,
    ) -> None:
        super().__init__(resource, requestFactory=ImageRequest, reactor=reactor)
        self.settings = settings
        self._timers = Timers(reactor)
        self._log_request = log
        self._told = (0, b"")

    @property
    def leaf(self) -> IResource | None:
        """Our resource, if it is asked whatever the path of a request is, and reads bodies itself."""
        found: IResource = self.resource
        return found if found.isLeaf and IStreamingResource.providedBy(found) else None

    def server_and_date(self) -> bytes:
        """Two lines of an answer's head, which are the same for a second."""
        second = int(time.time())
        if self._told[0] != second:
            self._told = second, b"Server: %b\r\nDate: %b" % (version, datetimeToString(second))
        return self._told[1]

    def buildProtocol(self, addr: Any) -> ImageChannel:  # type: ignore[override]  # HTTP/2 is not negotiated
        return ImageChannel(self, self.settings, self.reactor, self._timers)

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """No log file is opened, and no clock ticks for its lines."""

    def stopFactory(self) -> None:
        """Nothing to release."""

    def log(self, request: Any) -> None:
        if self._log_request is not None:
            self._log_request(request)
