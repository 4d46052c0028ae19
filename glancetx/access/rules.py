"""The policy rules and their defaults (config.md, section 6), in the form oslo.policy and its tools read.

Names and checks are Glance 33's, so that an operator's policy files keep their meaning. The rules are enforced by
`glancetx.access.policy`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from oslo_policy import policy

ADMIN: Final = "rule:context_is_admin"
SERVICE: Final = "rule:service_api"
METADEF_ADMIN: Final = "rule:metadef_admin"
MEMBER: Final = "role:member and project_id:%(project_id)s"
READER: Final = "role:reader and project_id:%(project_id)s"
SHOWN_TO_ALL: Final = "'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s"
VISIBLE: Final = f"project_id:%(project_id)s or project_id:%(member_id)s or {SHOWN_TO_ALL}"

ADMIN_OR_MEMBER: Final = f"{ADMIN} or ({MEMBER})"
ADMIN_OR_READER: Final = f"{ADMIN} or ({READER})"
MAY_SEE: Final = f"{ADMIN} or (role:reader and ({VISIBLE}))"
MAY_READ_DATA: Final = f"{ADMIN} or (role:member and ({VISIBLE}))"
MAY_SEE_MEMBERS: Final = f"{ADMIN} or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"
MAY_SEE_NAMESPACE: Final = f"{ADMIN} or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"

IMAGE: Final = "/v2/images/{image_id}"
NAMESPACE: Final = "/v2/metadefs/namespaces/{namespace_name}"

# Rules which others refer to: name, check, meaning.
BUILDING_BLOCKS: Final = (
    ("default", "", "What an unknown rule means when another rule refers to it: everybody may."),
    ("context_is_admin", "role:admin", "Who is an administrator of the whole service."),
    ("service_api", "role:service or role:admin", "Which callers count as services of the cloud."),
    ("metadef_default", "", "Who may read metadata definitions, for policy files that refer to it."),
    ("metadef_admin", ADMIN, "Who may write metadata definitions."),
)

# Rules of the API: name, check, meaning, and the requests that ask for it.
IMAGES: Final = (
    ("add_image", f"{ADMIN} or ({MEMBER} and project_id:%(owner)s)", "Create an image.", "POST /v2/images"),
    ("delete_image", ADMIN_OR_MEMBER, "Delete an image.", f"DELETE {IMAGE}"),
    ("get_image", MAY_SEE, "Show an image.", f"GET {IMAGE}"),
    ("get_images", ADMIN_OR_READER, "List images.", "GET /v2/images"),
    ("modify_image", ADMIN_OR_MEMBER, "Change an image.", f"PATCH {IMAGE}"),
    ("publicize_image", ADMIN, "Make an image public.", f"PATCH {IMAGE}"),
    ("communitize_image", ADMIN_OR_MEMBER, "Make an image a community image.", f"PATCH {IMAGE}"),
    ("download_image", MAY_READ_DATA, "Read an image's data.", f"GET {IMAGE}/file"),
    ("download_from_store", MAY_READ_DATA, "Read an image's data from a store of one's choice.", f"GET {IMAGE}/file"),
    ("upload_image", ADMIN_OR_MEMBER, "Write an image's data.", f"PUT {IMAGE}/file"),
    ("delete_image_location", ADMIN, "Remove a location by a patch.", f"PATCH {IMAGE}"),
    ("get_image_location", ADMIN_OR_READER, "See an image's locations.", f"GET {IMAGE}"),
    ("set_image_location", ADMIN_OR_MEMBER, "Set locations by a patch.", f"PATCH {IMAGE}"),
    (
        "add_image_location",
        f"{SERVICE} or ({MEMBER} and project_id:%(owner)s)",
        "Add a location through the locations API.",
        f"POST {IMAGE}/locations",
    ),
    ("fetch_image_location", SERVICE, "Read locations through the locations API.", f"GET {IMAGE}/locations"),
    ("deactivate", ADMIN_OR_MEMBER, "Deactivate an image.", f"POST {IMAGE}/actions/deactivate"),
    ("reactivate", ADMIN_OR_MEMBER, "Reactivate an image.", f"POST {IMAGE}/actions/reactivate"),
    ("copy_image", ADMIN, "Copy an image's data to more stores.", f"POST {IMAGE}/import"),
    ("stores_info_detail", f"{ADMIN} or {SERVICE}", "See how stores are set up.", "GET /v2/info/stores/detail"),
)

MEMBERS: Final = (
    ("add_member", ADMIN_OR_MEMBER, "Share an image with a project.", f"POST {IMAGE}/members"),
    ("delete_member", ADMIN_OR_MEMBER, "Stop sharing with a project.", f"DELETE {IMAGE}/members/{{member_id}}"),
    ("get_member", MAY_SEE_MEMBERS, "Show one membership.", f"GET {IMAGE}/members/{{member_id}}"),
    ("get_members", MAY_SEE_MEMBERS, "List an image's members.", f"GET {IMAGE}/members"),
    (
        "modify_member",
        f"{ADMIN} or (role:member and project_id:%(member_id)s)",
        "Accept or reject a shared image.",
        f"PUT {IMAGE}/members/{{member_id}}",
    ),
)

CACHE: Final = (
    ("manage_image_cache", ADMIN, "Look after the cache by the old paths.", "GET /v2/cached_images"),
    ("cache_image", ADMIN, "Have an image cached.", "PUT /v2/cache/{image_id}"),
    ("cache_list", ADMIN, "List what is cached and queued.", "GET /v2/cache"),
    ("cache_delete", ADMIN, "Drop images from the cache.", "DELETE /v2/cache", "DELETE /v2/cache/{image_id}"),
    ("cache_clean", ADMIN, "Remove what is broken from the cache.", "POST /v2/cache/clean"),
    ("cache_prune", ADMIN, "Shrink the cache to its size.", "POST /v2/cache/prune"),
    ("list_cached_nodes", ADMIN, "List the nodes that cache an image.", "GET /v2/cache/nodes/{image_id}"),
)

TASKS: Final = (
    ("get_task", "rule:default", "Read one task.", "GET /v2/tasks/{task_id}"),
    ("get_tasks", "rule:default", "Read the list of tasks.", "GET /v2/tasks"),
    ("add_task", "rule:default", "Start a task.", "POST /v2/tasks"),
    ("modify_task", "rule:default", "Remove a task.", "DELETE /v2/tasks/{task_id}"),
    (
        "tasks_api_access",
        ADMIN,
        "Use the tasks API at all.",
        "GET /v2/tasks/{task_id}",
        "GET /v2/tasks",
        "POST /v2/tasks",
        "DELETE /v2/tasks/{task_id}",
    ),
)

METADEF_READS: Final = (
    ("get_metadef_namespace", MAY_SEE_NAMESPACE, "Show a namespace.", f"GET {NAMESPACE}"),
    ("get_metadef_namespaces", ADMIN_OR_READER, "List namespaces.", "GET /v2/metadefs/namespaces"),
    ("get_metadef_object", MAY_SEE_NAMESPACE, "Show an object.", f"GET {NAMESPACE}/objects/{{object_name}}"),
    ("get_metadef_objects", MAY_SEE_NAMESPACE, "List objects.", f"GET {NAMESPACE}/objects"),
    ("list_metadef_resource_types", MAY_SEE_NAMESPACE, "List resource types.", "GET /v2/metadefs/resource_types"),
    ("get_metadef_resource_type", MAY_SEE_NAMESPACE, "List associations.", f"GET {NAMESPACE}/resource_types"),
    ("get_metadef_property", MAY_SEE_NAMESPACE, "Show a property.", f"GET {NAMESPACE}/properties/{{property_name}}"),
    ("get_metadef_properties", MAY_SEE_NAMESPACE, "List properties.", f"GET {NAMESPACE}/properties"),
    ("get_metadef_tag", MAY_SEE_NAMESPACE, "Show a tag.", f"GET {NAMESPACE}/tags/{{tag_name}}"),
    ("get_metadef_tags", MAY_SEE_NAMESPACE, "List tags.", f"GET {NAMESPACE}/tags"),
)

METADEF_WRITES: Final = (
    ("add_metadef_namespace", METADEF_ADMIN, "Create a namespace.", "POST /v2/metadefs/namespaces"),
    ("modify_metadef_namespace", METADEF_ADMIN, "Change a namespace.", f"PUT {NAMESPACE}"),
    ("delete_metadef_namespace", METADEF_ADMIN, "Delete a namespace.", f"DELETE {NAMESPACE}"),
    ("add_metadef_object", METADEF_ADMIN, "Create an object.", f"POST {NAMESPACE}/objects"),
    ("modify_metadef_object", METADEF_ADMIN, "Change an object.", f"PUT {NAMESPACE}/objects/{{object_name}}"),
    ("delete_metadef_object", METADEF_ADMIN, "Delete an object.", f"DELETE {NAMESPACE}/objects/{{object_name}}"),
    (
        "add_metadef_resource_type_association",
        METADEF_ADMIN,
        "Associate a resource type.",
        f"POST {NAMESPACE}/resource_types",
    ),
    (
        "remove_metadef_resource_type_association",
        METADEF_ADMIN,
        "End an association.",
        f"DELETE {NAMESPACE}/resource_types/{{name}}",
    ),
    ("add_metadef_property", METADEF_ADMIN, "Create a property.", f"POST {NAMESPACE}/properties"),
    ("modify_metadef_property", METADEF_ADMIN, "Change a property.", f"PUT {NAMESPACE}/properties/{{property_name}}"),
    (
        "remove_metadef_property",
        METADEF_ADMIN,
        "Delete a property.",
        f"DELETE {NAMESPACE}/properties/{{property_name}}",
    ),
    ("add_metadef_tag", METADEF_ADMIN, "Create a tag.", f"POST {NAMESPACE}/tags/{{tag_name}}"),
    ("add_metadef_tags", METADEF_ADMIN, "Create several tags.", f"POST {NAMESPACE}/tags"),
    ("modify_metadef_tag", METADEF_ADMIN, "Change a tag.", f"PUT {NAMESPACE}/tags/{{tag_name}}"),
    ("delete_metadef_tag", METADEF_ADMIN, "Delete a tag.", f"DELETE {NAMESPACE}/tags/{{tag_name}}"),
    ("delete_metadef_tags", METADEF_ADMIN, "Delete all tags.", f"DELETE {NAMESPACE}/tags"),
)


# What the defaults were before roles counted: with ``enforce_new_defaults = false`` they hold beside the new ones.
OLD_DEFAULTS: Final = MappingProxyType(
    {
        ("rule:context_is_admin", "Ussuri"): ("default",),
        ("rule:default", "Wallaby"): (
            *("add_image", "delete_image", "get_image", "get_images", "modify_image", "communitize_image"),
            *("download_image", "upload_image", "delete_image_location", "get_image_location", "set_image_location"),
            *("add_member", "delete_member", "get_member", "get_members", "modify_member"),
            *("deactivate", "reactivate"),
        ),
        ("rule:default", "Xena"): ("get_task", "get_tasks", "add_task"),
        ("rule:metadef_default", "Xena"): tuple(name for name, *_ in METADEF_READS),
        ("rule:manage_image_cache", "Xena"): ("cache_image", "cache_list", "cache_delete"),
    }
)
REASON: Final = "The default asks for a role."


def list_rules() -> list[policy.RuleDefault]:
    """All rules with their defaults; the ``oslopolicy-*`` tools call this as ``--namespace glancetx``."""
    old = {name: (check, since) for (check, since), names in OLD_DEFAULTS.items() for name in names}

    def replaced(name: str) -> policy.DeprecatedRule | None:
        if name not in old:
            return None
        check, since = old[name]
        return policy.DeprecatedRule(name, check, deprecated_reason=REASON, deprecated_since=since)

    blocks = [
        policy.RuleDefault(name, check, description=meaning, deprecated_rule=replaced(name))
        for name, check, meaning in BUILDING_BLOCKS
    ]
    api = [
        policy.DocumentedRuleDefault(
            name,
            check,
            meaning,
            [_operation(*request.split(" ", 1)) for request in requests],
            scope_types=["project"],
            deprecated_rule=replaced(name),
        )
        for name, check, meaning, *requests in (*IMAGES, *MEMBERS, *CACHE, *TASKS, *METADEF_READS, *METADEF_WRITES)
    ]
    return [*blocks, *api]


def _operation(method: str, path: str) -> policy.Operation:
    return {"method": method, "path": path}
