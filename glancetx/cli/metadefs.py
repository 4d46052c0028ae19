"""``glancetx-manage db load_metadefs``, ``unload_metadefs`` and ``export_metadefs`` (contract rows C-120..C-122)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import click
from attrs import evolve

from glancetx.config.settings import DatabaseSettings, Settings
from glancetx.db.engine import transact
from glancetx.db.metadef_files import Definitions, Done, Manner, dump, load, unload
from glancetx.db.metadef_rows import TypeRaced
from glancetx.domain.errors import ConfigurationError, Conflict, DatabaseUnavailable, Invalid
from glancetx.domain.metadef import Association, Contents, MetadefObject, Namespace, Property
from glancetx.operations.metadef_documents import check_contents, check_namespace, parse_contents, parse_namespace
from glancetx.operations.metadef_schemas import MetadefSchemas
from glancetx.runtime.safe_files import replace_file

T = TypeVar("T")

SHIPPED: Final = Path(__file__).parents[1] / "etc" / "metadefs"
OWNER: Final = "admin"  # of namespaces whose file names none
ATTEMPTS: Final = 3
FOLDER: Final = click.Path(path_type=Path)


class Unusable(click.ClickException):
    """A file cannot be loaded; nothing was."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why.splitlines()[0]}")


@click.command("load_metadefs")
@click.option("--path", type=FOLDER, help="A file, or a folder whose *.json files are loaded.")
@click.option("--merge", is_flag=True, help="Add to namespaces that exist what they lack, instead of skipping them.")
@click.option("--prefer_new", is_flag=True, help="With --merge: replace what has the same name.")
@click.option("--overwrite", is_flag=True, help="With --merge: delete namespaces that exist, and load them anew.")
@click.pass_context
def load_metadefs(context: click.Context, path: Path | None, merge: bool, prefer_new: bool, overwrite: bool) -> None:
    """Load metadata definitions from files: all of them, or none if one cannot be.

    Without --path those in [DEFAULT] metadata_source_path; if there are none, those that come with glancetx.
    """
    _load(_settings(context), path, _manner(merge, prefer_new, overwrite))


