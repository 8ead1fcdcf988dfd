"""One run of everything serves all tests here."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.end_to_end.chain import Seen, run_everything
from tools.peers import Unavailable


@pytest.fixture(scope="session")
def seen(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("end_to_end")
    with ExitStack() as running:
        try:
            yield run_everything(running, folder, model)
        except Unavailable as missing:
            pytest.skip(str(missing))
