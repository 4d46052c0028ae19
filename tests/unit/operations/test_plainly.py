"""What is valid at first sight."""

from __future__ import annotations

from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from glancetx.config.settings import ImagesSettings
from glancetx.operations.plainly import PlainObject
from glancetx.operations.schemas import image_schema

DOCUMENT: Final = image_schema(ImagesSettings())
VALUES: Final[tuple[Any, ...]] = (
    None, "", "raw", "ramdisk", "x" * 255, "x" * 256, True, 1, 1.0, 1.5, [], ["a"], ["x" * 256], [1], [["a"]], {},
    "public", "16fd2706-8baf-433b-82eb-8c7fada847da",
)  # fmt: skip


@pytest.mark.parametrize("name", [*DOCUMENT["properties"], "custom"])
def test_nothing_wrong(name: str) -> None:
    """What the schema does not allow is never valid at first sight."""
    validator, plain = Draft202012Validator(DOCUMENT), PlainObject(DOCUMENT)
    assert all(validator.is_valid({name: value}) for value in VALUES if plain.valid({name: value}))


@pytest.mark.parametrize("schema", [True, {"type": "string", "minLength": 9}, {"type": "boolean", "enum": [1]}, {}])
def test_nothing_unknown(schema: Any) -> None:
    """What an operator writes about a custom property may be anything."""
    plain = PlainObject({"properties": {"custom": schema}, "additionalProperties": False})
    assert not any(plain.valid({name: value}) for name in ("custom", "other") for value in VALUES)


def test_nearly_all() -> None:
    """What clients usually send is."""
    usual = {"name": "x", "disk_format": "raw", "tags": ["a"], "protected": True, "min_ram": 5, "custom": "c"}
    assert PlainObject(DOCUMENT).valid(usual)
