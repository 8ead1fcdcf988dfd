"""Trace files: every format, in pieces; damaged, cut and foreign files."""

import gzip
import hashlib
import struct
import tracemalloc
import zlib
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as Request
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.errors import InputError
from otel_tracead.wire import _binary_files, _json_files
from otel_tracead.wire._json_scan import ElementScanner, ScanError
from otel_tracead.wire.batch import TranslatedSpan
from otel_tracead.wire.files import Position, TraceFileWriter, expand, read_file

GOLDEN = Path(__file__).parent / "testdata"
FILES = sorted(path for path in GOLDEN.iterdir() if path.suffix != ".md")
EXPECTED = {
    ("frontend", "eee19b7ec3c1b174", "", "GET /cart", 2, 1544712660000000000, 1544712660300000000),
    ("frontend", "eee19b7ec3c1b175", "eee19b7ec3c1b174", "GetCart", 3, 1544712660010000000, 1544712660200000000),
    ("cart", "eee19b7ec3c1b176", "eee19b7ec3c1b175", "GetCart", 2, 1544712660020000000, 1544712660190000000),
}
TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = {"traceId": TRACE, "id": "1"}


def _facts(path):
    found = set()
    for _, batch in read_file(path):
        for envelope, encoded in batch:
            span = Span.FromString(encoded)
            assert span.trace_id.hex() == TRACE
            assert [(pair.key, pair.value.string_value) for pair in span.attributes] == [("http.request.method", "GET")]
            ids = span.span_id.hex(), span.parent_span_id.hex()
            times = span.start_time_unix_nano, span.end_time_unix_nano
            found.add((envelope.service, *ids, span.name, span.kind, *times))
    return found


def _count(path):
    return sum(len(batch) for _, batch in read_file(path))


def _write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


@contextmanager
def _memory_peak():
    peak = []
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_golden_files(path):
    assert _facts(path) == EXPECTED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_content_decides_not_the_name(path, tmp_path):
    assert _facts(_write(tmp_path, "anything", path.read_bytes())) == EXPECTED


def test_positions():
    assert [str(place) for place, _ in read_file(GOLDEN / "otlp.jsonl")] == [
        f"{GOLDEN}/otlp.jsonl:1",
        f"{GOLDEN}/otlp.jsonl:2",
    ]
    [first, second] = [place for place, _ in read_file(GOLDEN / "otlp_framed.pb")]
    assert (first.line, first.byte) == (None, 0)
    assert str(second) == f"{GOLDEN}/otlp_framed.pb:byte {second.byte}"
    (size,) = struct.unpack(">I", (GOLDEN / "otlp_framed.pb").read_bytes()[:4])
    assert second.byte == size + 4
    assert str(Position(Path("a"))) == "a"


@pytest.mark.parametrize("name", ["otlp.jsonl", "zipkin_document.json", "jaeger_document.json", "zipkin_lines.jsonl"])
def test_byte_order_marks_blank_lines_and_foreign_line_ends(name, tmp_path):
    text = (GOLDEN / name).read_bytes()
    assert _facts(_write(tmp_path, "bom", b"\xef\xbb\xbf" + text)) == EXPECTED
    assert _facts(_write(tmp_path, "blank.json", b"\n \r\n" + text + b"\n\n")) == EXPECTED
    assert _facts(_write(tmp_path, "windows", text.replace(b"\n", b"\r\n"))) == EXPECTED


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bytes], ids=["gz", "zst", "plain"])
@pytest.mark.parametrize("name", ["otlp.jsonl", "otlp_framed.pb", "otlp_plain.pb", "zipkin.json", "jaeger.json"])
def test_a_file_cut_anywhere_is_an_input_error_with_its_place(name, compress, tmp_path):
    whole = compress((GOLDEN / name).read_bytes())
    frames = {0}
    if compress is bytes:  # a cut between two messages cannot be seen
        frames = {size for size in range(len(whole)) if _whole(name, whole[:size])}
    for size in range(1, len(whole), 7):
        path = _write(tmp_path, name, whole[:size])
        if size in frames:
            continue
        with pytest.raises(InputError, match=f"^{path}(:|$)"):
            list(read_file(path))


def _whole(name, content):
    if name == "otlp.jsonl":
        return all(_is_json(line) for line in content.splitlines())
    if name == "otlp_framed.pb":
        (size,) = struct.unpack(">I", content[:4]) if len(content) > 4 else (-5,)
        return size + 4 == len(content)
    if name == "otlp_plain.pb":
        return len(content) > 3 and int.from_bytes(content[1:2]) & 0x7F | content[2] << 7 == len(content) - 3
    return False


