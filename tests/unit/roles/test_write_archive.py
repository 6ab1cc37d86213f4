# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image archive that the lab's containerd store is filled from."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "lab_artifacts" / "files" / "write_archive.py"


@pytest.fixture(scope="module")
def write_archive() -> ModuleType:
    """The script of the role, imported as a module."""
    spec = importlib.util.spec_from_file_location("write_archive", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules["write_archive"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Two images on the shared base, one from nothing; the script's executable bit is missing, as in a Go module."""
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "sh").write_text("shell", encoding="utf-8")
    script = tmp_path / "init.sh"
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o444)
    headers = tmp_path / "bpf"
    headers.mkdir()
    (headers / "lib.h").write_text("int x;", encoding="utf-8")
    (headers / "lib.h").chmod(0o400)
    document = {
        "base": str(base),
        "sources": {"init": str(script), "headers": str(headers)},
        "images": [
            {"refs": ["example/plain:1"], "base": True, "files": {}, "cmd": ["sleep", "infinity"]},
            {
                "refs": ["example/agent:1", "example/agent:latest"],
                "base": True,
                "files": {"/init.sh": "init", "/var/lib/bpf": "headers"},
                "links": {"/usr/bin/init": "../../init.sh"},
                "folders": ["/home/agent"],
            },
            {"refs": ["example/scratch:1"], "files": {"/init": "init"}, "entrypoint": ["/init"]},
        ],
    }
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def read(archive: Path) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The archive's manifest and all of its members."""
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    return json.loads(members["manifest.json"]), members


def layer_members(content: bytes, tmp_path: Path) -> dict[str, tarfile.TarInfo]:
    """The members of one layer by name."""
    path = tmp_path / "layer.tar"
    path.write_bytes(content)
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar.getmembers()}


def test_images_share_the_base_layer_and_name_layers_by_their_digest(write_archive: ModuleType, catalogue: Path, tmp_path: Path) -> None:
    target = tmp_path / "images.tar"
    write_archive.main(str(catalogue), str(target))
    manifest, members = read(target)

    plain, agent, scratch = manifest
    assert plain["Layers"] == agent["Layers"][:1]
    assert len(agent["Layers"]) == 2
    assert len(scratch["Layers"]) == 1
    assert agent["RepoTags"] == ["example/agent:1", "example/agent:latest"]
    for image in manifest:
        config = json.loads(members[image["Config"]])
        digests = [hashlib.sha256(members[layer]).hexdigest() for layer in image["Layers"]]
        assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in digests]
    assert json.loads(members[plain["Config"]])["config"]["Cmd"] == ["sleep", "infinity"]
    assert json.loads(members[scratch["Config"]])["config"]["Entrypoint"] == ["/init"]


def test_programs_can_be_executed_and_files_read(write_archive: ModuleType, catalogue: Path, tmp_path: Path) -> None:
    target = tmp_path / "images.tar"
    write_archive.main(str(catalogue), str(target))
    manifest, members = read(target)
    layer = layer_members(members[manifest[1]["Layers"][1]], tmp_path)

    assert layer["init.sh"].mode & 0o111 == 0o111
    assert layer["var/lib/bpf/lib.h"].mode & 0o777 == 0o644
    assert (layer["usr/bin/init"].issym(), layer["usr/bin/init"].linkname) == (True, "../../init.sh")
    assert layer["home/agent"].isdir()
    assert {(member.uid, member.gid, member.mtime) for member in layer.values()} == {(0, 0, 0)}


def test_the_same_input_gives_the_same_archive_and_no_half_one_stays(write_archive: ModuleType, catalogue: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    write_archive.main(str(catalogue), str(first))
    write_archive.main(str(catalogue), str(second))
    assert first.read_bytes() == second.read_bytes()
    assert not list(tmp_path.glob("*.partial"))
