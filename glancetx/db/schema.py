"""Glance's tables at its revision 2024_1_contract01 (Glance 30 to 33), as database.md, section 3, lists them.

Names of tables, indexes and constraints are Glance's: its later migrations look for them. Nothing of our own lives
here, see `own_schema`.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.schema import SchemaItem

from glancetx.db.sealing import SealedText

GLANCE_HEAD: Final = "2024_1_contract01"

metadata = MetaData()
# SQLite numbers rows only in columns whose type is spelled INTEGER; Glance's SQLite tables have that spelling too.
_BIG = BigInteger().with_variant(Integer(), "sqlite")


def _table(name: str, *items: SchemaItem) -> Table:
    return Table(name, metadata, *items)


def create_all(connection: Connection) -> None:
    """Create the tables that are not there, as Glance does; of MySQL's kind where that is the database."""
    for table in metadata.tables.values():
        if table is not alembic_version:  # not where it is made: to say so loads MySQL's dialect, which few need
            table.kwargs.update(mysql_engine="InnoDB", mysql_charset="utf8")
    metadata.create_all(connection)


def _checked() -> Boolean:
    """As the initial schema has it; columns that came later are without a check (D-012)."""
    return Boolean(create_constraint=True)


def _times() -> tuple[Column[Any], ...]:
    return Column("created_at", DateTime, nullable=False), Column("updated_at", DateTime)


def _life() -> tuple[Column[Any], ...]:
    """The columns of soft deletion (D-010)."""
    return *_times(), Column("deleted_at", DateTime), Column("deleted", _checked(), nullable=False)


def _image_id() -> Column[Any]:
    return Column("image_id", String(36), ForeignKey("images.id"), nullable=False)


def _namespace_id() -> Column[Any]:
    return Column("namespace_id", Integer, ForeignKey("metadef_namespaces.id"), nullable=False)


alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

images = _table(
    "images",
    Column("id", String(36), primary_key=True),
    Column("name", String(255)),
    Column("size", _BIG),
    Column("status", String(30), nullable=False),
    *_times(),
    Column("deleted_at", DateTime),
    Column("deleted", Boolean, nullable=False),
    Column("disk_format", String(20)),
    Column("container_format", String(20)),
    Column("checksum", String(32)),
    Column("owner", String(255)),
    Column("min_disk", Integer, nullable=False),
    Column("min_ram", Integer, nullable=False),
    Column("protected", Boolean, nullable=False, server_default=false()),
    Column("virtual_size", _BIG),
    Column(
        "visibility",
        Enum("private", "public", "shared", "community", name="image_visibility"),
        nullable=False,
        server_default="shared",
    ),
    Column("os_hidden", Boolean, nullable=False, server_default=false()),
    Column("os_hash_algo", String(64)),
    Column("os_hash_value", String(128)),
    Index("checksum_image_idx", "checksum"),
    Index("ix_images_deleted", "deleted"),
    Index("owner_image_idx", "owner"),
    Index("created_at_image_idx", "created_at"),
    Index("updated_at_image_idx", "updated_at"),
    Index("visibility_image_idx", "visibility"),
    Index("os_hidden_image_idx", "os_hidden"),
    Index("os_hash_value_image_idx", "os_hash_value"),
)

image_properties = _table(
    "image_properties",
    Column("id", Integer, primary_key=True),
    _image_id(),
    Column("name", String(255), nullable=False),
    Column("value", Text),
    *_life(),
    UniqueConstraint("image_id", "name", name="ix_image_properties_image_id_name"),
    Index("ix_image_properties_image_id", "image_id"),
    Index("ix_image_properties_deleted", "deleted"),
)

image_tags = _table(
    "image_tags",
    Column("id", Integer, primary_key=True),
    _image_id(),
    Column("value", String(255), nullable=False),
    *_life(),
    Index("ix_image_tags_image_id", "image_id"),
    Index("ix_image_tags_image_id_tag_value", "image_id", "value"),
)

image_locations = _table(
    "image_locations",
    Column("id", Integer, primary_key=True),
    _image_id(),
    Column("value", SealedText, nullable=False),
    *_life(),
    Column("meta_data", Text),
    Column("status", String(30), nullable=False, server_default="active"),
    Index("ix_image_locations_image_id", "image_id"),
    Index("ix_image_locations_deleted", "deleted"),
)