def _is_json(line):
    try:
        return type(orjson.loads(line)) is dict
    except orjson.JSONDecodeError:
        return False


def test_what_came_before_the_damage_is_given(tmp_path):
    lines = (GOLDEN / "otlp.jsonl").read_bytes().splitlines(keepends=True)
    path = _write(tmp_path, "a.jsonl", lines[0] + lines[1][:40])
    found = read_file(path)
    assert len(next(found)[1]) == 2
    with pytest.raises(InputError, match=r"a.jsonl:2: not valid JSON: .*; if the file was cut, get it again or"):
        next(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.jsonl:1: the file is empty"),
        (b"\n\n  ", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (b"hello", "a.jsonl:byte 0: starts with b'hello': neither OTLP"),
        (b"\x7fELF\x02\x01", "neither OTLP"),
        (b'{"faults":[]}', "a.jsonl:1: JSON, but neither OTLP"),
        (b'\n\n[{"faults":1}]', "a.jsonl:3: JSON, but neither OTLP"),
        (b'{"a":{"data":\n[1]}}', "a.jsonl:1: JSON, but neither OTLP"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"x"}]}]}]}', "a.jsonl:1: .*traceId: .*hexadecimal"),
        (b'[\n{"traceId":"1","id":"1"},\n{"traceId":"1","id":"x"}\n]', "a.jsonl:3: .*id: expected 1 to 16"),
        (b'{"traceId":"1","id":"1"}\n{"traceId":"1"}', "a.jsonl:2: .*id: missing"),
        (b'{"traceId":"1","id":"1"}\n{"traceId":"1"', "a.jsonl:2: not valid JSON"),
        (b'[{"traceId":"1","id":"1"}\n{"traceId":"1"}]', "a.jsonl:2: not valid JSON between"),
        (b'{"data":[\n{"spans":[],"processes":{}},\n{"spans":[{}],"processes":{}}]}', "a.jsonl:3: .*traceID"),
        (b"[1,2]", "a.jsonl:1: "),
        (b'{"resourceSpans":\n[{"scopeSpans":3}]}', "a.jsonl:2: .*scopeSpans: expected a list"),
        (b"\x0a\x05ab", "a.jsonl:byte 0: ends after 2 of the 5 bytes"),
        (b"\x0a\x02\xff\xff", "a.jsonl:byte 0: not a valid OTLP protobuf"),
        (b"\x0a\x00\x08\x01", "a.jsonl:byte 2: no OTLP protobuf"),
        (b"\x0a\x00\x0a\xff", "a.jsonl:byte 2: ends in the middle of a length"),
        (b"\x0a" + b"\xff" * 20, "a.jsonl:byte 0: .*length without an end"),
        (b"\x0a\xff\xff\xff\xff\x7f", "a.jsonl:byte 0: .* more than 256 MiB"),
        (b"\x00\x00\x00\x02\x0a\x00\x00\x00", "a.jsonl:byte 6: ends in the middle of a message's length"),
        (b"\x00\x00\x00\x02\x0a\x00\xff\xff\xff\xff", "a.jsonl:byte 6: a message of 4294967295 bytes"),
        (b"\x00\x00\x00\x03\x0a\x02\xff", "a.jsonl:byte 0: not a valid OTLP protobuf"),
        (b"\x00\x00\x00\x08\x28\xb5\x2f\xfd\x24\x00\x00\x00", "a.jsonl:byte 0: "),
    ],
)
def test_broken_and_foreign_files(content, message, tmp_path):
    with pytest.raises(InputError, match=message):
        list(read_file(_write(tmp_path, "a.jsonl", content)))


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_zipkin_spans_before_the_damage_are_given(compress, tmp_path):
    names = (hashlib.sha256(b"%d" % number).hexdigest() for number in range(4000))
    content = compress(b"\n".join(orjson.dumps({**SPAN, "name": name}) for name in names))
    path = _write(tmp_path, "a.jsonl", content[: len(content) * 9 // 10])
    sizes = []
    with pytest.raises(InputError, match=r"a\.jsonl:\d+: damaged or cut after here"):
        sizes.extend(len(batch) for _, batch in read_file(path))
    assert sum(sizes) > 3000
    assert sizes[-1] < 500


@pytest.mark.parametrize("size", [1, 100, 128, 5_000, 16_383, 16_384, 300_000, 2_097_152, 3_000_000])
def test_a_plain_message_of_any_size_is_not_taken_for_a_framed_one(size, tmp_path):
    """Its first bytes are a length, too: of 160 MiB and more."""
    resource_spans = Request().resource_spans.add()
    resource_spans.schema_url = "x" * size
    resource_spans.resource.attributes.add(key="service.name")
    resource_spans.scope_spans.add().spans.add(trace_id=b"1" * 16, span_id=b"1" * 8)
    plain = Request(resource_spans=[resource_spans]).SerializeToString()
    bare = Request(resource_spans=[resource_spans])
    bare.resource_spans[0].ClearField("resource")
    for content in (plain, bare.SerializeToString()):
        assert _count(_write(tmp_path, "a.pb", content)) == 1
        assert _count(_write(tmp_path, "b.pb", struct.pack(">I", len(content)) + content)) == 1


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match=r"/nope: cannot be read: No such file"):
        list(read_file(tmp_path / "nope"))
    with pytest.raises(InputError, match="Is a directory"):
        list(read_file(tmp_path))


def test_files_without_spans_are_no_error(tmp_path):
    for number, content in enumerate((b"[]", b"{}", b'{"data":[]}', b'{"resourceLogs":[]}\n', b"\x00\x00\x00\x00")):
        assert list(read_file(_write(tmp_path, f"{number}.json", content))) == []


def test_metrics_and_logs_between_the_traces_are_passed_over(tmp_path):
    text = b'{"resourceMetrics":[{}]}\n' + (GOLDEN / "otlp.jsonl").read_bytes()
    assert _facts(_write(tmp_path, "a.jsonl", text)) == EXPECTED


def test_one_line_over_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(_json_files, "LIMIT", 1000)
    line = b'{"resourceSpans":[]}\n'
    with pytest.raises(InputError, match=r"a\.jsonl:2: a line of more than"):
        list(read_file(_write(tmp_path, "a.jsonl", line + b" " * 2000 + line)))


def test_one_element_over_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(_json_files, "LIMIT", 1 << 20)
    content = b"[\n" + orjson.dumps({**SPAN, "name": "x" * (3 << 20)}) + b"]"
    with pytest.raises(InputError, match=r"a\.json:2: one value of more than 1 MiB"):
        list(read_file(_write(tmp_path, "a.json", content)))


@pytest.mark.parametrize("compress", [zlib.compress, zstandard.compress], ids=["gz", "zst"])
def test_a_bomb_takes_no_memory(compress, tmp_path, monkeypatch):
    monkeypatch.setattr(_json_files, "LIMIT", 1 << 20)
    bomb = b'{"resourceSpans":[]}\n' + b" " * (64 << 20)
    path = _write(tmp_path, "bomb.jsonl", gzip.compress(bomb, 1) if compress is zlib.compress else compress(bomb))
    with _memory_peak() as peak, pytest.raises(InputError, match="a line of more than"):
        list(read_file(path))
    assert peak[0] < 32 << 20


def test_a_bomb_in_a_message(tmp_path, monkeypatch):
    monkeypatch.setattr(_binary_files, "LIMIT", 1 << 20)
    message = zstandard.compress(bytes(64 << 20))
    path = _write(tmp_path, "bomb.pb", struct.pack(">I", len(message)) + message)
    with pytest.raises(InputError, match=r"bomb\.pb:byte 0: a message of more than 1 MiB after decompression"):
        list(read_file(path))


@pytest.mark.parametrize("shape", ["zipkin", "jaeger", "otlp"])
def test_a_big_document_is_read_in_pieces(shape, tmp_path):
    pad = "x" * 2000
    if shape == "zipkin":
        items, start, end = [{**SPAN, "name": pad}] * 10_000, b"[", b"]"
    elif shape == "jaeger":
        span = {"traceID": "1", "spanID": "1", "startTime": 1, "operationName": pad}
        items, start, end = (
            [{"traceID": "1", "spans": [span], "processes": {}}] * 10_000,
            b'{"data": [',
            b'],"total":0}',
        )
    else:
        item = {"scopeSpans": [{"spans": [{"name": pad}]}]}
        items, start, end = [item] * 10_000, b'{"resourceSpans": [', b"]}"
    path = _write(tmp_path, "big.json", start + b",".join(map(orjson.dumps, items)) + end)
    with _memory_peak() as peak:
        assert _count(path) == 10_000
    assert peak[0] < 24 << 20


def test_zipkin_files_keep_their_origin(tmp_path):
    path = _write(tmp_path, "a.json", b"\n".join(orjson.dumps({**SPAN, "n": number}) for number in range(1200)))
    batches = [batch for _, batch in read_file(path)]
    assert [len(batch) for batch in batches] == [500, 500, 200]
    assert all(isinstance(span, TranslatedSpan) for batch in batches for _, span in batch)


def test_expand(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("b/2.jsonl", "b/1.pb.gz", "b/c/3.json.zst", "b/notes.txt", "b/.hidden.jsonl", "b/broken.jsonl", "odd"):
        _write(tmp_path, name, b'{"resourceSpans":[]}')
    _write(tmp_path, "b/faults.json", b'{"faults":[]}')
    _write(tmp_path, "b/broken.jsonl", b"")

    def names(*paths):
        return [str(path.relative_to(tmp_path)) for path in expand([str(tmp_path / path) for path in paths])]

    inside = ["b/1.pb.gz", "b/2.jsonl", "b/broken.jsonl", "b/c/3.json.zst"]
    assert names("b") == inside
    assert names("odd", "b", "b/2.jsonl") == ["odd", *inside]
    assert names("b/*.jsonl") == ["b/2.jsonl", "b/broken.jsonl"]
    assert names("*") == [*inside, "odd"]
    assert names("**/3*") == ["b/c/3.json.zst"]
    assert names("b/faults.json") == ["b/faults.json"]
    with pytest.raises(InputError, match="nope: no such file or folder"):
        names("nope")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no trace file"):
        names("empty")


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize("form", [".jsonl", ".pb"])
def test_written_files_read_back(form, compression, tmp_path):
    path = tmp_path / f"a{form}{compression}"
    with TraceFileWriter(path) as writer:
        for _, batch in read_file(GOLDEN / "otlp.jsonl"):
            writer.write(batch)
            writer.write(type(batch)())
        assert not path.exists()
    assert _facts(path) == EXPECTED
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if form == ".pb" and not compression:
        assert path.read_bytes() == (GOLDEN / "otlp_framed.pb").read_bytes()


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), TraceFileWriter(tmp_path / "a.jsonl.gz"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    for name in ("a.txt", "a.json", "a"):
        with pytest.raises(InputError, match=r"unknown format; name it \*.jsonl or \*.pb"):
            TraceFileWriter(tmp_path / name)
    with pytest.raises(InputError, match="cannot be written: No such file"):
        TraceFileWriter(tmp_path / "nope" / "a.pb")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(tmp_path):
    (tmp_path / "a.jsonl.part").symlink_to("/dev/full")
    writer = TraceFileWriter(tmp_path / "a.jsonl")
    _, batch = next(read_file(GOLDEN / "otlp.jsonl"))
    writer.write(batch)  # into a buffer
    with pytest.raises(InputError, match=r"a\.jsonl: cannot be written: No space left"):
        writer.close()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('ab"\\{}[],: é\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\{}[]', max_size=4), inner, max_size=3),
    max_leaves=8,
)
json_containers = st.lists(json_values, max_size=3) | st.dictionaries(
    st.text("ab", max_size=2), json_values, max_size=3
)


