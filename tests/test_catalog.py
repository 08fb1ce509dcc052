import subprocess
import sys

import pytest

from kdbench.catalog import GROUPS, Entry, entries, find, kind, load, parted
from kdbench.errors import UsageError


def test_every_builtin_can_be_imported_and_says_what_it_is():
    for group in GROUPS:
        assert entries(group), group
        for name, entry in entries(group).items():
            assert entry.load() is not None, name
            assert entry.summary(), f"{group} {name} has no docstring"


def test_names_are_listed_without_importing_torch():
    code = (
        "import sys; from kdbench.catalog import GROUPS, entries\n"
        "for g in GROUPS:\n  [e.summary() for e in entries(g).values()]\n"
        "print(sorted({'torch', 'executorch', 'numpy'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"^unknown method 'fitnets' in x\.toml \[methods\]; did you mean 'fitnet'\?$"):
        find("methods", "fitnets", "in x.toml [methods]")


def test_a_hopeless_name_lists_all():
    with pytest.raises(
        UsageError, match="unknown target 'zzz'; known: coreml-fp16, coreml-int8, cortex-m, .*, xnnpack-int8da8w$"
    ):
        find("targets", "zzz")


def test_a_thing_in_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text('class Mine:\n    """A method of mine."""\n    answer = 42\n')
    entry = find("methods", f"{file}:Mine")
    assert entry.summary() == "A method of mine."
    assert entry.load().answer == 42
    digest = entry.digest()
    assert len(digest) == 64
    file.write_text(file.read_text() + "# changed\n")
    assert find("methods", f"{file}:Mine").digest() != digest


def test_a_plug_in_of_another_package_is_known_by_its_source(tmp_path, monkeypatch):
    (tmp_path / "plugged.py").write_text("Mine = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = Entry("methods", "mine", "Mine", "plugged")
    before = entry.digest()
    assert len(before) == 64
    (tmp_path / "plugged.py").write_text("Mine = 2\n")
    assert entry.digest() != before
    assert find("methods", "kd").digest() == find("models", "resnet8").digest() == ""


def test_an_edit_behind_a_re_export_is_another_plug_in(tmp_path, monkeypatch):
    package = tmp_path / "exporting"
    package.mkdir()
    (package / "__init__.py").write_text("from exporting._impl import Mine\n")
    (package / "_impl.py").write_text("Mine = 1\n")
    (tmp_path / "beside.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = Entry("methods", "mine", "Mine", "exporting")
    before = entry.digest()
    (tmp_path / "beside.py").write_text("another = 'package'\n")
    assert entry.digest() == before
    (package / "_impl.py").write_text("Mine = 2\n")
    assert entry.digest() != before


def test_a_plug_in_of_a_namespace_package_is_known_by_its_source(tmp_path, monkeypatch):
    for place in ("other", "mine"):
        (tmp_path / place / "spaced").mkdir(parents=True)
        monkeypatch.syspath_prepend(str(tmp_path / place))
    file = tmp_path / "other" / "spaced" / "plugged.py"
    file.write_text("Mine = 1\n")
    entry = Entry("methods", "mine", "Mine", "spaced.plugged")
    before = entry.digest()
    assert len(before) == 64
    file.write_text("Mine = 2\n")
    assert entry.digest() != before


def test_a_file_that_ends_python_is_an_error(tmp_path):
    (tmp_path / "quits.py").write_text("raise SystemExit(0)")
    with pytest.raises(UsageError, match="quits.py cannot be imported: SystemExit: 0"):
        find("methods", f"{tmp_path / 'quits.py'}:X").load()


def test_errors_of_a_file_are_one_line(tmp_path):
    file = tmp_path / "broken.py"
    with pytest.raises(UsageError, match=r"no file '.*broken\.py' for method"):
        find("methods", f"{file}:Mine")
    file.write_text("import nowhere_to_be_found\n")
    with pytest.raises(UsageError, match=r"broken\.py cannot be imported: ModuleNotFoundError: No module named"):
        load("methods", f"{file}:Mine")
    file.write_text("x = 1\n")
    with pytest.raises(UsageError, match=r"broken\.py has no 'Mine'"):
        load("methods", f"{file}:Mine")


def test_a_file_wants_the_name_of_what_it_holds_and_near_ones_are_suggested(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("class MyKD: pass\n")
    with pytest.raises(UsageError, match=r"method '.*mine\.py' is a file; name what it holds too, as .*mine\.py:NAME"):
        find("methods", str(file))
    with pytest.raises(UsageError, match=r"mine\.py has no 'MyKDD' \(method '.*'\); did you mean 'MyKD'"):
        load("methods", f"{file}:MyKDD")


def test_kinds_have_singular_names():
    assert [kind(group) for group in ("datasets", "methods")] == ["data set", "method"]


def test_a_kind_and_which_of_it_are_parted_but_a_file_and_its_name_are_not():
    assert parted("digits") == ("digits", "")
    assert parted("imagefolder:pets@32") == ("imagefolder", "pets@32")
    assert parted("mine.py:Pets") == ("mine.py:Pets", "")
