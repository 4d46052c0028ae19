"""What holds for all tests: how they are shared out among processes (``-n 4``), and what Hypothesis may demand.

And what functional and integration tests both want.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.services.rabbitmq import RabbitMQ

if TYPE_CHECKING:
    from tests.sharing import Sharing

# A busy machine is no failure. In CI a run is like the one before; everywhere else new examples are tried each time.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("GLANCETX_REQUIRE_SERVICES") == "1",
)
settings.load_profile("patient")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the many processes that tests start shall not compile us anew
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # we run in the background, which is not the processes' business
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Sharing:
    from tests.sharing import Sharing  # which needs xdist

    return Sharing(config, log)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A RabbitMQ that runs, for all tests of a file."""
    started = RabbitMQ(tmp_path_factory.mktemp("rabbitmq") / "broker")
    try:
        started.start()
        yield started
    finally:
        started.stop()
