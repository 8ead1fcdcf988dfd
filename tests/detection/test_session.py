"""Sessions where there is no GPU: the code of CUDA on the CPU provider, and devices that fail."""

import ctypes

import numpy as np
import pytest
from host_device import HostDevice, cuda_on_host
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import SIZES, random_network

from otel_tracead.detection import onnx_sessions
from otel_tracead.detection.bound_runs import rounded
from otel_tracead.detection.session import Session
from otel_tracead.errors import ArtifactError
from otel_tracead.training.architecture import Architecture

LABELS = 12
ARCHITECTURE = Architecture(labels=LABELS, **SIZES)
NETWORK = random_network(ARCHITECTURE)
OUTPUTS = ("label_surprise", "time_surprise", "mixture", "log_probabilities", "state_out")
NO_MEMORY = "bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 15168000"
ILLEGAL = "CUDA error cudaErrorIllegalAddress:an illegal memory access was encountered"


def feeds(rows, width, seed=0):
    random = np.random.default_rng(seed)
    return {
        "labels": random.integers(0, LABELS, (rows, width)).astype(np.int32),
        "times": random.normal(0, 2, (rows, width, 1)).astype(np.float32),
        "state": np.zeros((rows, ARCHITECTURE.state), np.float32),
    }


def try_out(run):
    run(OUTPUTS, feeds(1, LABELS + 1))


@pytest.fixture(scope="module")
def plain():
    return onnx_sessions.cpu(NETWORK, 1)


@pytest.fixture
def on_host(monkeypatch):
    """Make sessions on a stand-in; gives its device and its session of ONNX Runtime, too."""

    def make(fails=lambda number, rows: None):
        cuda, made = cuda_on_host(fails)
        monkeypatch.setattr(onnx_sessions, "cuda", cuda)
        session = Session(NETWORK, try_out, provider="cuda")
        assert session.execution_provider == "cuda"
        return session, *made[0]

    return make


def same(found, expected):
    for here, there in zip(found, expected, strict=True):
        assert here.dtype == there.dtype
        np.testing.assert_allclose(here, there, atol=1e-5)


@given(st.integers(1, 1 << 20))
def test_a_count_is_rounded_up_by_a_third_at_most(count):
    assert count <= rounded(count) <= max(count * 1.5, 1)
    assert rounded(rounded(count)) == rounded(count)


def test_few_counts_are_run():
    assert sorted({rounded(count) for count in range(1, 65)}) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]


def test_bound_runs_give_what_plain_ones_give(on_host, plain):
    session, device, _ = on_host()
    shapes = [(1, 2), (7, 9), (5, 30), (64, 3), (3, 17), (7, 9), (100, 12), (1, 1025), (2, 2)]
    for seed, shape in enumerate(shapes):
        given = feeds(*shape, seed)
        same(session.run(OUTPUTS, given), plain(OUTPUTS, given))
        same(session.run(OUTPUTS[:2], given), plain(OUTPUTS[:2], given))
    assert session.trouble == ""
    assert set(device.waited) == {1}  # one at a time needs the memory of one


@given(shapes=st.lists(st.tuples(st.integers(1, 20), st.integers(2, 20)), max_size=7))
def test_a_stream_gives_what_plain_runs_give_in_order(streaming, plain, shapes):
    given = [feeds(*shape, seed) for seed, shape in enumerate(shapes)]
    for found, one in zip(streaming[0].stream(OUTPUTS, iter(given)), given, strict=True):
        same(found, plain(OUTPUTS, one))


@pytest.fixture(scope="module")
def streaming():
    with pytest.MonkeyPatch.context() as patch:
        cuda, made = cuda_on_host()
        patch.setattr(onnx_sessions, "cuda", cuda)
        session = Session(NETWORK, try_out, provider="cuda")
    return session, *made[0]


