import getpass
import platform
import re
import subprocess

from kdbench.machine import LIBRARIES, commit, libraries, machine


def test_the_slug_is_cpu_and_system_without_names():
    told = machine("AVX2")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", told.slug)
    assert told.slug.endswith(f"{platform.system()}-{platform.machine().replace('_', '-')}".lower())
    text = told.model_dump_json()
    assert platform.node() not in text or platform.node() in {"localhost", "", told.system}
    assert f'"{getpass.getuser()}"' not in text


def test_the_fingerprint_knows_the_instruction_set():
    assert machine("AVX2").fingerprint == machine("AVX2").fingerprint
    assert machine("AVX2").fingerprint != machine("AVX512").fingerprint


def test_every_library_that_decides_figures_has_a_version():
    assert set(libraries()) == set(LIBRARIES)
    assert all(libraries().values())


def test_the_commit_and_whether_it_is_dirty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commit() == ("", False)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head, dirty = commit()
    assert len(head) == 40
    assert not dirty
    (tmp_path / "new").write_text("")
    assert commit() == (head, True)
