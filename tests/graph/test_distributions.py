"""Versions and modules of installed packages."""

from __future__ import annotations

import pytest

from tzrec_build.graph.distributions import Distributions
from tzrec_build.graph.state import State

RECORDS = {
    "torch-2.13.0+cpu": "torch/__init__.py,sha256=x,1\ntorchgen/a.py,,\n../../bin/run.py,,\n",
    "faiss_cpu-1.15.1": "faiss/__init__.py,,\nfaiss_cpu-1.15.1.dist-info/x.py,,\n",
    "PyYAML-6.0": "yaml/__init__.py,,\n_yaml/__init__.py,,\n",
    "protobuf-7.35": "google/protobuf/__init__.py,,\ngoogle/_upb/_message.abi3.so,,\n",
    "googleapis_common-1": "google/api/a.py,,\n",
    "six-1.16": "six.py,,\n_six.cpython-312-x86_64-linux-gnu.so,,\nlicense.txt,,\n",
    "broken-1": None,
}


@pytest.fixture
def site(tmp_path):
    for name, record in RECORDS.items():
        folder = tmp_path / "site" / f"{name}.dist-info"
        folder.mkdir(parents=True)
        if record is not None:
            (folder / "RECORD").write_text(record)
    return tmp_path


def distributions(site):
    return Distributions(State(str(site / "state")), str(site / "site"))


def test_versions_keep_their_local_tag_and_twins_are_one_name(site):
    versions = distributions(site).versions()
    assert versions["torch"] == "2.13.0+cpu"
    assert versions["faiss"] == "1.15.1"
    assert versions["googleapis-common"] == "1"


@pytest.mark.parametrize(
    ("modules", "names"),
    [
        ({"yaml"}, ("pyyaml",)),
        ({"torchgen", "faiss"}, ("faiss", "torch")),
        ({"google"}, ("googleapis-common", "protobuf")),
        ({"six"}, ("six",)),
        ({"_six"}, ("six",)),
        ({"nobody", "license", "", ".."}, ()),
    ],
)
def test_the_packages_that_give_a_module(site, modules, names):
    assert distributions(site).providers(modules) == names


def test_another_package_is_seen_by_the_next_process(site):
    assert distributions(site).providers({"new"}) == ()
    (site / "site/new-1.dist-info").mkdir()
    (site / "site/new-1.dist-info/RECORD").write_text("new/__init__.py,,\n")
    assert distributions(site).providers({"new"}) == ("new",)
