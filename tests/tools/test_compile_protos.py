import pytest

from tzrec_build.errors import ConfigError
from tzrec_build.tools.compile_protos import Spec, compile_protos, main

A = 'syntax = "proto2"; package t; message A { optional int32 x = 1; }'
B = 'syntax = "proto2"; package t; import "tzrec_build/protos/s/a.proto"; message B { optional A a = 1; }'


@pytest.fixture
def spec(tmp_path):
    source = tmp_path / "protos" / "s" / "deep"
    source.mkdir(parents=True)
    (source.parent / "a.proto").write_text(A)
    (source / "b.proto").write_text(B)
    return Spec(tmp_path / "protos", tmp_path / "out")


def made(spec):
    return sorted(str(path.relative_to(spec.output_dir)) for path in spec.output_dir.rglob("*") if path.is_file())


ALL = [
    "__init__.py",
    "s/__init__.py",
    "s/a_pb2.py",
    "s/a_pb2.pyi",
    "s/deep/__init__.py",
    "s/deep/b_pb2.py",
    "s/deep/b_pb2.pyi",
]


def test_modules_stubs_and_empty_packages_are_made_and_a_second_run_changes_nothing(spec):
    assert compile_protos(spec) == ALL
    assert made(spec) == ALL
    assert all((spec.output_dir / name).read_bytes() == b"" for name in ALL if name.endswith("__init__.py"))
    assert compile_protos(spec) == []


def test_modules_of_removed_protos_go_with_their_folders_and_byte_code(spec):
    compile_protos(spec)
    cache = spec.output_dir / "s" / "deep" / "__pycache__"
    cache.mkdir()
    (cache / "b_pb2.cpython-311.pyc").write_bytes(b"")
    (spec.source_dir / "s" / "deep" / "b.proto").unlink()
    assert compile_protos(spec) == ["s/deep/__init__.py", "s/deep/b_pb2.py", "s/deep/b_pb2.pyi"]
    assert made(spec) == ALL[:4]
    assert not (spec.output_dir / "s" / "deep").exists()


def test_only_changed_modules_are_replaced_and_a_damaged_one_is_repaired(spec):
    compile_protos(spec)
    (spec.source_dir / "s" / "a.proto").write_text(A.replace("x = 1", "y = 1"))
    (spec.output_dir / "s" / "deep" / "b_pb2.py").write_text("half")
    assert compile_protos(spec) == ["s/a_pb2.py", "s/a_pb2.pyi", "s/deep/b_pb2.py"]


def test_a_broken_source_leaves_the_old_modules_and_shows_protocs_message(spec):
    compile_protos(spec)
    before = {name: (spec.output_dir / name).read_bytes() for name in made(spec)}
    (spec.source_dir / "s" / "a.proto").write_text(A + "message {")
    with pytest.raises(ConfigError, match=r"(?s)protoc refuses a source:.*s/a\.proto:1:\d+: Expected message name"):
        compile_protos(spec)
    assert {name: (spec.output_dir / name).read_bytes() for name in made(spec)} == before


def test_a_folder_without_protos_is_refused(tmp_path, capsys):
    assert main(["--source_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 2
    assert "--source_dir: must hold .proto files" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_generated_modules_of_this_checkout_are_current(repo_root, tmp_path):
    """The importable modules are what the sources say; if not, run the tool."""
    fresh = Spec(repo_root / "protos", tmp_path / "out")
    compile_protos(fresh)
    for name in made(fresh):
        assert (repo_root / "tzrec_build" / "protos" / name).read_bytes() == (fresh.output_dir / name).read_bytes(), (
            name
        )
