"""Where state lies: beside the workspace, or in the user's state folder."""

from __future__ import annotations

import os

from tzrec_build.graph import state_folder


def mounts(tmp_path, monkeypatch, kind: str) -> None:
    dev = os.stat(tmp_path).st_dev
    table = tmp_path / "mountinfo"
    table.write_text(
        f"20 1 254:99 / / rw,relatime - ext4 /dev/vda rw\n"
        f"30 20 {os.major(dev)}:{os.minor(dev)} / {tmp_path} rw shared:1 - {kind} server:/x rw\n"
    )
    monkeypatch.setattr(state_folder, "_MOUNTS", str(table))


def test_a_local_disk_keeps_the_state_beside_the_workspace(tmp_path, monkeypatch):
    mounts(tmp_path, monkeypatch, "xfs")
    assert state_folder.state_folder(str(tmp_path)) == str(tmp_path / "workspace/.state")


def test_a_network_file_system_moves_it_to_the_users_state_folder_by_checkout(tmp_path, monkeypatch):
    mounts(tmp_path, monkeypatch, "nfs4")
    monkeypatch.setenv("XDG_STATE_HOME", "/local/state")
    one, other = state_folder.state_folder(str(tmp_path / "a")), state_folder.state_folder(str(tmp_path / "b"))
    assert one.startswith("/local/state/tzrec-build/")
    assert one != other
    monkeypatch.setenv("XDG_STATE_HOME", "relative, so ignored")
    monkeypatch.setenv("HOME", "/home/me")
    assert state_folder.state_folder(str(tmp_path / "a")).startswith("/home/me/.local/state/tzrec-build/")


def test_a_file_system_that_is_not_listed_counts_as_local(tmp_path, monkeypatch):
    monkeypatch.setattr(state_folder, "_MOUNTS", str(tmp_path / "none"))
    assert not state_folder.is_remote(str(tmp_path))
    assert state_folder.file_system(str(tmp_path)) == ""
