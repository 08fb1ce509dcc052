import re
import shutil
from pathlib import Path

import pytest

from kdbench.errors import UsageError
from kdbench.spec import Budget, Suite, Tuned, suite_of
from kdbench.suite_file import read_suite, suite_files, suite_path

SUITE = """
version = 1
data = "digits"
seeds = [0, 1]
targets = ["xnnpack-fp32", "xnnpack-int8"]

[[pairs]]
teacher = "resnet8"
student = "dscnn"

[methods]
scratch = {}
kd = {}
kd-hot = { use = "kd", temperature = 8.0 }

[recipes.teacher]
kind = "fast"
epochs = 4
batch_size = 64
lr = 0.05

[recipes.student]
kind = "fast"
epochs = 4
batch_size = 64
lr = 0.05

[budgets."xnnpack-int8"]
accuracy = ">= 0.85"
size_bytes = "<= 120000"

[quick]
seeds = [0]
recipes.student.epochs = 1
"""


def suite(tmp_path, text=SUITE, name="x"):
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    return path


def test_a_suite_is_read_into_types(tmp_path):
    read = read_suite(suite(tmp_path))
    assert (read.name, read.seeds, read.devices) == ("x", (0, 1), ("host",))
    assert read.pairs[0].id == "digits:resnet8-dscnn"
    hot = read.methods[2]
    assert (hot.label, hot.use, hot.options) == ("kd-hot", "kd", {"temperature": 8.0})
    assert [str(budget) for budget in read.budgets["xnnpack-int8"]] == ["accuracy >= 0.85", "size_bytes <= 120000"]


def test_an_option_of_a_method_may_be_a_table(tmp_path):
    aided = 'aided = { use = "takd", assistant = "resnet8", assistant_options = { widths = [4, 4, 8, 16] } }'
    read = read_suite(suite(tmp_path, SUITE.replace("kd = {}", aided)))
    assert read.methods[1].options == {"assistant": "resnet8", "assistant_options": {"widths": [4, 4, 8, 16]}}
    assert suite_of(read.model_dump(mode="json")) == read


def test_a_method_may_say_how_its_options_were_searched(tmp_path):
    told = 'kd = { temperature = 2, tuned = { suite = "x v1", trials = 20, seconds = 60 } }'
    read = read_suite(suite(tmp_path, SUITE.replace("kd = {}", told)))
    assert read.methods[1].options == {"temperature": 2}
    assert read.methods[1].tuned == Tuned(suite="x v1", trials=20, seconds=60)
    assert suite_of(read.model_dump(mode="json")) == read


def test_quick_is_another_suite(tmp_path):
    quick = read_suite(suite(tmp_path), quick=True)
    assert (quick.name, quick.seeds, quick.recipes["student"].epochs) == ("x@quick", (0,), 1)
    assert quick.recipes["student"].lr == 0.05


def test_a_suite_survives_its_record(tmp_path):
    read = read_suite(suite(tmp_path))
    assert suite_of(read.model_dump(mode="json")) == read


def test_every_suite_of_ours_is_valid_with_and_without_quick():
    assert {path.stem for path in suite_files()} >= {"digits", "tiny"}
    for path in suite_files():
        assert read_suite(path).description
        if "[quick]" in path.read_text():
            assert read_suite(path, quick=True).name == f"{path.stem}@quick"
        assert path.read_text().startswith(f"# kdbench run {path.stem}")


def test_a_suite_is_found_by_name_here_first(tmp_path, monkeypatch):
    ours = suite_path("digits").resolve()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    shutil.copy(ours, tmp_path / "suites" / "digits.toml")
    assert suite_path("digits") == Path("suites/digits.toml")


def test_budgets_hold_at_their_limit():
    assert Budget(metric="accuracy", op=">=", limit=0.5).holds(0.5)
    assert not Budget(metric="accuracy", op=">=", limit=0.5).holds(0.499)
    assert Budget(metric="size_bytes", op="<=", limit=9).holds(9)
    assert not Budget(metric="size_bytes", op="<=", limit=9).holds(10)


