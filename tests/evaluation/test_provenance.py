"""What a figure must carry so that it can be measured again."""

from datetime import UTC, datetime

from otel_tracead.evaluation.provenance import commit, provenance


def test_the_commit_is_read_loose_packed_or_detached(tmp_path) -> None:
    git = tmp_path / ".git"
    assert commit(tmp_path) is None
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert commit(tmp_path) is None
    (git / "packed-refs").write_text(
        "# pack-refs\n0123456789abcdef refs/heads/other\nfedcba9876543210 refs/heads/main\n"
    )
    assert commit(tmp_path) == "fedcba9"
    (git / "refs/heads/main").write_text("aaaaaaabbbbbbb\n")
    assert commit(tmp_path) == "aaaaaaa"
    (git / "HEAD").write_text("cccccccddddddd\n")
    assert commit(tmp_path) == "ccccccc"


def test_the_command_can_be_typed_again() -> None:
    found = dict(provenance(["evaluate", "--input", "my traces"], datetime(2026, 1, 2, tzinfo=UTC)))
    assert found["command"] == "otel-tracead evaluate --input 'my traces'"
    assert found["date"] == "2026-01-02"
    assert "cores" in found["machine"]
