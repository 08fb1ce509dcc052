#!/usr/bin/env bash
# What continuous integration runs: every program of the suite against the baseline that the repository keeps.
# Exit code 0: nothing is shown to be worse. The verdicts are in junit.xml, one a test.
set -euo pipefail
cd "$(dirname "$0")"
python -m pytest shelf.toml --kdbench-baseline baseline -m "kdbench(measure='baseline')" --junitxml=junit.xml -q
