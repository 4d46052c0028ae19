"""Where the other nodes of this service are, and how they are reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glancetx.config.settings import ClientTlsSettings, ImportSettings
from glancetx.transfer.nodes import Nodes
from glancetx.transfer.staging import StagingArea

if TYPE_CHECKING:
    from glancetx.outgoing.exchange import Connections

TIMEOUT = 60.0  # seconds, as Glance waits (P-040)


def build_nodes(settings: ImportSettings, staging: StagingArea, reactor: Any) -> Nodes:
    """The nodes; nothing is connected before one is needed."""

    def connect() -> Connections:
        from glancetx.outgoing.exchange import Connections

        return Connections(reactor, ClientTlsSettings(), TIMEOUT)

    return Nodes(connect, staging, settings.node_url)
