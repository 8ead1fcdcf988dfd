from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.errors import ConfigError
from otel_tracead.service.uris import Sources, merge, unfold

trees = st.recursive(
    st.integers() | st.text("xy") | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abcd"), trees, max_size=4)


def load(*uris: str, overrides: tuple[str, ...] = (), variables: dict[str, str] | None = None) -> object:
    return Sources(uris, overrides, variables or {}).load(lambda _message: None)


def test_maps_merge_lists_are_replaced_later_wins() -> None:
    assert load("yaml:{a: {b: 1, c: [1, 2]}, d: 1}", "yaml:{a: {c: [3], e: 2}, d: {f: 1}}") == {
        "a": {"b": 1, "c": [3], "e": 2},
        "d": {"f": 1},
    }


def test_each_scheme(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: 1")
    assert load(f"{tmp_path}/c.yaml") == {"a": 1}
    assert load(f"file:{tmp_path}/c.yaml") == {"a": 1}
    assert load("env:CONFIG", variables={"CONFIG": "a: 1"}) == {"a": 1}
    assert load("yaml:processors::batch::timeout: 2s") == {"processors": {"batch": {"timeout": "2s"}}}


def test_set_comes_last_and_reads_yaml() -> None:
    assert load("yaml:a::b: 1", overrides=("a.b=2", "c=[x, y]", "d={e: f}", "g=h=i")) == {
        "a": {"b": 2},
        "c": ["x", "y"],
        "d": {"e": "f"},
        "g": "h=i",
    }


@pytest.mark.parametrize(
    ("uris", "overrides", "problem"),
    [
        (["nowhere.yaml"], [], "unable to read the file nowhere.yaml: No such file or directory"),
        (["ftp://x"], [], 'scheme "ftp" is not supported'),
        (["yaml:[a]"], [], "must be a map of sections"),
        (["yaml:"], [], "empty configuration file"),
        (["env:1"], [], "has invalid name"),
        (["yaml:a: 1"], ["a.b"], '--set "a.b": missing equal sign'),
        (["yaml:a: 1"], ["=b"], "missing key before"),
        (["/"], [], "Is a directory"),
    ],
)
def test_what_cannot_be_loaded(uris: list[str], overrides: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(*uris, overrides=tuple(overrides))


def test_all_broken_uris_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load("a.yaml", "b.yaml", "yaml:{", overrides=("x",))
    assert len(caught.value.problems) == 4


def test_a_binary_or_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"a: \xff")
    (tmp_path / "huge").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(f"{tmp_path}/binary")
    with pytest.raises(ConfigError, match="larger than"):
        load(f"{tmp_path}/huge")


def test_a_broken_uri_does_not_print_its_secrets() -> None:
    with pytest.raises(ConfigError) as caught:
        load("yaml:a: {token: hunter2")
    assert "hunter2" not in str(caught.value)


def test_relative_paths_start_at_the_first_file(tmp_path: Path) -> None:
    assert Sources(["yaml:a: 1", f"file:{tmp_path}/c.yaml"]).base == tmp_path
    assert Sources(["yaml:a: 1"]).base == Path.cwd()


@settings(max_examples=100, derandomize=True)
@given(mappings, mappings, mappings)
def test_merging_is_associative_and_idempotent(a: dict, b: dict, c: dict) -> None:
    assert merge(a, a) == a
    assert merge(a, {}) == a == merge({}, a)
    assert merge(merge(a, a), b) == merge(a, merge(a, b))
    if not any(
        isinstance(x.get(k), dict) != isinstance(y.get(k), dict) for x in (a, b, c) for y in (a, b, c) for k in "abcd"
    ):
        assert set(merge(merge(a, b), c)) == set(a) | set(b) | set(c)


@settings(max_examples=100, derandomize=True)
@given(mappings, mappings)
def test_what_lies_on_top_is_seen(a: dict, b: dict) -> None:
    merged = merge(a, b)
    for key, value in b.items():
        if not isinstance(value, dict):
            assert merged[key] == value


@settings(max_examples=100, derandomize=True)
@given(mappings)
def test_a_tree_without_double_colons_unfolds_to_itself(tree: dict) -> None:
    assert unfold(tree) == tree


@pytest.mark.parametrize("uri", ["http://config.example/a.yaml", "https://config.example/a.yaml"])
def test_nothing_is_fetched_from_the_network(uri: str) -> None:
    with pytest.raises(ConfigError, match="not fetched from the network: download it"):
        Sources([uri]).load(lambda _warning: None)
