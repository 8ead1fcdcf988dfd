"""What every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def trace_data() -> Path:
    """The folder of real traces that are not part of the project: `$TRACEAD_DATA`, else `shared/data` beside it."""
    folder = Path(os.environ.get("TRACEAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no traces at {folder}: set TRACEAD_DATA to a folder that holds them")
    return folder