def test_a_run_of_a_stream_is_begun_before_the_former_is_read(on_host):
    session, device, runtime = on_host()
    session.run(OUTPUTS, feeds(3, 5))  # so that the shape is known
    device.waited.clear()
    runtime.rows.clear()
    stream = session.stream(OUTPUTS, (feeds(3, 5, seed) for seed in range(4)))
    next(stream)
    assert (len(runtime.rows), len(device.waited)) == (2, 1)
    next(stream)
    assert (len(runtime.rows), len(device.waited)) == (3, 2)
    stream.close()
    assert len(device.waited) == 3  # what was begun is waited for before its memory is used again
    assert len(list(session.stream(OUTPUTS, [feeds(3, 5)] * 3))) == 3
    assert set(device.waited) <= {1, 2}


def test_a_result_stays_when_the_next_run_is_made(on_host):
    session, *_ = on_host()
    first = session.run(OUTPUTS, feeds(3, 5, 1))
    before = [column.copy() for column in first]
    session.run(OUTPUTS, feeds(3, 5, 2))
    same(first, before)


def test_memory_is_reused_whatever_the_rows_of_a_class(on_host):
    session, device, runtime = on_host()
    session.run(OUTPUTS, feeds(16, 20))
    asked, runs = len(device.given), len(runtime.rows)
    for rows in (13, 14, 15, 16):
        session.run(OUTPUTS, feeds(rows, 20))
    assert len(device.given) == asked
    assert len(runtime.rows) == runs + 4  # no shape had to be learned again


def test_what_no_run_used_of_a_row_does_not_matter(on_host, plain):
    session, *_ = on_host()
    session.run(OUTPUTS, {name: np.full_like(array, 9) for name, array in feeds(16, 20).items()})
    given = feeds(13, 20)
    same(session.run(OUTPUTS, given), plain(OUTPUTS, given))


