"""The story of a gate, played for real: green, red after a planted regression, green after the fix.

``python examples/gate/play.py`` copies ``repository/`` to a scratch folder, makes it a git repository with a baseline
and a commit after the other, and runs ``ci.sh`` in a fresh clone of each. Exit code 1 if one does not end as the story
says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SHELF = "shelf.toml"
NARROW, WIDE = "{ width = 6 }", "{ width = 7 }"


class Repository:
    """The tiny repository on its way through three commits; all clones share one store, as CI's cache does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        self.clones = folder / "clones"
        shutil.copytree(HERE / "repository", self.folder)
        who = {f"GIT_{role}_{what}": "example" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "KDBENCH_RES"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**outside, **who, **alone, "PATH": path, "KDBENCH_STORE": str(folder / "store")}
        self.run("git", "init", "-q", "-b", "main")

    def run(self, *words: str) -> None:
        """Run a command in the repository; it must succeed."""
        print(f"$ {' '.join(words)}", flush=True)
        subprocess.run(words, cwd=self.folder, env=self.environment, check=True)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", message)

    def resize(self, old: str, new: str) -> None:
        """Change the student's width in the suite."""
        shelf = self.folder / SHELF
        text = shelf.read_text(encoding="utf-8")
        assert old in text
        shelf.write_text(text.replace(old, new), encoding="utf-8")

    def ci(self, name: str) -> tuple[int, str]:
        """The exit code and output of ``ci.sh`` in a fresh clone."""
        clone = self.clones / name
        self.run("git", "clone", "-q", ".", str(clone))
        start = time.perf_counter()
        done = subprocess.run(
            ["./ci.sh"], cwd=clone, env=self.environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        told = done.stdout[done.stdout.find("against its baseline") :].partition("\n")[2]
        print(
            f"$ ./ci.sh   # {name}: exit code {done.returncode} after {time.perf_counter() - start:.0f} s\n{told}",
            flush=True,
        )
        return done.returncode, done.stdout


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kdbench-gate-") as folder:
        repository = Repository(Path(folder))
        repository.commit("A student")
        repository.run(sys.executable, "-m", "kdbench", "run", SHELF)
        repository.run(sys.executable, "-m", "kdbench", "baseline", "save", "shelf")
        repository.commit("The baseline that the student must keep")
        first = repository.ci("green")

        repository.resize(NARROW, WIDE)
        repository.commit("A wider student")
        second = repository.ci("red")

        repository.resize(WIDE, NARROW)
        repository.commit("The student as narrow as it was")
        third = repository.ci("green-again")
    codes = [code for code, _ in (first, second, third)]
    reason = "size_bytes: " in second[1] and "regressed" in second[1]
    print("as the story says" if codes == [0, 1, 0] and reason else f"NOT as the story says: {codes}")
    return 0 if codes == [0, 1, 0] and reason else 1


if __name__ == "__main__":
    sys.exit(main())