BAD = [
    (
        'student = "dscnn"',
        'student = "dscnn"\nstudent_recipe = { lr = -1 }',
        r"x.toml [pairs.student_recipe] lr: found -1, expected greater than 0",
    ),
    (
        'student = "dscnn"',
        'student = "dscnn"\nstudent_recipe = { epoch = 3 }',
        r"x.toml [pairs.student_recipe] epoch: unknown key; did you mean 'epochs'?",
    ),
    (
        'student = "dscnn"',
        'student = "dscnn"\nlabelled = -1',
        r"x.toml [pairs.0] labelled: found -1, expected greater",
    ),
    (
        'student = "dscnn"',
        'student = "dscnn"\nstart = "warm"',
        r"x.toml [pairs.0] start: found 'warm', expected 'fresh'",
    ),
    ("version = 1", "version = 0", r"x.toml version: found 0, expected greater than or equal to 1"),
    ("version = 1\n", "", r"x.toml version: missing"),
    ("version = 1", "version = 1\nseedz = [1]", r"x.toml seedz: unknown key; did you mean 'seeds'?"),
    ("version = 1", "version = 1\nname = 'y'", r"x.toml [name]: a suite is named by its file; remove the key"),
    ("seeds = [0, 1]", "seeds = []", r"x.toml seeds: tuple should have at least 1 item after validation, not 0"),
    ("seeds = [0, 1]", "seeds = [0, 0]", r"x.toml seeds: 0 stands there twice"),
    ("seeds = [0, 1]", "seeds = ['a']", r"x.toml seeds[0]: found 'a', expected a valid integer"),
    ("kd = {}", "fitnets = {}", r"unknown method 'fitnets' in x.toml [methods]; did you mean 'fitnet'?"),
    ("kd = {}", "kd = 3", r"x.toml [methods] kd: found 3, expected a table of options such as {}"),
    (
        "kd = {}",
        "kd = { tuned = 20 }",
        r"x.toml [methods] kd tuned: expected what kdbench tune writes, such as { suite = ",
    ),
    ("kd = {}", "teacher = {}", r"x.toml [methods]: 'teacher' is the name of the teacher's own rows; choose another"),
    ('use = "kd"', "use = 3", r"in x.toml [methods] use: found 3, expected the name of a method"),
    (
        '"xnnpack-fp32",',
        '"xnnpack-fp23",',
        r"unknown target 'xnnpack-fp23' in x.toml [targets]; did you mean 'xnnpack-fp32'",
    ),
    ('"resnet8"', '"resnet9"', r"unknown model 'resnet9' in x.toml [pairs] teacher; did you mean 'resnet8'"),
    ('"digits"', '"digit"', r"unknown data set 'digit' in x.toml [pairs] data; did you mean 'digits'?"),
    (
        '"digits"',
        '"imagefoldr:pets"',
        r"unknown data set 'imagefoldr' in x.toml [pairs] data; did you mean 'imagefolder'",
    ),
    ('"digits"', '"imagefolder:../pets"', r"x.toml [pairs.0] data: found 'imagefolder:../pets', string should match"),
    (
        '"digits"',
        '"imagefolder:pets@big"',
        r"x.toml [pairs.0] data: found 'imagefolder:pets@big', string should match",
    ),
    ("epochs = 4", "epochs = 'ten'", r"x.toml [recipes.teacher] epochs: found 'ten', expected a valid integer"),
    ("epochs = 4", "epochs = 0", r"x.toml [recipes.teacher] epochs: found 0, expected greater than or equal to 1"),
    ("lr = 0.05", "lr = -1", r"x.toml [recipes.teacher] lr: found -1, expected greater than 0"),
    ('kind = "fast"', 'kind = "slow"', r"x.toml [recipes.teacher] kind: found 'slow', expected 'reference' or 'fast'"),
    (
        "lr = 0.05",
        "lr = 0.05\nmilestones = [1]",
        r"x.toml [recipes] teacher: milestones and schedule = 'multistep' go together",
    ),
    ("lr = 0.05", "lr = 0.05\nepoch = 3", r"x.toml [recipes.teacher] epoch: unknown key; did you mean 'epochs'?"),
    ("[recipes.teacher]", "[recipes.assistant]", r"x.toml [recipes] assistant: unknown key; known: teacher, student"),
    (
        'accuracy = ">= 0.85"',
        'acuracy = ">= 0.85"',
        r"x.toml [budgets.'xnnpack-int8']: unknown metric 'acuracy'; did you mean",
    ),
    ('">= 0.85"', '"0.85"', r"x.toml [budgets.'xnnpack-int8'] accuracy: found '0.85', expected a limit such as"),
    ('[budgets."xnnpack-int8"]', "[budgets.xnnpack]", r"x.toml [budgets]: 'xnnpack' is not a target of this suite"),
    (
        "[quick]",
        "[[pairs]]\nteacher='resnet8'\nstudent='dscnn'\n[quick]",
        r"two pairs are called 'digits:resnet8-dscnn'; give one a name",
    ),
    ("[methods]", "[methods", r"x.toml is not valid TOML: "),
]


@pytest.mark.parametrize(("old", "new", "line"), BAD, ids=[line[:60] for _, _, line in BAD])
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, monkeypatch, old, new, line):
    monkeypatch.chdir(tmp_path)
    assert old in SUITE
    suite(tmp_path, SUITE.replace(old, new, 1))
    with pytest.raises(UsageError) as raised:
        read_suite(Path("x.toml"))
    message = str(raised.value)
    assert line in message
    assert "\n" not in message
    assert raised.value.exit_code == 2


def test_what_is_no_suite_is_said(tmp_path):
    with pytest.raises(UsageError, match=re.escape("no suite file 'nothing.toml'")):
        suite_path("nothing.toml")
    with pytest.raises(UsageError, match="unknown suite 'digit'; did you mean 'digits'"):
        suite_path("digit")
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"b\.toml is not UTF-8 text"):
        read_suite(binary)
    with pytest.raises(UsageError, match=r"cannot read .*: Is a directory"):
        read_suite(tmp_path)
    bare = suite(tmp_path, SUITE.partition("[quick]")[0])
    with pytest.raises(UsageError, match=r"has no \[quick\] table, so it cannot run with --quick"):
        read_suite(bare, quick=True)


def test_a_suite_is_frozen(tmp_path):
    read = read_suite(suite(tmp_path))
    assert isinstance(read, Suite)
    with pytest.raises(ValueError, match="frozen"):
        read.seeds = (1,)
