"""Our own tables, beside Glance's: which processes live, what each does to which data, whose turn it is.

And what one of them does for all, how the copies of images are, how far imports, and what a broker has yet to be told.

Their migrations live in `migrations.versions`; Glance's tools never look at them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from glancetx.db.sealing import SealedText

OWN_HEAD: Final = "0009"
VERSION_TABLE: Final = "glancetx_alembic_version"

metadata = MetaData()

# As alembic would make it; not among the others, since alembic keeps it.
own_version = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)

processes = Table(
    "glancetx_processes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("pid_namespace", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("expires_at", DateTime, nullable=False),
)

# No foreign keys: a claim outlives the row of its process, and images belong to Glance's tools, which purge them.
claims = Table(
    "glancetx_claims",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(30), nullable=False),
    Column("image_id", String(36), nullable=False),
    Column("store", String(255), nullable=False),
    Column("process", String(32), nullable=False),
    Column("owner", String(255)),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("turn", BigInteger),  # of the project, when it began; NULL if it needs no more than is reserved
    Index("ix_glancetx_claims_process", "process"),
)

# A row is changed by whoever is about to take more of a project's limits: so they do it one after the other.
projects = Table(
    "glancetx_projects",
    metadata,
    Column("id", String(255), primary_key=True),  # "" for images that belong to no project
    Column("turn", BigInteger, nullable=False),
)

# Who does what only one process at a time should do; held as long as that process lives.
leases = Table(
    "glancetx_leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("process", String(32), nullable=False),
)

# What the auditor found at each location when it last looked; `audited_at` is before that when the location was made.
copies = Table(
    "glancetx_copies",
    metadata,
    Column("location_id", Integer, primary_key=True, autoincrement=False),
    Column("image_id", String(36), nullable=False),
    Column("state", String(12), nullable=False),
    Column("audited_at", DateTime, nullable=False),
    Column("detail", String(255)),
    Index("ix_glancetx_copies_audited_at", "audited_at"),
    Index("ix_glancetx_copies_state", "state"),
)

# What was found in stores, by its name and the store's, and no image has.
strays = Table(
    "glancetx_strays",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("store", String(255), nullable=False),
    Column("image_id", String(36), nullable=False),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("piece", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("changed_at", DateTime, nullable=False),
    Column("first_seen", DateTime, nullable=False),
    Column("walk", Integer, nullable=False),  # the last one that has seen it
    Index("ix_glancetx_strays_store", "store", "first_seen"),
)

# How far each store was gone through, for the how many-th time. `step` counts pages, so that of two who go on from the
# same one the first counts.
walks = Table(
    "glancetx_walks",
    metadata,
    Column("store", String(255), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("marker", Text, nullable=False),
    Column("seen", BigInteger, nullable=False),  # items of this walk so far
    Column("began_at", DateTime, nullable=False),
    Column("ended_at", DateTime),
    Column("before", BigInteger, nullable=False),  # items of the last whole walk
)

imports = Table(
    "glancetx_imports",
    metadata,
    Column("task_id", String(36), primary_key=True),
    Column("image_id", String(36), nullable=False),
    Column("claim", String(32), nullable=False),
    Column("host", String(255), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("plan", SealedText, nullable=False),  # JSON; it may have the URL of a location
    Column("step", String(30), nullable=False),
    Column("staged", String(255)),
    Index("ix_glancetx_imports_claim", "claim"),
)

# What each process has to tell of itself, for `glancetx status`.
reports = Table(
    "glancetx_reports",
    metadata,
    Column("process", String(32), primary_key=True),
    Column("reported_at", DateTime, nullable=False),
    Column("report", Text, nullable=False),  # JSON
)

# What happened, until a broker has it; the key sorts by time. *process* is the one that sends it.
events = Table(
    "glancetx_events",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("process", String(32), nullable=False),
    Column("body", Text().with_variant(Text(2**22 - 1), "mysql", "mariadb"), nullable=False),  # JSON; a MEDIUMTEXT
    Index("ix_glancetx_events_process", "process", "id"),
)
