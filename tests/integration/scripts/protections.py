"""Custom properties that not everybody may create, read, update or delete, by roles and by policy rules.

Rows: A-026, A-260, A-261, A-262.
"""

from __future__ import annotations

from tests.integration.replaying import ADMIN, OWNER, STRANGER, Ask
from tests.integration.scripts.records import CRASH, FORMATS, add, create, item, patch, remove, replace

OPTIONS = "property_protection_file = {folder}/protections.conf\nproperty_protection_rule_format = "

BY_ROLES = """
[^open_.*]
create = @
read = @
update = @
delete = @
[^closed_.*]
create = !
read = !
update = !
delete = !
[^Cased$]
create = MEMBER
read = Member,Admin
update = MEMBER
delete = MEMBER
[^only_read_.*]
create = admin
read = member, admin
update = admin
delete = admin
[^only_create_.*]
create = member
read = admin
update = admin
delete = admin
[^no_delete_.*]
create = member,admin
read = member,admin
update = member,admin
delete =
[part]
create = member
read = member
update = member
delete = member
[^os_glance_.*]
create = @
read = !
update = @
delete = @
[^admin_.*]
create = admin
read = admin
update = admin
delete = admin
"""

RULES = """
members: "role:member"
admins: "role:admin"
anybody: "@"
nobody: "!"
owners: "project_id:%(owner)s"
"""

BY_POLICIES = """
[^open_.*]
create = @
read = anybody
update = @
delete = anybody
[^closed_.*]
create = nobody
read = !
update = nobody
delete = !
[^Cased$]
create = members
read = members
update = members
delete = members
[^only_read_.*]
create = admins
read = members
update = admins
delete = admins
[^only_create_.*]
create = members
read = admins
update = admins
delete = admins
[^no_delete_.*]
create = members
read = members
update = members
delete = nobody
[part]
create = owners
read = owners
update = owners
delete = owners
[^admin_.*]
create = context_is_admin
read = context_is_admin
update = context_is_admin
delete = context_is_admin
"""

NAMES = (
    "open_x",
    "closed_x",
    "Cased",
    "cased",
    "only_read_x",
    "only_create_x",
    "no_delete_x",
    "some_part_x",
    "admin_x",
    "else",
)

LOST = {"body": "Glance forgets what who changes the image cannot read"}
PROTECTED = [
    *(create(number, caller=OWNER, **FORMATS, **{name: "1"}) for number, name in enumerate(NAMES, 10)),
    *(create(number, caller=ADMIN, **FORMATS, **{name: "1"}) for number, name in enumerate(NAMES, 30)),
    create(1, open_x="1", Cased="1", no_delete_x="1"),
    create(2, caller=ADMIN, visibility="public", open_x="1", only_read_x="1", no_delete_x="1"),
    *(Ask("GET", item(number), caller=caller) for number in (1, 2) for caller in (OWNER, ADMIN, STRANGER)),
    *(
        Ask("GET", item(number), caller=caller, differs=LOST if (number, caller) == (15, ADMIN) else {})
        for number in range(10, 20)
        for caller in (OWNER, ADMIN)
    ),
    patch(10, add("/only_create_x", "2"), differs=CRASH),
    patch(10, replace("/only_create_x", "2")),
    patch(10, remove("/only_create_x")),
    patch(2, replace("/owner", OWNER), caller=ADMIN),
    *(
        patch(number, change, caller=caller)
        for number in (1, 2)
        for caller in (OWNER, ADMIN)
        for name in NAMES
        if name != "only_create_x"
        for change in (add(f"/{name}", "2"), replace(f"/{name}", "3"), add(f"/{name}", "3"), remove(f"/{name}"))
    ),
    *(Ask("GET", item(number), caller=caller) for number in (1, 2) for caller in (OWNER, ADMIN)),
    create(3, caller=ADMIN, owner=OWNER, open_x="1", admin_x="1", only_read_x="1", no_delete_x="1"),
    patch(3, replace("/name", "new"), replace("/tags", ["x"])),
    patch(3, add("/open_y", "1"), remove("/open_x")),
    patch(3, add("/open_y", "2"), add("/admin_x", "2")),
    Ask("GET", item(3), caller=OWNER),
    Ask("GET", item(3), caller=ADMIN, differs=LOST),
    Ask("PUT", f"{item(3)}/tags/y", caller=OWNER),
    Ask("GET", item(3), caller=ADMIN, differs=LOST),
    Ask("GET", "/v2/images?admin_x=1", caller=OWNER),
    Ask("GET", "/v2/images?admin_x=1", caller=ADMIN, differs=LOST),
    Ask("GET", "/v2/images?only_read_x=1", caller=OWNER),
    Ask("GET", "/v2/images?closed_x=1", caller=OWNER),
    Ask("GET", "/v2/images?name=new", caller=OWNER),
    Ask("DELETE", item(3), caller=OWNER),
    Ask("DELETE", item(2), caller=ADMIN),
    create(4, caller=ADMIN, os_glance_x="1"),
    patch(1, add("/os_glance_x", "1"), caller=ADMIN),
]
