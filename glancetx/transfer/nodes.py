"""Staged data lies on one node: what needs it there is asked of that node, as the caller (processes.md, P-040)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from glancetx.domain.context import RequestContext
from glancetx.domain.errors import NodeRefused, NodeUnavailable
from glancetx.domain.image import Image
from glancetx.domain.importing import STAGE_HOST
from glancetx.outgoing.answers import NoAnswer
from glancetx.transfer.staging import StagingArea

if TYPE_CHECKING:
    from glancetx.outgoing.exchange import Connections, Reply

UNAVAILABLE: Final = "Stage host is unavailable"


class Nodes:
    """The other nodes. *own_url* is where they reach this one; None: there are no others.

    *connect* is called when one is asked for the first time: a small service does not need it.
    """

    def __init__(self, connect: Callable[[], Connections], staging: StagingArea, own_url: str | None) -> None:
        self._connect, self._staging, self._own_url = connect, staging, own_url
        self._connections: Connections | None = None
        self._log = Logger()

    async def close(self) -> None:
        """End what is under way."""
        if self._connections is not None:
            await self._connections.close()

    async def holder(self, image: Image) -> str | None:
        """The URL of the node that has the staged data of *image*; None if that is this one, or nobody's."""
        place = image.properties.get(STAGE_HOST)
        if not place or place == self._own_url or await self._staging.size(image.id) is not None:
            return None
        return str(place)

    async def ask(self, node: str, context: RequestContext, method: str, path: str, document: Any = None) -> str | None:
        """Send a request to *node*, as the caller; returns the id that it has there.

        :raises NodeUnavailable: if it cannot be reached. :raises NodeRefused: if the answer is no success.
        """
        self._log.info("{method} {path} goes to {node}, which has the data", method=method, path=path, node=node)
        headers = {} if context.token is None else {"X-Auth-Token": context.token}
        if self._connections is None:
            self._connections = self._connect()
        try:
            reply: Reply = await self._connections.exchange.request(method, node.rstrip("/") + path, headers, document)
        except NoAnswer as error:
            self._log.warn("{node} does not answer: {why}", node=node, why=str(error))
            raise NodeUnavailable(UNAVAILABLE) from error
        if reply.status // 100 != 2:
            raise NodeRefused(reply.status, _told(reply))
        return reply.header("X-Openstack-Request-Id")


def _told(reply: Reply) -> str:
    """What the other node says of an error."""
    try:
        document = reply.document()
    except NoAnswer:
        document = None
    message = document.get("message") if isinstance(document, dict) else None
    return str(message)[:1000].removesuffix("<br /><br />\n\n\n").strip() if message else "The other node refuses this."
