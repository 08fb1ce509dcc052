import sys

import pytest

from kdbench.sources import file_digest, package_digest, source_of

SOURCES = {
    "own/__init__.py": "",
    "own/losses.py": "from . import softly\nfrom .deep.er import sharp\n",
    "own/softly.py": "import torch\n",
    "own/deep/__init__.py": "",
    "own/deep/er.py": "from ..constants import T\nsharp = T\n",
    "own/constants.py": "T = 4\n",
    "own/aside.py": "def unused(): ...\n",
    "late.py": "x = 1\n",
    "method.py": "import json\nimport own.losses as losses\n\ndef f():\n    import late\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own", "late", "method")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("edited", "counts"), [(name, name != "own/aside.py") for name in SOURCES] + [("own/deep/other.py", False)]
)
def test_what_a_file_imports_in_turn_is_part_of_its_digest(project, edited, counts):
    before = file_digest(project / "method.py")
    path = project / edited
    path.write_text((path.read_text() if path.exists() else "") + "\nedited = True\n", encoding="utf-8")
    assert (file_digest(project / "method.py") != before) == counts
    assert not {"own", "late"} & set(sys.modules), "nothing is imported to find it out"


def test_installed_libraries_and_kdbench_do_not_count(project):
    alone = "import torch, json, kdbench.methods.kd\nfrom kdbench.methods import method\n"
    (project / "method.py").write_text(alone, encoding="utf-8")
    (project / "bare.py").write_text(alone, encoding="utf-8")
    assert file_digest(project / "method.py") == file_digest(project / "bare.py")
    import hashlib

    assert file_digest(project / "bare.py") == hashlib.sha256(alone.encode()).hexdigest()


def test_a_package_counts_whole_and_so_does_what_it_imports_besides(project):
    (project / "own" / "losses.py").write_text("from late import x\nfrom .softly import *\n", encoding="utf-8")
    digests = [package_digest("own.losses")]
    for name in ("own/aside.py", "late.py"):
        (project / name).write_text("edited = True\n", encoding="utf-8")
        digests.append(package_digest("own.losses"))
    (project / "method.py").write_text("x = 2\n", encoding="utf-8")
    assert len(set(digests)) == 3
    assert package_digest("own.losses") == digests[-1]


def test_relative_imports_count_in_packages_without_an_init_too(tmp_path, monkeypatch):
    for name, text in {
        "bare/methods.py": "from .losses import soft\n",
        "bare/losses.py": "",
        "bare/other.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name, text in {
        "spaced/own/__init__.py": "",
        "spaced/own/x.py": "from ..near import y\n",
        "spaced/near.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for module, edited, counts in (
        ("bare.methods", "bare/losses.py", True),
        ("bare.methods", "bare/other.py", False),
        ("spaced.own.x", "spaced/near.py", True),
    ):
        before = package_digest(module)
        (tmp_path / edited).write_text("edited = True\n", encoding="utf-8")
        assert (package_digest(module) != before) == counts, edited


def test_of_a_package_and_a_module_of_one_name_python_takes_the_package(project):
    (project / "own" / "losses").mkdir()
    (project / "own" / "losses" / "__init__.py").write_text("", encoding="utf-8")
    assert source_of("own.losses") == project / "own" / "losses" / "__init__.py"


def test_a_source_that_does_not_parse_is_for_whoever_loads_it(project):
    (project / "method.py").write_text("import own\ndef f(:\n", encoding="utf-8")
    assert len(file_digest(project / "method.py")) == 64


def test_modules_without_a_source_have_none(project):
    assert source_of("sys") is source_of("nowhere") is source_of("own.nowhere") is None
    assert source_of("own") == project / "own" / "__init__.py"
    assert source_of("own.deep.er") == project / "own" / "deep" / "er.py"
    assert package_digest("nowhere") == ""
