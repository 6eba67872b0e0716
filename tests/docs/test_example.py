"""The export that the README shows is one, but for what it leaves out."""

import json
from typing import Any

import jsonschema
import pytest

from cache_monitor.exporters.json import encode_schema
from tests.docs.pages import marked


def _closed(schema: Any) -> Any:
    """The schema, where every field may be left out and no other may be there."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed(value) for key, value in schema.items()}
    if "properties" in made:
        made.pop("required", None)
        made["additionalProperties"] = False
    return made


@pytest.fixture
def schema() -> Any:
    return _closed(json.loads(encode_schema()))


@pytest.fixture
def example() -> Any:
    [text] = marked("example", "json")
    return json.loads(text)


def test_every_field_is_one_of_the_export(schema: Any, example: Any) -> None:
    jsonschema.validate(example, schema)


def test_a_field_that_the_export_has_not_would_be_noticed(schema: Any, example: Any) -> None:
    example["caches"]["default"]["memory"]["bites"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example, schema)
