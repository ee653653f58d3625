"""The reference page of ``campaign.yaml``, from its schema.

``python -m cathodeflow.campaign.definition_reference > docs/reference/definition.md``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from cathodeflow.campaign.definition import CampaignDefinition

HEADER = """# The definition of a campaign: campaign.yaml

One file says everything a campaign is. A key that is not listed here is refused, with its line, and so is a value that
does not fit. A launched definition is never changed: give the next campaign another name. This page is generated
(`python -m cathodeflow.campaign.definition_reference`).

`cflow init` writes a commented file to start from, `cflow plan` checks one and says what it costs. Beyond this table,
`plan` and `launch` check what depends on the crystals: that ratios fill the sites, that the voltages exist for the
host's levels, that there are as many candidates as labels, and that enough of the first round's labels can be held out.
"""

BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {}",
}


def render_definition_reference() -> str:
    """Return the page as Markdown."""
    schema = CampaignDefinition.model_json_schema()
    sections = schema["$defs"]
    top = {name: field for name, field in schema["properties"].items() if _section(field) is None}
    parts = [HEADER, "## Top level\n", _table(top, schema.get("required", []))]
    for name, field in schema["properties"].items():
        key = _section(field)
        if key is not None:
            parts += list(_section_page(name, sections[key], sections))
    return "\n".join(parts).rstrip() + "\n"


def _section_page(path: str, section: dict[str, Any], sections: dict[str, Any]) -> Iterator[str]:
    yield f"## `{path}`\n"
    yield f"{' '.join(section['description'].split())}\n"
    yield _table(section["properties"], section.get("required", []))
    for name, field in section["properties"].items():
        key = _section(field.get("items", {}))
        if key is not None:
            yield from _section_page(f"{path}.{name}[]", sections[key], sections)


def _section(field: dict[str, Any]) -> str | None:
    """Return the name of the section a field refers to."""
    reference = field.get("$ref")
    return None if reference is None else str(reference).rsplit("/", 1)[-1]


def _table(fields: dict[str, Any], required: list[str]) -> str:
    rows = ["| key | type | default | unit | |", "|---|---|---|---|---|"]
    for name, field in fields.items():
        default = "required" if name in required else f"`{json.dumps(field.get('default'), ensure_ascii=False)}`"
        unit = field.get("unit", "")
        rows.append(f"| `{name}` | {_kind(field)} | {default} | {unit} | {field.get('description', '')} |")
    return "\n".join(rows) + "\n"


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(choice) for choice in field["anyOf"])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{choice}`" for choice in field["enum"])
    kind = str(field.get("type", "anything"))
    if kind == "array":
        inner = field.get("items", {})
        if "prefixItems" in field:
            return f"[{', '.join(_kind(item).replace(' or null', '') for item in field['prefixItems'])}]"
        return f"list of {'mappings' if _section(inner) else _kind(inner)}"
    if kind == "object":
        values = field.get("additionalProperties")
        return f"mapping to {_kind(values)}" if isinstance(values, dict) else "mapping"
    words = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}.get(
        kind, kind
    )
    bounds = [text.format(field[bound]) for bound, text in BOUNDS.items() if bound in field]
    pattern = [f"matching `{field['pattern']}`"] if "pattern" in field else []
    return " ".join([words, ", ".join([*bounds, *pattern])]).strip()


if __name__ == "__main__":
    sys.stdout.write(render_definition_reference())
