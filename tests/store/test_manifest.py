from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.errors import CorruptError
from tzrec_build.store.manifest import Manifest, Output, check_paths, key_digits, manifest_bytes, parse_manifest

KEY = "sha256:" + "0f" * 32
DIGEST = "ab" * 32

outputs = st.builds(
    Output,
    path=st.from_regex(r"[a-zé][a-z0-9 ]{0,3}(/[a-z]{1,2}x){0,2}", fullmatch=True),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    size=st.integers(0, 2**60),
    mode=st.sampled_from([0o644, 0o755]),
)


def manifest(*paths: str) -> Manifest:
    return Manifest(KEY, tuple(Output(path, DIGEST, 3, 0o644) for path in paths), {"host": "a"})


@given(entries=st.lists(outputs, max_size=4, unique_by=lambda output: output.path.split("/")[0]))
def test_manifest_comes_back_equal(entries: list[Output]) -> None:
    written = Manifest(KEY, tuple(sorted(entries, key=lambda output: output.path)), {"host": "é", "elapsed_s": 1.5})
    assert parse_manifest(manifest_bytes(written), KEY) == written


def test_bytes_do_not_depend_on_the_order_of_provenance() -> None:
    one = Manifest(KEY, (), {"a": 1, "b": 2})
    two = Manifest(KEY, (), {"b": 2, "a": 1})
    assert manifest_bytes(one) == manifest_bytes(two)


def test_every_truncation_is_noticed() -> None:
    data = manifest_bytes(manifest("a"))
    for length in range(len(data) - 1):  # the last byte is the newline
        with pytest.raises(CorruptError, match=r"^manifest is damaged: "):
            parse_manifest(data[:length], KEY)


def test_every_flipped_byte_is_noticed_or_means_the_same() -> None:
    data = manifest_bytes(manifest("a"))
    for place in range(len(data)):
        bad = bytearray(data)
        bad[place] ^= 1
        try:
            got = parse_manifest(bytes(bad), KEY)
        except CorruptError:
            continue
        assert got == manifest("a")  # white space


@pytest.mark.parametrize("text", ["[]", "null", "7", "{}", '{"digest": 1}', '{"digest": "x", "outputs": 3, "key": 1}'])
def test_json_of_another_form_is_damaged(text: str) -> None:
    with pytest.raises(CorruptError, match=r"^manifest is damaged: "):
        parse_manifest(text.encode(), KEY)


def test_newer_format_is_not_read() -> None:
    body = json.loads(manifest_bytes(manifest("a")))
    body["format"] = 2
    with pytest.raises(CorruptError, match="manifest is damaged: its digest does not fit"):
        parse_manifest(json.dumps(body).encode(), KEY)


def test_manifest_of_another_key_is_refused() -> None:
    other = "sha256:" + "1f" * 32
    with pytest.raises(CorruptError) as caught:
        parse_manifest(manifest_bytes(manifest("a")), other)
    assert str(caught.value) == f"manifest belongs to another key: expected {other}, got {KEY}"


@pytest.mark.parametrize("path", ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\0b", "a\\b"])
def test_path_that_could_leave_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_paths([path])
    assert str(caught.value) == f"output path: must be relative and without '..', got {path!r}"
    with pytest.raises(CorruptError, match="must be relative and without"):
        parse_manifest(manifest_bytes(manifest(path)), KEY)


def test_path_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="output path: must come once, got 'a' twice"):
        check_paths(["a", "a"])


def test_path_below_another_output_is_refused() -> None:
    with pytest.raises(ValueError, match="output path: must not be below another output, got 'a/b/c'"):
        check_paths(["a", "a/b/c"])


@pytest.mark.parametrize(
    "output",
    [
        Output("a", DIGEST.upper(), 3, 0o644),
        Output("a", DIGEST[:-1], 3, 0o644),
        Output("a", DIGEST, -1, 0o644),
        Output("a", DIGEST, 3, 0o4755),
        Output("a", DIGEST, "3", 0o644),
    ],
    ids=["upper", "short", "negative", "setuid", "text"],
)
def test_entry_with_impossible_values_is_damaged(output: Output) -> None:
    with pytest.raises(CorruptError, match=r"^manifest is damaged: "):
        parse_manifest(manifest_bytes(Manifest(KEY, (output,), {})), KEY)


def test_differences_look_at_content_and_exec_bit_only() -> None:
    first = Manifest(KEY, (Output("a", DIGEST, 3, 0o644), Output("b", DIGEST, 3, 0o644)), {"host": "a"})
    same = Manifest(KEY, first.outputs, {"host": "b"})
    other = Manifest(KEY, (Output("a", DIGEST, 3, 0o755), Output("b", "cd" * 32, 3, 0o644)), {})
    assert first.differences(same) == []
    assert first.differences(other) == ["a", "b"]


@pytest.mark.parametrize(
    "key", ["", "sha256:", "sha256:" + "0" * 63, "sha256:" + "G" * 64, "../../etc", "md5:" + "0" * 64]
)
def test_key_of_another_form_is_a_bug(key: str) -> None:
    with pytest.raises(ValueError, match=r"^bug: action key must be 'sha256:' and 64 hexadecimal digits, got "):
        key_digits(key)
