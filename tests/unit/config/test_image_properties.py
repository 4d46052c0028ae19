"""``schema-image.json``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glancetx.config.image_properties import FILE_NAME, USUAL, CustomProperties, custom_properties
from glancetx.config.loading import load_settings
from glancetx.config.settings import ImagesSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.operations.schemas import ImageSchema

TEXT = {"type": "string", "description": "What it costs."}


def test_without_a_file(tmp_path: Path) -> None:
    """The usual properties are known."""
    assert custom_properties([tmp_path]) == CustomProperties(schemas=USUAL)


@pytest.mark.parametrize(
    ("document", "required"),
    [
        ({"cost": TEXT}, ()),
        ({"properties": {"cost": TEXT}}, ()),
        ({"properties": {"cost": TEXT}, "required": None}, ()),
        ({"properties": {"cost": TEXT}, "required": ["cost"]}, ("cost",)),
    ],
)
def test_both_forms(tmp_path: Path, document: object, required: tuple[str, ...]) -> None:
    """A file lies beside the configuration file, and says all: the usual ones are not added to it."""
    (tmp_path / FILE_NAME).write_text(json.dumps(document))
    (tmp_path / "glance-api.conf").write_text("")
    settings = load_settings([tmp_path / "glance-api.conf"], environ={})
    assert settings.images.custom == CustomProperties(schemas={"cost": TEXT}, required=required)


def test_looked_up(tmp_path: Path) -> None:
    """In the folders that are named, beside the last file before the first, then where Glance always looks (C-004)."""
    folder, last, first, hidden, home = (tmp_path / name for name in ("dir", "b", "a", "home/.glance", "home"))
    for number, place in enumerate((folder, last, first, hidden, home)):
        place.mkdir(parents=True, exist_ok=True)
        (place / FILE_NAME).write_text(json.dumps({f"cost{number}": TEXT}))
    for file in (first / "a.conf", last / "b.conf"):
        file.write_text("")
    for number, place in enumerate((folder, last, first, hidden, home)):
        settings = load_settings([first / "a.conf", last / "b.conf"], [folder], environ={"HOME": str(home)})
        assert list(settings.images.custom.schemas) == [f"cost{number}"]
        (place / FILE_NAME).unlink()


@pytest.mark.parametrize("text", ["", "[]", "5", '{"cost": "text"}', '{"properties": []}', "{", '{"\xe9'])
def test_bad_files(tmp_path: Path, text: str) -> None:
    """What cannot be understood prevents the start, by a message that names the file."""
    (tmp_path / FILE_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=FILE_NAME):
        custom_properties([tmp_path])


def test_bad_required(tmp_path: Path) -> None:
    """Required is a list of names."""
    (tmp_path / FILE_NAME).write_text('{"properties": {}, "required": "cost"}')
    with pytest.raises(ConfigurationError, match="required"):
        custom_properties([tmp_path])


@pytest.mark.parametrize(("name", "schema"), [("owner", TEXT), ("cost", {"type": "money"}), ("cost", {"enum": 5})])
def test_bad_schemas(name: str, schema: dict[str, object]) -> None:
    """Base attributes stay as they are, and a schema is a schema."""
    with pytest.raises(ConfigurationError, match=FILE_NAME):
        ImageSchema(ImagesSettings(custom=CustomProperties(schemas={name: schema})))
