"""``glancetx status``: processes, background services and copies at a glance; a live table on a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from glancetx.cli.facts import in_words
from glancetx.cli.options import config_files, program_version
from glancetx.config.loading import load_settings
from glancetx.config.settings import DatabaseSettings
from glancetx.db.census import Facts, ProcessFacts, load_facts
from glancetx.db.engine import transact
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable
from glancetx.domain.image import utc_now


@click.group()
@program_version
def main() -> None:
    """Look at a glancetx image service."""


@main.command()
@config_files
@click.option("--watch", type=click.FloatRange(min=0.5), help="Show it again every so many seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
def status(files: tuple[Path, ...], folders: tuple[Path, ...], watch: float | None, as_json: bool) -> None:
    """Show what runs, who leads which background service, when it ran, and how the copies of images are.

    It is read from the database, so it tells of all nodes, and also while none runs. The exit status is 1 if no process
    lives, or a copy is damaged.
    """
    try:
        database = load_settings(files, folders).database
        facts = look(database)
        if as_json:
            click.echo(json.dumps(document(facts), indent=2))
        elif watch is None:
            Console().print(page(facts))
        else:
            _watch(database, watch)
            return
    except (ConfigurationError, DatabaseUnavailable) as error:
        raise click.ClickException(str(error)) from error
    click.get_current_context().exit(0 if is_well(facts) else 1)


def look(database: DatabaseSettings) -> Facts:
    """:raises DatabaseUnavailable: if it cannot be read."""
    return transact(database, load_facts, utc_now())


def _watch(database: DatabaseSettings, every: float) -> None:
    with Live(page(look(database)), screen=False, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            live.update(page(look(database)), refresh=True)


def is_well(facts: Facts) -> bool:
    lives = any(process.expires_at >= facts.at for process in facts.processes)
    return lives and not any(facts.copies.get(state) for state in ("corrupt", "missing", "unreadable"))


def document(facts: Facts) -> dict[str, Any]:
    """JSON types only; times are seconds ago."""
    return {
        "processes": [
            {
                "id": process.id,
                "host": process.host,
                "pid": process.pid,
                "lives": process.expires_at >= facts.at,
                "reported": _ago(facts, process),
                **process.report,
            }
            for process in facts.processes
        ],
        "leases": dict(facts.leases),
        "claims": dict(facts.claims),
        "orphaned_claims": facts.orphans,
        "copies": dict(facts.copies),
        "unsent_events": facts.events,
        "oldest_audit": None if facts.oldest_audit is None else (facts.at - facts.oldest_audit).total_seconds(),
        "strays": {
            store: {
                "count": found.count,
                "bytes": found.size,
                "oldest": (facts.at - found.first_seen).total_seconds(),
            }
            for store, found in facts.strays.items()
        },
    }


def page(facts: Facts) -> Group:
    """What is shown on a terminal."""
    return Group(_processes(facts), _services(facts), *_summary(facts))


def _processes(facts: Facts) -> Table:
    table = Table("host", "pid", "lives", "leads", title="Processes", title_justify="left")
    for process in facts.processes:
        lives = "[green]yes" if process.expires_at >= facts.at else "[red]no"
        table.add_row(process.host, str(process.pid), lives, ", ".join(sorted(_led(facts, process))))
    return table


def _led(facts: Facts, process: ProcessFacts) -> Iterator[str]:
    """What the process does for all: by its lease in the database; if it is in etcd, by what the process says."""
    yield from (name for name, holder in facts.leases.items() if holder == process.id)
    if process.expires_at >= facts.at:
        services = process.report.get("services", {})
        yield from (name for name, told in services.items() if told.get("leads") and name not in facts.leases)


def _services(facts: Facts) -> Table:
    table = Table(title="Background services", title_justify="left")
    for name in ("service", "process", "last run", "runs", "failed"):
        table.add_column(name, no_wrap=True)
    table.add_column("facts")
    for process in facts.processes:
        for name, status in sorted(process.report.get("services", {}).items()):
            if status.get("leads") is False:
                continue  # another process does it
            since = status.get("seconds_since")
            ago = "" if since is None else f"{since + (_ago(facts, process) or 0):,.0f} s ago"
            table.add_row(
                name,
                f"{process.host}/{process.pid}",
                "[yellow]runs now" if status.get("running") else ago,
                str(status.get("runs", "")),
                str(status.get("failures", "")),
                "\n".join(_told(status)),
            )
    return table


def _told(status: dict[str, Any]) -> Iterator[str]:
    if error := status.get("last_error"):
        yield f"[red]{escape(error)}"
    yield from map(escape, in_words(status))


def _summary(facts: Facts) -> Iterator[str]:
    copies = ", ".join(f"{count:,} {state}" for state, count in sorted(facts.copies.items()) if count)
    yield f"Copies: {copies or 'none known'}"
    if facts.oldest_audit is not None:
        yield f"The copy looked at longest ago: {(facts.at - facts.oldest_audit).total_seconds() / 86400:,.1f} days"
    for store, found in facts.strays.items():
        days = (facts.at - found.first_seen).total_seconds() / 86400
        what = f"{found.count:,} of {found.size:,} bytes, the first found {days:,.1f} days ago"
        yield f"Without an image in {store}: {what}"
    claims = ", ".join(f"{count:,} {kind}" for kind, count in sorted(facts.claims.items()))
    yield f"Events to be sent: {facts.events:,}"
    yield f"Work under way: {claims or 'none'}" + (f"; {facts.orphans:,} to be put right" if facts.orphans else "")


def _ago(facts: Facts, process: ProcessFacts) -> float | None:
    return None if process.reported_at is None else max(0.0, (facts.at - process.reported_at).total_seconds())
