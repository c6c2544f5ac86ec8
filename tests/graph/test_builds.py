"""Paths that lead into a build folder, however they are spelled."""

from __future__ import annotations

import pytest

from tzrec_build.graph.builds import Builds, shared_folders


@pytest.fixture
def place(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "workspace" / name / "build/step").mkdir(parents=True)
    (tmp_path / "workspace/a/data").mkdir()
    (tmp_path / "link").symlink_to("workspace/b")
    return tmp_path


def builds(place):
    return Builds((name, str(place / "workspace" / name)) for name in ("a", "b"))


LIES = "lies in the build folder of '{}'; write the reference '{}'"
SOME = "the build folder of '{0}'; name the files, or write references such as '{0}:ARTIFACT'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("build/step/x", LIES.format("a", "a:step/x")),
        ("./build/../build/step", LIES.format("a", "a:step")),
        ("../b/build", LIES.format("b", "b:ARTIFACT")),
        ("../../link/build/ds=1/step/x", LIES.format("b", "b:ds=1:step/x")),
        ("build/*/x", LIES.format("a", "a:ARTIFACT")),
        ("**/*.csv", "matches inside " + SOME.format("a")),
        ("*", "matches inside " + SOME.format("a")),
        ("b*", "matches inside " + SOME.format("a")),
        ("*/step/*", "matches inside " + SOME.format("a")),
        ("../?/build/step/*", "matches inside " + SOME.format("a")),
        ("../b/**", "matches inside " + SOME.format("b")),
        (".", "holds " + SOME.format("a")),
        ("..", "holds " + SOME.format("a")),
        ("/", "holds " + SOME.format("a")),
        ("*/*.csv", "matches inside " + SOME.format("a")),
        ("../../link", "holds " + SOME.format("b")),
    ],
)
def test_every_spelling_is_refused(place, text, message):
    with pytest.raises(ValueError, match="build folder") as caught:
        builds(place).check(str(place / "workspace/a"), text)
    assert str(caught.value) == f"{text!r} {message}"


def test_an_absolute_path_is_seen_through(place):
    with pytest.raises(ValueError, match="write the reference 'b:step/x'"):
        builds(place).check(str(place / "workspace/a"), str(place / "link/build/step/x"))


@pytest.mark.parametrize(
    "text", ["data", "data/*", "*.csv", "*.d/*.csv", "building/x", "../b/data/**", "../b/build.csv", "x/build/y"]
)
def test_other_paths_are_left_alone(place, text):
    builds(place).check(str(place / "workspace/a"), text)


def test_folders_that_a_link_makes_one(place):
    (place / "workspace/c").symlink_to("b")
    (place / "workspace/d").mkdir()
    (place / "workspace/d/build").symlink_to("../a/build/step")
    folders = [(name, str(place / "workspace" / name)) for name in "abcd"]
    assert shared_folders(folders) == [("a", "d"), ("b", "c")]
