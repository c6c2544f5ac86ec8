"""Checkpoints of TorchEasyRec read without unpickling; damaged and hostile ones refused."""

from __future__ import annotations

import os
import pickle
import shutil

import pytest
import torch

from tests.peer_cases import peer_case, state_names
from tzrec_build.errors import DataError
from tzrec_build.training.checkpoint_reader import Chunk, TensorEntry, load_entries, read_entry, read_tensors

CASES = ("deepfm", "fp16_emb", "multi_tower_din", "deepfm_rowwise_adagrad")


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(peer_case("deepfm") / "model.ckpt-7" / "model", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_names_shapes_and_types_are_those_of_the_reference(case):
    entries = load_entries(peer_case(case) / "model.ckpt-7" / "model")
    names = state_names(case)["checkpoint_keys"]["model"]
    assert {name: [list(entry.shape), str(entry.dtype)] for name, entry in entries.items()} == {
        name: row[:2] for name, row in names.items()
    }


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("part", ["model", "optimizer"])
def test_values_equal_those_that_torch_loads(part):
    from torch.distributed.checkpoint import FileSystemReader, load

    folder = peer_case("deepfm") / "model.ckpt-7" / part
    ours = read_tensors(folder)
    theirs = {name: torch.empty_like(value) for name, value in ours.items()}
    load(theirs, storage_reader=FileSystemReader(folder), no_dist=True)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_only_the_names_asked_for_are_read():
    name = "model.output_mlp.bias"
    found = read_tensors(peer_case("deepfm") / "model.ckpt-7" / "model", [name])
    assert list(found) == [name]
    assert found[name].shape == (1,)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(
        DataError, match=r"holds no tensor 'model\.output_mlp\.bia'; did you mean 'model\.output_mlp\.bias'"
    ):
        read_tensors(peer_case("deepfm") / "model.ckpt-7" / "model", ["model.output_mlp.bia"])


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"\.metadata: absent, so this is no whole checkpoint"):
        load_entries(tmp_path)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    flag = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {flag}",)

    (tmp_path / ".metadata").write_bytes(pickle.dumps({"state_dict_metadata": Evil()}))
    with pytest.raises(DataError, match=r"it names \w+\.system, which no checkpoint metadata needs"):
        load_entries(tmp_path)
    assert not flag.exists()


@pytest.mark.parametrize(("module", "name"), [("torch", "load"), ("torch.serialization", "load"), ("builtins", "eval")])
def test_functions_of_torch_are_refused(tmp_path, module, name):
    (tmp_path / ".metadata").write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(DataError, match=f"it names {module}.{name}"):
        load_entries(tmp_path)


def test_garbage_is_no_metadata(copied):
    (copied / ".metadata").write_bytes(b"\x80\x04garbage")
    with pytest.raises(DataError, match=r"\.metadata: not checkpoint metadata .*restore the file"):
        load_entries(copied)


def test_a_tensor_outside_the_folder_is_refused(copied):
    path = copied / ".metadata"
    path.chmod(0o644)
    data = path.read_bytes().replace(b"__0_0.distcp", b"../../passwd")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"lies outside the folder, in '\.\./\.\./passwd'"):
        load_entries(copied)


def test_a_cut_file_is_named_with_its_tensor(copied):
    path = copied / "__0_0.distcp"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"__0_0\.distcp: tensor 'model\.\S+' cannot be read .*restore the checkpoint"):
        read_tensors(copied)


def _stored(folder, chunks, values, dtype=torch.float32, shape=(4, 2)):
    """An entry with one blob for each (offsets, sizes)."""
    stored, start = [], 0
    with (folder / "__0_0.distcp").open("wb") as stream:
        for (offsets, sizes), value in zip(chunks, values, strict=True):
            torch.save(value, stream)
            stored.append(Chunk(offsets, sizes, "__0_0.distcp", start, stream.tell() - start))
            start = stream.tell()
    return TensorEntry(dtype, shape, tuple(stored))


def test_chunks_in_any_order_make_the_tensor(tmp_path):
    whole = torch.arange(8.0).reshape(4, 2)
    chunks = [((1, 0), (3, 1)), ((1, 1), (3, 1)), ((0, 0), (1, 2))]
    entry = _stored(tmp_path, chunks, [whole[1:, :1].clone(), whole[1:, 1:].clone(), whole[:1].clone()])
    assert read_entry(tmp_path, "w", entry).equal(whole)


@pytest.mark.parametrize(
    ("chunks", "fault"),
    [
        ([((0, 0), (3, 2))], r"its chunks lack 2 of 8 values"),
        ([], r"its chunks lack 8 of 8 values"),
        ([((0, 0), (4, 1)), ((0, 0), (4, 1))], r"the chunk of shape \(4, 1\) at \(0, 0\) overlaps another"),
        ([((0, 0), (3, 2)), ((2, 0), (1, 2))], r"the chunk of shape \(1, 2\) at \(2, 0\) overlaps another"),
        ([((2, 0), (3, 2))], r"at \(2, 0\) reaches beyond the shape \(4, 2\)"),
        ([((0,), (4,))], r"a chunk of 1 axes in a tensor of 2"),
    ],
)
def test_chunks_that_do_not_tile_the_tensor_are_damage(tmp_path, chunks, fault):
    entry = _stored(tmp_path, chunks, [torch.ones(sizes) for _, sizes in chunks])
    with pytest.raises(DataError, match=rf"\.metadata: tensor 'w' is damaged \(.*{fault}\); restore the checkpoint"):
        read_entry(tmp_path, "w", entry)


def test_a_blob_of_another_dtype_or_shape_is_damage(tmp_path):
    for blob in (torch.ones(4, 2, dtype=torch.half), torch.ones(2, 2)):
        entry = _stored(tmp_path, [((0, 0), (4, 2))], [blob])
        message = rf"'w' cannot be read \({blob.dtype} of shape \({len(blob)}, 2\) instead of torch\.float32 of shape"
        with pytest.raises(DataError, match=message):
            read_entry(tmp_path, "w", entry)


def test_a_single_number_is_one_chunk(tmp_path):
    entry = _stored(tmp_path, [((), ())], [torch.tensor(5)], torch.int64, ())
    assert read_entry(tmp_path, "n", entry).equal(torch.tensor(5))