image_members = _table(
    "image_members",
    Column("id", Integer, primary_key=True),
    _image_id(),
    Column("member", String(255), nullable=False),
    Column("can_share", _checked(), nullable=False),
    *_life(),
    Column("status", String(20), nullable=False, server_default="pending"),
    UniqueConstraint("image_id", "member", "deleted_at", name="image_members_image_id_member_deleted_at_key"),
    Index("ix_image_members_image_id_member", "image_id", "member"),
    Index("ix_image_members_image_id", "image_id"),
    Index("ix_image_members_deleted", "deleted"),
)

tasks = _table(
    "tasks",
    Column("id", String(36), primary_key=True),
    Column("type", String(30), nullable=False),
    Column("status", String(30), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("expires_at", DateTime),
    *_life(),
    Column("image_id", String(36)),
    Column("request_id", String(64)),
    Column("user_id", String(64)),
    Index("ix_tasks_type", "type"),
    Index("ix_tasks_status", "status"),
    Index("ix_tasks_owner", "owner"),
    Index("ix_tasks_deleted", "deleted"),
    Index("ix_tasks_updated_at", "updated_at"),
    Index("ix_tasks_image_id", "image_id"),
)

task_info = _table(
    "task_info",
    Column("task_id", String(36), ForeignKey("tasks.id"), primary_key=True),
    Column("input", Text),
    Column("result", Text),
    Column("message", Text),
)

node_reference = _table(
    "node_reference",
    Column("node_reference_id", _BIG, primary_key=True, autoincrement=True),
    Column("node_reference_url", String(255), nullable=False),
    UniqueConstraint("node_reference_url", name="uq_node_reference_node_reference_url"),
)

cached_images = _table(
    "cached_images",
    Column("id", _BIG, primary_key=True, autoincrement=True),
    Column("image_id", String(36), nullable=False),
    Column("last_accessed", DateTime, nullable=False),
    Column("last_modified", DateTime, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("hits", Integer, nullable=False),
    Column("checksum", String(32)),
    Column("node_reference_id", _BIG, ForeignKey("node_reference.node_reference_id"), nullable=False),
    UniqueConstraint("image_id", "node_reference_id", name="ix_cached_images_image_id_node_reference_id"),
)

metadef_namespaces = _table(
    "metadef_namespaces",
    Column("id", Integer, primary_key=True),
    Column("namespace", String(80), nullable=False),
    Column("display_name", String(80)),
    Column("description", Text),
    Column("visibility", String(32)),
    Column("protected", _checked()),
    Column("owner", String(255), nullable=False),
    *_times(),
    UniqueConstraint("namespace", name="uq_metadef_namespaces_namespace"),
    Index("ix_metadef_namespaces_owner", "owner"),
)

metadef_objects = _table(
    "metadef_objects",
    Column("id", Integer, primary_key=True),
    _namespace_id(),
    Column("name", String(80), nullable=False),
    Column("description", Text),
    Column("required", Text),
    Column("json_schema", Text, nullable=False),
    *_times(),
    UniqueConstraint("namespace_id", "name", name="uq_metadef_objects_namespace_id_name"),
    Index("ix_metadef_objects_name", "name"),
)

metadef_properties = _table(
    "metadef_properties",
    Column("id", Integer, primary_key=True),
    _namespace_id(),
    Column("name", String(80), nullable=False),
    Column("json_schema", Text, nullable=False),
    *_times(),
    UniqueConstraint("namespace_id", "name", name="uq_metadef_properties_namespace_id_name"),
    Index("ix_metadef_properties_name", "name"),
)

metadef_tags = _table(
    "metadef_tags",
    Column("id", Integer, primary_key=True),
    _namespace_id(),
    Column("name", String(80), nullable=False),
    *_times(),
    UniqueConstraint("namespace_id", "name", name="uq_metadef_tags_namespace_id_name"),
    Index("ix_metadef_tags_name", "name"),
)

metadef_resource_types = _table(
    "metadef_resource_types",
    Column("id", Integer, primary_key=True),
    Column("name", String(80), nullable=False),
    Column("protected", _checked(), nullable=False),
    *_times(),
    UniqueConstraint("name", name="uq_metadef_resource_types_name"),
)

metadef_namespace_resource_types = _table(
    "metadef_namespace_resource_types",
    Column("resource_type_id", Integer, primary_key=True),
    Column("namespace_id", Integer, primary_key=True),
    Column("properties_target", String(80)),
    Column("prefix", String(80)),
    *_times(),
    # in this order: MySQL names them by their number
    ForeignKeyConstraint(["namespace_id"], ["metadef_namespaces.id"]),
    ForeignKeyConstraint(["resource_type_id"], ["metadef_resource_types.id"]),
    Index("ix_metadef_ns_res_types_namespace_id", "namespace_id"),
)
