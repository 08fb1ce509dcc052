"""The JSON schemas of a suite's TOML and of a run; ``python -m kdbench.schema`` writes the shipped ones anew."""

from __future__ import annotations

import json
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

from kdbench.lab.manifest import Manifest
from kdbench.lab.measured import Measured
from kdbench.measures.metric import METRICS
from kdbench.records import Run
from kdbench.spec import Suite

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILES = {name: f"{name}.schema.json" for name in ("suite", "run", "manifest", "measured")}


def run_schema() -> Schema:
    """The schema of ``run.json`` in its newest version."""
    return {"$schema": DIALECT, **Run.model_json_schema(), "title": "A run of kdbench"}


def manifest_schema() -> Schema:
    """The schema of a bundle's ``manifest.json``."""
    return {"$schema": DIALECT, **Manifest.model_json_schema(), "title": "The manifest of a bundle of kdbench"}


def measured_schema() -> Schema:
    """The schema of ``measured.json``. That a measurement says something, and that once, is checked by its reader."""
    return {"$schema": DIALECT, **Measured.model_json_schema(), "title": "Results for kdbench ingest"}


def suite_schema() -> Schema:
    """The schema of a suite as people write it: tables of methods, budgets as text, ``data`` once or in every pair.

    What one key asks of another (``milestones`` of ``schedule``) and which names exist is checked by ``read_suite``.
    """
    schema = Suite.model_json_schema()
    keys, models = schema["properties"], schema["$defs"]
    options = deepcopy(models["MethodSpec"]["properties"]["options"]["additionalProperties"])
    del keys["name"], models["Budget"], models["MethodSpec"]
    data, name = (deepcopy(models["Pair"]["properties"][key]) for key in ("data", "teacher"))
    keys["data"] = {**data, "title": "Data", "description": "The data set of every pair that names none of its own."}
    keys["methods"] = {
        "type": "object",
        "title": "Methods",
        "description": "The methods by their names in tables; a method's keys are its options.",
        "minProperties": 1,
        "propertyNames": {**{key: name[key] for key in ("pattern", "maxLength")}, "not": {"const": "teacher"}},
        "additionalProperties": {
            "type": "object",
            "properties": {
                "use": {
                    "type": "string",
                    "description": "The method, if it is not called as in tables: NAME or file.py:Class.",
                },
                "qat_epochs": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "The last epochs in which the student's numbers are rounded as 8-bit integers'.",
                },
                "tuned": {
                    **models["Tuned"],
                    "description": "How a search chose these options; kdbench run --tuned records it.",
                },
            },
            "additionalProperties": options,
        },
    }
    keys["budgets"] = {
        "type": "object",
        "title": "Budgets",
        "description": "Limits by target and metric, in the metric's own unit.",
        "additionalProperties": {
            "type": "object",
            "propertyNames": {"enum": list(METRICS)},
            "additionalProperties": {"type": "string", "pattern": r"^\s*(<=|>=)\s*-?\d+(\.\d+)?([eE][+-]?\d+)?\s*$"},
        },
    }
    keys["recipes"] |= {"required": ["teacher", "student"]}
    keys["recipes"].pop("propertyNames", None)
    keys["recipes"]["properties"] = dict.fromkeys(("teacher", "student"), keys["recipes"]["additionalProperties"])
    keys["recipes"]["additionalProperties"] = False
    models["Pair"]["required"] = ["teacher", "student"]
    keys["quick"] = {
        **_overlay({"type": "object", "properties": dict(keys), "additionalProperties": False}, models),
        "title": "Quick",
        "description": "What --quick lays over the suite: tables key by key, everything else as a whole.",
    }
    required = [key for key in schema["required"] if key != "name"]
    pairs_name_data = {"properties": {"pairs": {"items": {"required": ["data"]}}}}
    return {
        "$schema": DIALECT,
        **schema,
        "title": "A suite of kdbench",
        "required": required,
        "anyOf": [{"required": ["data"]}, pairs_name_data],
    }


def shipped(which: str) -> Schema:
    """The schema that the package ships: ``suite``, ``run``, ``manifest`` or ``measured``."""
    text = (resources.files("kdbench") / "schemas" / FILES[which]).read_text(encoding="utf-8")
    schema: Schema = json.loads(text)
    return schema


def text_of(schema: Schema) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def _overlay(schema: Schema, models: Schema) -> Schema:
    """``schema`` with nothing required in it or in the tables below; lists are replaced whole and stay as they are."""
    if "$ref" in schema:
        schema = {**models[schema["$ref"].rpartition("/")[2]], **{k: v for k, v in schema.items() if k != "$ref"}}
    loose = {key: value for key, value in schema.items() if key not in ("required", "minProperties", "default")}
    if "properties" in loose:
        loose["properties"] = {key: _overlay(value, models) for key, value in loose["properties"].items()}
    return loose


MADE = {"suite": suite_schema, "run": run_schema, "manifest": manifest_schema, "measured": measured_schema}
"""How each schema is made, by name."""


def main() -> None:
    """Write the schemas next to the package's other files."""
    folder = Path(__file__).parent / "schemas"
    folder.mkdir(exist_ok=True)
    for which, schema in MADE.items():
        (folder / FILES[which]).write_text(text_of(schema()), encoding="utf-8")


if __name__ == "__main__":
    main()
