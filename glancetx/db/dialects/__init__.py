"""What differs between databases, all of it: connecting, errors, and the SQL that is not the same everywhere."""

from __future__ import annotations

from glancetx.db.dialects.choice import make_pools
from glancetx.db.dialects.ending import leave, may_end, permit_ending
from glancetx.db.dialects.expressions import (
    alive,
    alive_by_key,
    beginning,
    counts_what_it_reads,
    enters_by_rows,
    exactly,
    few_json_rows,
    folds_letters,
    json_parts,
    json_row,
    json_rows,
    likes_one_column,
    merges_distinct,
    merges_unions,
    nulls_are_smallest,
    prefers_joins,
    stops_within,
    unindexed,
)
from glancetx.db.dialects.parsed import execute_parsed, parses_once
from glancetx.db.dialects.pools import Fault, Pool, Pools
from glancetx.db.dialects.statements import as_kept, is_stop, lock_schema, reads_what_it_locked, stopped, takes_several

__all__ = [
    "Fault",
    "Pool",
    "Pools",
    "alive",
    "alive_by_key",
    "as_kept",
    "beginning",
    "counts_what_it_reads",
    "enters_by_rows",
    "exactly",
    "execute_parsed",
    "few_json_rows",
    "folds_letters",
    "is_stop",
    "json_parts",
    "json_row",
    "json_rows",
    "leave",
    "likes_one_column",
    "lock_schema",
    "make_pools",
    "may_end",
    "merges_distinct",
    "merges_unions",
    "nulls_are_smallest",
    "parses_once",
    "permit_ending",
    "prefers_joins",
    "reads_what_it_locked",
    "stopped",
    "stops_within",
    "takes_several",
    "unindexed",
]
