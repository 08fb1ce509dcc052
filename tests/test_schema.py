import json
import tomllib
from pathlib import Path

import jsonschema
import made_up
import pytest

from kdbench import schema
from kdbench.records import run_text
from kdbench.suite_file import suite_files

MINIMAL = """
version = 1
seeds = [0]
data = "digits"
targets = ["xnnpack-fp32"]
[[pairs]]
teacher = "resnet8"
student = "dscnn"
[methods]
kd = { temperature = 4.0 }
soft = { use = "kd" }
aided = { use = "takd", assistant = "resnet8", assistant_options = { widths = [4, 4, 8, 16] } }
[recipes.teacher]
kind = "fast"
epochs = 1
batch_size = 8
lr = 0.1
[recipes.student]
kind = "fast"
epochs = 1
batch_size = 8
lr = 0.1
[budgets."xnnpack-fp32"]
accuracy = ">= 0.85"
[quick]
recipes.teacher.epochs = 1
"""


def checked(which, value):
    validator = jsonschema.Draft202012Validator(schema.shipped(which))
    return [error.message for error in validator.iter_errors(value)]


@pytest.mark.parametrize(("which", "made"), schema.MADE.items())
def test_the_shipped_schema_is_the_generated_one(which, made):
    path = Path(schema.__file__).parent / "schemas" / schema.FILES[which]
    assert path.read_text(encoding="utf-8") == schema.text_of(made()), "run python -m kdbench.schema"
    jsonschema.Draft202012Validator.check_schema(schema.shipped(which))


def test_every_suite_of_the_project_fits_its_schema():
    files = suite_files()
    assert files
    for path in files:
        assert checked("suite", tomllib.loads(path.read_text(encoding="utf-8"))) == [], path


def test_the_smallest_suite_fits():
    assert checked("suite", tomllib.loads(MINIMAL)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("version = 1", 'version = "1"'),
        ("version = 1", "version = 1\nversoin = 2"),
        ("seeds = [0]", "seeds = []"),
        ('data = "digits"', ""),
        ("[methods]", "[methods]\nteacher = {}"),
        ("kd = { temperature = 4.0 }", "kd = 4.0"),
        ('accuracy = ">= 0.85"', "accuracy = 0.85"),
        ('accuracy = ">= 0.85"', 'accuracy = "> 0.85"'),
        ('accuracy = ">= 0.85"', 'acuracy = ">= 0.85"'),
        ("[recipes.student]", "[recipes.studnet]"),
        ("recipes.teacher.epochs = 1", "recipes.teacher.epoch = 1"),
        ("recipes.teacher.epochs = 1", "recipes.teacher.epochs = 0"),
        ('student = "dscnn"', ""),
        ('kind = "fast"', 'kind = "slow"'),
    ],
)
def test_what_is_no_suite_does_not_fit(before, after):
    assert before in MINIMAL
    assert checked("suite", tomllib.loads(MINIMAL.replace(before, after, 1))) != []


def test_a_suite_whose_pairs_name_their_data_fits():
    text = MINIMAL.replace('data = "digits"', "", 1).replace('student = "dscnn"', 'student = "dscnn"\ndata = "digits"')
    assert checked("suite", tomllib.loads(text)) == []


def test_records_old_and_new_fit_their_schema():
    assert checked("run", json.loads(run_text(made_up.run()))) == []
    assert checked("run", made_up.table(made_up.FIXTURES / "run-v1" / "run.json")) == []


def test_what_is_no_record_does_not_fit():
    table = json.loads(run_text(made_up.run()))
    assert checked("run", table | {"schema_version": 2}) != []
    assert checked("run", table | {"extra": 1}) != []
    assert checked("run", {key: value for key, value in table.items() if key != "provenance"}) != []
    table["records"][0]["status"] = "fine"
    assert checked("run", table) != []