class Word(click.types.BoolParamType):
    """True by the name of an option as well, which stands in its place in the old command."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        named = value in ("merge", "prefer_new", "overwrite")
        return True if named else super().convert(value, parameter, context)


@click.command("db_load_metadefs", hidden=True)
@click.argument("path", type=FOLDER, required=False)
@click.argument("merge", type=Word(), default=False)
@click.argument("prefer_new", type=Word(), default=False)
@click.argument("overwrite", type=Word(), default=False)
@click.pass_context
def old_load_metadefs(
    context: click.Context, path: Path | None, merge: bool, prefer_new: bool, overwrite: bool
) -> None:
    """As `db load_metadefs`, by its old name."""
    _load(_settings(context), path, _manner(merge, prefer_new, overwrite))


@click.command("unload_metadefs")
@click.pass_context
def unload_metadefs(context: click.Context) -> None:
    """Delete all metadata definitions, and all resource types."""
    _transact(_settings(context).database, unload)
    click.echo("All metadata definitions are deleted.")


@click.command("export_metadefs")
@click.option("--path", type=FOLDER, help="The folder to write to; it is made if it is missing.")
@click.pass_context
def export_metadefs(context: click.Context, path: Path | None) -> None:
    """Write all metadata definitions into files, one for each namespace, which load_metadefs can load again."""
    _export(_settings(context), path)


@click.command("db_export_metadefs", hidden=True)
@click.argument("path", type=FOLDER, required=False)
@click.pass_context
def old_export_metadefs(context: click.Context, path: Path | None) -> None:
    """As `db export_metadefs`, by its old name."""
    _export(_settings(context), path)


def _manner(merge: bool, prefer_new: bool, overwrite: bool) -> Manner:
    if prefer_new and overwrite:
        raise click.UsageError("Use at most one of --prefer_new and --overwrite.")
    if (prefer_new or overwrite) and not merge:
        raise click.UsageError("--prefer_new and --overwrite need --merge.")
    if not merge:
        return Manner.SKIP
    return Manner.PREFER_NEW if prefer_new else Manner.OVERWRITE if overwrite else Manner.ADD


def _load(settings: Settings, path: Path | None, manner: Manner) -> None:
    files = list(definition_files(path or default_source(settings.metadata_source_path)))
    schemas = MetadefSchemas()
    definitions = [read_definition(file, schemas) for file in files]
    for (namespace, _), done in zip(definitions, _load_all(settings.database, definitions, manner), strict=True):
        click.echo(f"{done.value} {namespace.name}")


def _load_all(settings: DatabaseSettings, definitions: Definitions, manner: Manner) -> list[Done]:
    for _ in range(ATTEMPTS):
        try:
            return _transact(settings, load, definitions, manner)
        except TypeRaced:
            continue
        except Conflict as error:
            raise click.ClickException(str(error)) from error
    raise click.ClickException("Others change the definitions at the same time; try again.")


def _settings(context: click.Context) -> Settings:
    try:
        settings: Settings = context.obj()
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    return settings


def _transact(settings: DatabaseSettings, function: Callable[..., T], *args: Any) -> T:
    try:
        return transact(settings, function, *args)
    except (ConfigurationError, DatabaseUnavailable) as error:
        raise click.ClickException(str(error)) from error


def default_source(configured: Path) -> Path:
    """*configured*, if there are definitions; else those that come with glancetx."""
    return configured if any(configured.glob("*.json")) else SHIPPED


def definition_files(path: Path) -> Iterator[Path]:
    """*path* itself, or the files in it by name. :raises ClickException: if there are none."""
    if path.is_file():
        yield path
        return
    found = sorted(path.glob("*.json"))
    if not found:
        raise click.ClickException(f"Json schema files not found in {path}. Aborting.")
    yield from found


def read_definition(path: Path, schemas: MetadefSchemas) -> tuple[Namespace, Contents]:
    """The namespace in a file, with all that is in it. :raises Unusable: if it is none."""
    try:
        document = json.loads(path.read_text("utf-8-sig"), parse_constant=_refuse)
        if not isinstance(document, dict):
            raise Unusable(path, "a JSON object is expected")
        schemas.check_shape("namespace", document)
        namespace, contents = parse_namespace(document, OWNER), parse_contents(document)
        check_namespace("load metadata namespace", namespace)
        check_contents("load metadata namespace", contents)
    except (OSError, ValueError, Invalid, RecursionError) as error:
        raise Unusable(path, str(error) or type(error).__name__) from error
    return evolve(namespace, updated_at=None), _never_updated(contents)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _never_updated(contents: Contents) -> Contents:
    """As Glance keeps what comes from files."""

    def each(items: Any) -> Any:
        return items and tuple(evolve(item, updated_at=None) for item in items)

    return evolve(
        contents, associations=each(contents.associations), objects=each(contents.objects), tags=each(contents.tags)
    )


def _export(settings: Settings, path: Path | None) -> None:
    folder = path or settings.metadata_source_path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for namespace, contents in _transact(settings.database, dump):
            file = folder / file_name(namespace.name)
            text = json.dumps(definition_document(namespace, contents), indent=4, ensure_ascii=False)
            replace_file(file, text.encode() + b"\n", 0o644)
            click.echo(f"Namespace {namespace.name} saved in {file}")
    except OSError as error:
        raise click.ClickException(str(error)) from error


def file_name(namespace: str) -> str:
    """A name for the file of a namespace, which stays in its folder whatever the namespace is called."""
    plain = (each if each.isprintable() and each not in "/%" else quote(each, safe="") for each in namespace)
    return f"{''.join(plain)}.json"


def definition_document(namespace: Namespace, contents: Contents) -> dict[str, Any]:
    """A namespace as a file holds it."""
    return _told(
        {
            "namespace": namespace.name,
            "display_name": namespace.display_name,
            "description": namespace.description,
            "visibility": namespace.visibility,
            "protected": namespace.protected,
            "owner": namespace.owner,
            "resource_type_associations": [_association(each) for each in contents.associations or ()],
            "properties": {each.name: _schema(each) for each in contents.properties or ()},
            "objects": [_object(each) for each in contents.objects or ()],
            "tags": [{"name": each.name} for each in reversed(contents.tags or ())],
        }
    )


def _association(each: Association) -> dict[str, Any]:
    return _told({"name": each.name, "prefix": each.prefix, "properties_target": each.properties_target})


def _schema(each: Property) -> dict[str, Any]:
    return {key: value for key, value in each.schema.items() if key != "name"}


def _object(each: MetadefObject) -> dict[str, Any]:
    return _told(
        {
            "name": each.name,
            "description": each.description,
            "required": list(each.required or ()),
            "properties": {name: dict(schema) for name, schema in (each.properties or {}).items()},
        }
    )


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
