from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.errors import BuildError, ConfigError, CorruptError
from tzrec_build.store import cas, transfer
from tzrec_build.store.action_cache import ActionCache
from tzrec_build.store.manifest import Manifest, Output

KEY = "sha256:" + "0f" * 32
OTHER_KEY = "sha256:" + "1f" * 32


@pytest.fixture
def cache(tmp_path: Path) -> ActionCache:
    return ActionCache(tmp_path / "cache" / "v1")


class Messages(logging.Handler):
    """Collects the warnings of the house logger, whatever other tests did to its handlers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    handler, logger = Messages(), logging.getLogger("tzrec_build")
    logger.addHandler(handler)
    yield handler.texts
    logger.removeHandler(handler)


def make_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def entry_path(cache: ActionCache, kind: str = "actions") -> Path:
    return cache.root / kind / "0f" / (("0f" * 31) + ".json")


names = st.from_regex(r"[a-zA-Z0-9_. é-]{0,6}[a-z]", fullmatch=True)


@given(files=st.dictionaries(st.tuples(names, names).map("/".join), st.binary(max_size=200), min_size=1, max_size=6))
def test_any_tree_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("tree")
    cache = ActionCache(folder / "cache")
    made = make_tree(folder / "made", files)
    manifest = cache.publish(KEY, made, list(files), {})
    assert [output.path for output in manifest.outputs] == sorted(files)
    found = cache.lookup(KEY)
    assert found == manifest
    cache.restore(found, folder / "restored")
    assert read_tree(folder / "restored") == files


def test_exec_bit_is_kept_and_the_rest_is_the_umask(cache: ActionCache, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "made", {"run.sh": b"#!/bin/sh\n", "data": b"1"})
    (made / "run.sh").chmod(0o700)
    (made / "data").chmod(0o600)
    manifest = cache.publish(KEY, made, ["run.sh", "data"], {})
    assert [(output.path, output.mode) for output in manifest.outputs] == [("data", 0o644), ("run.sh", 0o755)]
    before = os.umask(0o027)
    try:
        cache.restore(manifest, tmp_path / "restored")
    finally:
        os.umask(before)
    assert (tmp_path / "restored" / "run.sh").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "restored" / "data").stat().st_mode & 0o777 == 0o640


def test_unknown_key_is_a_silent_miss(cache: ActionCache, warnings: list[str]) -> None:
    assert cache.lookup(KEY) is None
    assert warnings == []


def test_provenance_comes_back(cache: ActionCache, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1"})
    cache.publish(KEY, made, ["a"], {"host": "worker", "threads": 2})
    assert cache.lookup(KEY).provenance == {"host": "worker", "threads": 2}


def test_empty_result_is_a_result(cache: ActionCache, tmp_path: Path) -> None:
    cache.publish(KEY, make_tree(tmp_path / "made", {"unused": b""}), [], {})
    cache.restore(cache.lookup(KEY), tmp_path / "restored")
    assert list((tmp_path / "restored").iterdir()) == []


@pytest.mark.parametrize("keep", [0, 1, 40, -2])
def test_truncated_entry_is_a_miss_with_one_warning(
    cache: ActionCache, tmp_path: Path, warnings: list[str], keep: int
) -> None:
    cache.publish(KEY, make_tree(tmp_path / "made", {"a": b"1"}), ["a"], {})
    path = entry_path(cache)
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.lookup(KEY) is None
    assert cache.lookup(KEY) is None
    (text,) = warnings
    assert text.startswith(f"action cache: entry of {KEY} is not used, manifest is damaged: ")
    assert text.endswith("; it is built again")


def test_missing_object_is_a_miss_with_one_warning(cache: ActionCache, tmp_path: Path, warnings: list[str]) -> None:
    manifest = cache.publish(KEY, make_tree(tmp_path / "made", {"a": b"1", "b": b"2"}), ["a", "b"], {})
    cas.ObjectStore(cache.root).path_of(manifest.outputs[1].sha256).unlink()
    assert cache.lookup(KEY) is None
    assert cache.lookup(KEY) is None
    assert warnings == [f"action cache: entry of {KEY} is not used, the object of 'b' is gone; it is built again"]


def test_object_of_wrong_size_is_a_miss(cache: ActionCache, tmp_path: Path, warnings: list[str]) -> None:
    manifest = cache.publish(KEY, make_tree(tmp_path / "made", {"a": b"123"}), ["a"], {})
    path = cas.ObjectStore(cache.root).path_of(manifest.outputs[0].sha256)
    path.chmod(0o644)
    path.write_bytes(b"12")
    assert cache.lookup(KEY) is None
    assert len(warnings) == 1


def test_flipped_byte_is_refused_and_healed_by_the_next_publish(cache: ActionCache, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "made", {"a": b"good", "z/deep": b"123"})
    manifest = cache.publish(KEY, made, ["a", "z/deep"], {})
    path = cas.ObjectStore(cache.root).path_of(manifest.outputs[1].sha256)
    path.chmod(0o644)
    path.write_bytes(b"124")
    found = cache.lookup(KEY)  # the size fits; the bytes are read only when they are wanted
    with pytest.raises(CorruptError, match="object is damaged"):
        cache.restore(found, tmp_path / "restored")
    assert list((tmp_path / "restored").iterdir()) == []
    assert cache.lookup(KEY) is None
    cache.publish(KEY, made, ["a", "z/deep"], {})
    cache.restore(cache.lookup(KEY), tmp_path / "restored")
    assert read_tree(tmp_path / "restored") == {"a": b"good", "z/deep": b"123"}


def test_other_bits_for_a_key_are_reported_and_the_first_stay(
    cache: ActionCache, tmp_path: Path, warnings: list[str]
) -> None:
    first = cache.publish(KEY, make_tree(tmp_path / "one", {"a": b"1", "b": b"same"}), ["a", "b"], {"run": 1})
    second = cache.publish(KEY, make_tree(tmp_path / "two", {"a": b"2", "b": b"same"}), ["a", "b"], {"run": 2})
    assert second.differences(first) == ["a"]
    assert cache.lookup(KEY) == first
    report = entry_path(cache, "unreproducible")
    assert warnings == [
        f"action cache: not reproducible: {KEY} gave other bits in 1 of 2 outputs ('a'); the first result stays, see {report}"
    ]
    both = json.loads(report.read_text())
    assert (both["first"]["provenance"], both["second"]["provenance"]) == ({"run": 1}, {"run": 2})


def test_same_bits_for_a_key_say_nothing(cache: ActionCache, tmp_path: Path, warnings: list[str]) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1"})
    cache.publish(KEY, made, ["a"], {"run": 1})
    cache.publish(KEY, made, ["a"], {"run": 2})
    assert warnings == []
    assert cache.lookup(KEY).provenance == {"run": 1}


def test_other_bits_replace_an_entry_that_cannot_be_restored(cache: ActionCache, tmp_path: Path) -> None:
    first = cache.publish(KEY, make_tree(tmp_path / "one", {"a": b"1"}), ["a"], {})
    cas.ObjectStore(cache.root).path_of(first.outputs[0].sha256).unlink()
    second = cache.publish(KEY, make_tree(tmp_path / "two", {"a": b"2"}), ["a"], {})
    assert cache.lookup(KEY) == second


def test_damaged_entry_is_replaced(cache: ActionCache, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1"})
    manifest = cache.publish(KEY, made, ["a"], {})
    entry_path(cache).write_text("{")
    cache.publish(KEY, made, ["a"], {})
    assert cache.lookup(KEY) == manifest


def test_full_disk_is_a_warning_and_nothing_is_hashed_again(
    cache: ActionCache, tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1"})

    def refuse(_fd: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_clone", lambda _reader, _writer: False)
    monkeypatch.setattr(transfer.os, "write", refuse)
    assert cache.publish(KEY, made, ["a"], {}) is None
    assert warnings == [
        f"action cache: outputs of {KEY} are not kept, [Errno 28] No space left on device; the build goes on"
    ]
    monkeypatch.undo()
    assert cache.lookup(KEY) is None


def test_full_disk_at_the_entry_leaves_a_miss(
    cache: ActionCache, tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1"})

    def refuse(_self: object, _target: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cas.ObjectStore, "write_whole", refuse)
    cache.publish(KEY, made, ["a"], {})
    assert len(warnings) == 1
    monkeypatch.undo()
    assert cache.lookup(KEY) is None
    cache.publish(KEY, made, ["a"], {})
    assert cache.lookup(KEY) is not None


def test_cache_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ActionCache(tmp_path / "file" / "v1")
    assert cache.lookup(KEY) is None
    cache.publish(KEY, make_tree(tmp_path / "made", {"a": b"1"}), ["a"], {})
    assert len(warnings) == 1  # one a key, whatever was asked


def test_restore_needs_a_folder_without_files(cache: ActionCache, tmp_path: Path) -> None:
    manifest = cache.publish(KEY, make_tree(tmp_path / "made", {"a": b"1"}), ["a"], {})
    folder = make_tree(tmp_path / "full", {"precious": b"1"})
    with pytest.raises(RuntimeError) as caught:
        cache.restore(manifest, folder)
    assert str(caught.value) == f"bug: {folder}: a restore needs a folder without files"
    assert read_tree(folder) == {"precious": b"1"}
    link = tmp_path / "link"
    (tmp_path / "empty").mkdir()
    link.symlink_to(tmp_path / "empty")
    with pytest.raises(RuntimeError, match="a restore needs a folder without files"):
        cache.restore(manifest, link)


def test_manifest_that_leads_outside_is_never_written(cache: ActionCache, tmp_path: Path) -> None:
    manifest = cache.publish(KEY, make_tree(tmp_path / "made", {"a": b"1"}), ["a"], {})
    (output,) = manifest.outputs
    evil = Manifest(KEY, (Output("../escaped", output.sha256, output.size, output.mode),), {})
    with pytest.raises(CorruptError, match=r"must be relative and without '\.\.', got '\.\./escaped'"):
        cache.restore(evil, tmp_path / "restored")
    assert not (tmp_path / "escaped").exists()


def test_output_that_is_missing_or_a_folder_is_an_error(cache: ActionCache, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "made", {"d/a": b"1"})
    with pytest.raises(BuildError) as caught:
        cache.publish(KEY, made, ["b"], {})
    assert (
        str(caught.value)
        == f"{made}/b: an output must be a regular file, got nothing; write the data itself into a file"
    )
    with pytest.raises(BuildError, match="an output must be a regular file, got a folder"):
        cache.publish(KEY, made, ["d"], {})
    with pytest.raises(BuildError, match="output path: must be relative"):
        cache.publish(KEY, made, ["../made/d/a"], {})
    assert cache.lookup(KEY) is None


def test_output_that_is_a_pipe_is_an_error_and_not_waited_for(cache: ActionCache, tmp_path: Path) -> None:
    os.mkfifo(make_tree(tmp_path / "made", {"a": b"1"}) / "pipe")
    with pytest.raises(BuildError, match="an output must be a regular file, got a pipe, socket or device; write"):
        cache.publish(KEY, tmp_path / "made", ["a", "pipe"], {})
    assert cache.lookup(KEY) is None


def test_output_that_cannot_be_read_is_an_error(
    cache: ActionCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1"})
    (made / "a").chmod(0o200)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may read anything
    with pytest.raises(BuildError, match="a: an output must be readable, got mode 200"):
        cache.publish(KEY, made, ["a"], {})


@pytest.mark.parametrize("name", ["link", "folder/secret"])
def test_output_behind_a_link_is_an_error(cache: ActionCache, tmp_path: Path, name: str) -> None:
    outside = make_tree(tmp_path / "outside", {"secret": b"1"})
    made = make_tree(tmp_path / "made", {"a": b"1"})
    (made / "link").symlink_to(outside / "secret")
    (made / "folder").symlink_to(outside)
    with pytest.raises(BuildError, match="an output must not be or lie behind a symbolic link, got one at"):
        cache.publish(KEY, made, [name], {})


def test_key_of_another_form_is_a_bug(cache: ActionCache, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bug: action key must be"):
        cache.lookup("../../etc/passwd")
    with pytest.raises(ValueError, match="bug: action key must be"):
        cache.publish("short", tmp_path, [], {})


PUBLISHER = """
import sys
from pathlib import Path
from tzrec_build.store.action_cache import ActionCache
cache, made, mine = ActionCache(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
sys.stdin.readline()
for number in range(20):
    cache.publish(f"sha256:{number:064x}", made, ["own", "shared"], {"who": mine})
"""


def test_two_processes_publish_the_same_keys_at_once(cache: ActionCache, tmp_path: Path) -> None:
    made = {who: make_tree(tmp_path / who, {"own": who.encode(), "shared": b"s" * 5000}) for who in ("a", "b")}
    base = [sys.executable, "-c", PUBLISHER, str(cache.root)]
    writers = [
        subprocess.Popen([*base, str(folder), who], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for who, folder in made.items()
    ]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.close()
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    for number in range(20):
        key = f"sha256:{number:064x}"
        manifest = cache.lookup(key)
        who = manifest.provenance["who"]
        cache.restore(manifest, tmp_path / f"restored{number}")
        assert read_tree(tmp_path / f"restored{number}") == {"own": who.encode(), "shared": b"s" * 5000}
        assert (cache.root / "unreproducible" / "00" / f"{number:062x}.json").exists()


def test_killed_publish_leaves_a_miss_and_no_harm(cache: ActionCache, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1", "b": b"2"})
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom tzrec_build.store import cas\n"
        "from tzrec_build.store.action_cache import ActionCache\n"
        "keep = cas.ObjectStore.put\n"
        "def put(self, source):\n    if source.name == 'b': os.kill(os.getpid(), 9)\n    return keep(self, source)\n"
        "cas.ObjectStore.put = put\n"
        f"ActionCache(Path({str(cache.root)!r})).publish({KEY!r}, Path({str(made)!r}), ['a', 'b'], {{}})\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert cache.lookup(KEY) is None
    cache.publish(KEY, made, ["a", "b"], {})
    cache.restore(cache.lookup(KEY), tmp_path / "restored")
    assert read_tree(tmp_path / "restored") == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize(
    ("env", "root"),
    [
        ({"HOME": "/h"}, "/h/.cache/tzrec-build/v1"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/tzrec-build/v1"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/tzrec-build/v1"),
        ({"HOME": "/h", "TZREC_CACHE_DIR": "/c"}, "/c/v1"),
        ({"HOME": "/h", "TZREC_CACHE_DIR": "~/c"}, "/h/c/v1"),
        ({"HOME": "/h", "TZREC_CACHE_DIR": "", "TZREC_CACHE": "on"}, "/h/.cache/tzrec-build/v1"),
    ],
)
def test_place_of_the_cache(env: dict[str, str], root: str) -> None:
    assert str(ActionCache.open(env).root) == root


def test_cache_can_be_switched_off() -> None:
    assert ActionCache.open({"HOME": "/h", "TZREC_CACHE": "off"}) is None


def test_values_that_mean_nothing_are_errors() -> None:
    with pytest.raises(ConfigError) as caught:
        ActionCache.open({"TZREC_CACHE": "no"})
    assert str(caught.value) == "TZREC_CACHE: must be 'on' or 'off', got 'no'"
    with pytest.raises(ConfigError) as caught:
        ActionCache.open({"TZREC_CACHE_DIR": "cache"})
    assert str(caught.value) == "TZREC_CACHE_DIR: must be an absolute path, got 'cache'"


def test_opening_touches_no_disk(tmp_path: Path) -> None:
    ActionCache.open({"HOME": str(tmp_path)}).lookup(OTHER_KEY)
    assert list(tmp_path.iterdir()) == []


def test_hard_links_are_made_on_request_and_for_immutable_outputs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ActionCache(tmp_path / "cache", "hard")
    monkeypatch.setattr(cas.os, "geteuid", lambda: 1000)
    manifest = cache.publish(KEY, make_tree(tmp_path / "made", {"a": b"1"}), ["a"], {})
    cache.restore(manifest, tmp_path / "mutable")
    assert (tmp_path / "mutable" / "a").stat().st_nlink == 1
    cache.restore(manifest, tmp_path / "immutable", immutable=True)
    assert (tmp_path / "immutable" / "a").stat().st_nlink == 2
    plain = ActionCache(tmp_path / "cache")
    plain.restore(manifest, tmp_path / "plain", immutable=True)
    assert (tmp_path / "plain" / "a").stat().st_nlink == 1


def test_output_with_a_known_digest_is_not_read_when_the_cache_has_it(
    cache: ActionCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1", "b": b"2"})
    first = cache.publish(KEY, made, ["a", "b"], {})
    known = {output.path: output.sha256 for output in first.outputs}
    put = []
    monkeypatch.setattr(cas.ObjectStore, "put", lambda _self, source: put.append(source))
    second = cache.publish(OTHER_KEY, made, ["a", "b"], {}, digests=known)
    assert put == []
    assert second.outputs == first.outputs


def test_a_wrong_digest_of_the_caller_names_nothing(cache: ActionCache, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "made", {"a": b"1"})
    manifest = cache.publish(KEY, made, ["a"], {}, digests={"a": "0" * 64})
    # SHA-256 of the one byte 0x31
    assert manifest.outputs[0].sha256 == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    cache.restore(cache.lookup(KEY), tmp_path / "restored")


def test_switch_file_turns_the_cache_off_and_the_environment_goes_before_it(tmp_path: Path) -> None:
    switch = tmp_path / "cache.off"
    env = {"HOME": "/h"}
    assert ActionCache.open(env, str(switch)) is not None
    switch.write_text("")
    assert ActionCache.open(env, str(switch)) is None
    assert ActionCache.open({**env, "TZREC_CACHE": "on"}, str(switch)) is not None


def test_link_mode_that_means_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        ActionCache.open({"HOME": "/h", "TZREC_CACHE_LINK": "soft"})
    assert str(caught.value) == "TZREC_CACHE_LINK: must be one of auto, copy, hard, got 'soft'"


def test_restore_into_folders_that_the_outputs_will_lie_in(cache: ActionCache, tmp_path: Path) -> None:
    manifest = cache.publish(KEY, make_tree(tmp_path / "made", {"sub/deep/a": b"1"}), ["sub/deep/a"], {})
    (tmp_path / "out" / "sub").mkdir(parents=True)
    cache.restore(manifest, tmp_path / "out")
    assert read_tree(tmp_path / "out") == {"sub/deep/a": b"1"}
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "sub").symlink_to(tmp_path / "made")
    with pytest.raises(RuntimeError, match="a restore needs a folder without files"):
        cache.restore(manifest, tmp_path / "linked")
