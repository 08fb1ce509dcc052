import pytest


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The user's folder of data sets, empty, beside an empty cache."""
    folder = tmp_path / "own data"
    folder.mkdir()
    monkeypatch.setenv("KDBENCH_DATA", str(folder))
    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path / "store"))
    return folder
