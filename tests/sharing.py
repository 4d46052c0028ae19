"""Which tests run in one process, one after the other, when several processes share them.

Those which use the same dear servers do, so that each is started once; else those of one file do.
"""

from __future__ import annotations

import re
from typing import Any, Final

from xdist.scheduler import LoadScopeScheduling

# From a part of a test's name to what it shares with others.
SHARED: Final = {
    r"^tests/integration/db/.*[-[]mariadb[]-]": "MariaDB",
    r"^tests/integration/db/.*[-[]postgresql[]-]": "PostgreSQL",
    r"^tests/integration/stores/test_(rbd|glance_store.*\[rbd)": "Ceph",
    r"^tests/integration/stores/test_(s3|swift[.]|swift_faults|damage|glance_store.*\[s3)": "Swift, moto",
    r"^tests/integration/stores/test_(vmware|several|glance_store.*\[vmware)": "vCenter",
    r"^tests/integration/stores/test_(glance_store|replay_stores|swift_)": "Keystone",
    r"^tests/integration/test_(barbican|import_kills|keystone|limits|regions|replay[.]py::test_limits)": "Keystone",
}

LONGEST_FIRST: Final = (
    "MariaDB", "PostgreSQL", "Keystone", "Swift, moto", "Ceph", "vCenter", "tests/integration/test_tempest.py",
    "tests/checks/test_source.py", "tests/functional/test_memory.py", "tests/integration", "tests/functional", "",
)  # fmt: skip
"""How their names begin, in the order in which they are begun: so in the end nobody waits long for another."""


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """Hands the tests out, those that share something together, and begins with those that take longest."""

    def _split_scope(self, nodeid: str) -> str:
        for pattern, scope in SHARED.items():
            if re.search(pattern, nodeid):
                return scope
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_place), last=False)
        super()._assign_work_unit(node)

    def remove_node(self, node: Any) -> str | None:
        """Give the tests of a process that has ended to others; not the one that has ended it, which is returned."""
        units = self.assigned_work.pop(node)
        left = {scope: [test for test, done in unit.items() if not done] for scope, unit in units.items()}
        ended_by = next((tests.pop(0) for tests in left.values() if tests), None)
        self.workqueue.update({scope: dict.fromkeys(tests, False) for scope, tests in left.items() if tests})
        for other in self.nodes:
            self._reschedule(other)
        return ended_by


def _place(scope: str) -> int:
    return next(place for place, begin in enumerate(LONGEST_FIRST) if scope.startswith(begin))