def _scan(content, step):
    position = 0

    def read(_size):
        nonlocal position
        chunk = content[position : position + step]
        position += len(chunk)
        return chunk

    return list(ElementScanner(read, frozenset({"data"}), 1 << 20))


@given(st.lists(json_containers, max_size=4), st.lists(json_containers, max_size=3), st.integers(1, 9), st.booleans())
def test_scanner_cuts_what_a_parser_would(items, more, step, pretty):
    option = orjson.OPT_INDENT_2 if pretty else 0
    rest = [value for value in more if type(value) is dict]
    document = {"x": {"data": [1]}, "data": items, "y": ["data"]}
    content = b" \n".join(orjson.dumps(value, option=option) for value in (items, document, *rest))
    found = _scan(content, step)
    assert [orjson.loads(element.raw) for element in found] == [*items, *items, *rest]
    assert [element.container for element in found] == [""] * len(items) + ["data"] * len(items) + [None] * len(rest)
    for element in found:
        assert element.raw.splitlines()[0] in content.split(b"\n")[element.line - 1]


@given(st.binary(max_size=30) | st.text('{}[]",:\\ a1', max_size=30).map(str.encode), st.integers(1, 9))
def test_scanner_takes_any_bytes(content, step):
    try:
        first = _scan(content, step)
    except ScanError as error:
        with pytest.raises(ScanError, match=str(error)):
            _scan(content, 1000)
    else:
        assert first == _scan(content, 1000)


@pytest.mark.data
def test_real_traces_are_found_and_read(trace_data):
    files = expand([str(trace_data)])
    assert all(file.name.endswith(".jsonl.gz") for file in files)
    assert _count(files[0]) > 1000