@pytest.mark.parametrize("text", [NO_MEMORY, "CUDA failure 2: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_a_run_that_finds_no_memory_is_made_in_halves(on_host, plain, text):
    session, _, runtime = on_host(lambda number, rows: text if rows > 12 else None)
    given = feeds(40, 9)
    same(session.run(OUTPUTS, given), plain(OUTPUTS, given))
    assert session.execution_provider == "cuda"
    assert session.trouble == ""
    runtime.rows.clear()
    same(session.run(OUTPUTS, given), plain(OUTPUTS, given))
    assert max(runtime.rows) <= 12  # it is not tried again


def test_a_stream_goes_on_where_one_run_finds_no_memory(on_host, plain):
    session, _, _ = on_host(lambda number, rows: NO_MEMORY if rows > 12 else None)
    given = [feeds(*shape, seed) for seed, shape in enumerate([(3, 5), (30, 5), (4, 5), (20, 5), (5, 5)])]
    for found, one in zip(session.stream(OUTPUTS, given), given, strict=True):
        same(found, plain(OUTPUTS, one))
    assert session.execution_provider == "cuda"


def test_one_row_without_memory_goes_to_the_cpu(on_host, plain):
    session, *_ = on_host(lambda number, rows: NO_MEMORY if number > 1 else None)
    given = feeds(3, 9)
    same(session.run(OUTPUTS, given), plain(OUTPUTS, given))
    assert session.execution_provider == "cpu"
    assert "Failed to allocate" in session.trouble


@pytest.mark.parametrize("nth", range(2, 12))
def test_a_device_that_fails_leaves_the_rest_to_the_cpu(on_host, plain, nth):
    session, _, runtime = on_host(lambda number, rows: ILLEGAL if number >= nth else None)
    given = [feeds(*shape, seed) for seed, shape in enumerate([(3, 5), (30, 5), (4, 9), (20, 5), (5, 5)])]
    found = list(session.stream(OUTPUTS, given))
    for here, one in zip(found, given, strict=True):
        same(here, plain(OUTPUTS, one))
    after = len(runtime.rows)
    same(session.run(OUTPUTS, given[0]), plain(OUTPUTS, given[0]))
    if session.execution_provider == "cpu":
        assert "IllegalAddress" in session.trouble
        assert len(runtime.rows) == after  # it is left alone
    assert (session.execution_provider == "cpu") == (len(runtime.rows) > nth)


def test_a_device_that_fails_while_it_is_waited_for_leaves_the_rest_to_the_cpu(on_host, plain):
    session, device, _ = on_host()
    given = [feeds(*shape, seed) for seed, shape in enumerate([(3, 5), (30, 5), (4, 9)])]
    stream = session.stream(OUTPUTS, given)
    same(next(stream), plain(OUTPUTS, given[0]))
    device.failing = "cudaEventSynchronize: an illegal memory access was encountered (700)"
    for found, one in zip(stream, given[1:], strict=True):
        same(found, plain(OUTPUTS, one))
    assert (session.execution_provider, session.trouble) == ("cpu", device.failing)
    assert not device.closed  # a session on a device that has failed must not be destroyed


def test_a_feed_that_the_cpu_refuses_too_is_no_failure_of_the_device(on_host, plain):
    session, *_ = on_host()
    wrong = feeds(6, 5) | {"labels": np.full((6, 5), 10**6, np.int32)}
    with pytest.raises(Exception, match="indices element out of data bounds"):
        session.run(OUTPUTS, wrong)
    same(session.run(OUTPUTS, feeds(5, 5)), plain(OUTPUTS, feeds(5, 5)))  # nothing of it is left in the sixth row
    assert session.execution_provider == "cuda"


def test_numbers_that_the_cpu_does_not_confirm_are_not_taken(monkeypatch):
    cuda, made = cuda_on_host()
    monkeypatch.setattr("otel_tracead.detection.cuda.has_driver", lambda: True)
    monkeypatch.setattr(onnx_sessions, "cuda", lambda model, threads: cuda(other, threads))
    other = random_network(ARCHITECTURE, seed=5)
    session = Session(NETWORK, try_out)
    assert session.execution_provider == "cpu"
    assert "off what the CPU says" in session.trouble
    assert made[0][0].closed
    with pytest.raises(RuntimeError, match="off what the CPU says"):
        Session(NETWORK, try_out, provider="cuda")


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr("otel_tracead.detection.cuda.has_driver", lambda: False)
    session = Session(NETWORK, try_out)
    assert (session.execution_provider, session.trouble) == ("cpu", "")


@pytest.fixture
def without_libraries(monkeypatch):
    """As where there is a driver and nothing else of CUDA, whatever this machine has."""
    monkeypatch.setattr("otel_tracead.detection.cuda.has_driver", lambda: True)
    monkeypatch.setattr(onnx_sessions, "CudaDevice", lambda version: ctypes.CDLL(f"libcudart-missing.so.{version}"))


def test_auto_takes_the_cpu_where_the_gpu_does_not_work_and_says_why(without_libraries, capfd):
    session = Session(NETWORK, try_out)
    assert session.execution_provider == "cpu"
    assert "libcudart-missing.so" in session.trouble or "without CUDA" in session.trouble
    assert capfd.readouterr() == ("", "")


def test_auto_takes_cuda_where_it_works(monkeypatch):
    cuda, _ = cuda_on_host()
    monkeypatch.setattr("otel_tracead.detection.cuda.has_driver", lambda: True)
    monkeypatch.setattr(onnx_sessions, "cuda", cuda)
    assert Session(NETWORK, try_out).execution_provider == "cuda"


def test_cuda_that_was_asked_for_and_does_not_work_is_an_error(without_libraries):
    with pytest.raises(RuntimeError, match=r"cuda was asked for and does not work: .*execution_provider: auto"):
        Session(NETWORK, try_out, provider="cuda")


def test_what_is_no_network_is_refused_without_a_word(capfd):
    with pytest.raises(ArtifactError, match=r"model\.onnx: it is no ONNX model"):
        Session(b"not a network", try_out, provider="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_device_is_closed_when_nobody_runs_on_it_any_more():
    device = HostDevice()
    runs = onnx_sessions.bound(NETWORK, 1, device)
    run = runs.begin(OUTPUTS, feeds(3, 5))
    del runs
    assert not device.closed  # the run still writes to its memory
    assert len(run.result()) == len(OUTPUTS)
    del run
    assert device.closed


def test_a_device_is_closed_when_the_network_cannot_be_made():
    device = HostDevice()
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        onnx_sessions.bound(b"not a network", 1, device)
    assert device.closed
