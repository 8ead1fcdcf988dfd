"""An application forks under load: nobody deadlocks, and no span is exported twice or by nobody."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.source_tree import ROOT

FORKS = 6


@pytest.mark.peers
def test_forks_under_load_double_nothing_and_lose_nothing(tiny_artifact: Path, tmp_path: Path) -> None:
    path = tmp_path / "spans"
    command = [sys.executable, "-m", "tests.faults.forking", str(tiny_artifact), str(path), str(FORKS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["children"] == [0] * FORKS
    lines = [line.split() for line in path.read_text().splitlines()]
    assert set(Counter(span for _, span in lines).values()) == {1}
    by_process = Counter(int(pid) for pid, _ in lines)
    assert by_process.pop(told["pid"]) == told["parent"]
    assert list(by_process.values()) == [40] * FORKS
