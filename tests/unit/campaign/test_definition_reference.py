from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.definition_reference import render_definition_reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "definition.md"


def test_the_page_in_the_docs_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_definition_reference(), (
        "write it anew: python -m cathodeflow.campaign.definition_reference > docs/reference/definition.md"
    )


def keys() -> list[tuple[str, str, dict[str, Any]]]:
    schema = CampaignDefinition.model_json_schema()
    rooms = {"CampaignDefinition": schema, **schema["$defs"]}
    return [(room, name, field) for room in rooms for name, field in rooms[room]["properties"].items()]


@pytest.mark.parametrize(("room", "name", "field"), keys(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_key_is_on_the_page_with_a_description(room: str, name: str, field: dict[str, Any]) -> None:
    page = render_definition_reference()
    if "$ref" in field:
        assert f"## `{name}`" in page
        return
    assert field.get("description", "").endswith("."), f"{room}.{name} has no description"
    assert f"| `{name}` |" in page
