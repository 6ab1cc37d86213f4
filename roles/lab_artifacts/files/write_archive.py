# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write every image of the lab into one archive that ``ctr images import`` reads.

Usage: write_archive.py CATALOGUE.json ARCHIVE.tar

CATALOGUE.json: ``{"base": DIR, "sources": {NAME: PATH}, "images": [{"refs", "files", "base", "links", "folders",
"entrypoint", "cmd"}]}``; a value in ``files`` is a key of ``sources``. All images with ``base`` share one layer.
The format is Docker's image archive (manifest.json beside configurations and layers), as described in the
Docker image specification v1.2; time stamps and owners are fixed, so the same input gives the same layers.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Layer:
    """A finished layer: its name inside the archive and the SHA-256 of its tar stream."""

    name: str
    digest: str


def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Drop what differs between two builds of the same tree: times and the names of owners."""
    info.mtime = 0
    info.uname = info.gname = ""
    return info


def owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Files taken from the build machine belong to root and can be read, whatever they were there."""
    info.uid = info.gid = 0
    info.mode |= 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return anonymous(info)


def as_program(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """A file that is named by itself is a program; Go's module archives forget that scripts can be executed."""
    info.mode |= 0o755
    return owned_by_root(info)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex, read in pieces: a layer is larger than memory should have to be."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        for piece in iter(lambda: handle.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


class Archive:
    """An image archive that is being written; layers go to disk first because their digest names them."""

    def __init__(self, tar: tarfile.TarFile, scratch: Path) -> None:
        self.tar = tar
        self.scratch = scratch
        self.manifest: list[dict[str, object]] = []

    def add_bytes(self, name: str, content: bytes) -> None:
        """Add one small member."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self.tar.addfile(info, io.BytesIO(content))

    @contextmanager
    def new_layer(self, done: list[Layer]) -> Iterator[tarfile.TarFile]:
        """A tar file to fill; on leaving, it is hashed, added to the archive and appended to ``done``."""
        with tempfile.NamedTemporaryFile(dir=self.scratch) as handle:
            with tarfile.open(fileobj=handle, mode="w") as layer:
                yield layer
            handle.flush()
            digest = sha256_of(Path(handle.name))
            layer_done = Layer(f"{digest}.tar", digest)
            self.tar.add(handle.name, layer_done.name, filter=anonymous)
            done.append(layer_done)

    def add_image(self, image: dict[str, object], layers: list[Layer]) -> None:
        """Add the configuration of one image and remember it for the manifest."""
        config: dict[str, object] = {"Env": [SEARCH_PATH]}
        if image.get("entrypoint"):
            config["Entrypoint"] = image["entrypoint"]
        if image.get("cmd"):
            config["Cmd"] = image["cmd"]
        document = {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
            "history": [{"created_by": "netops.cni_migration lab"} for _layer in layers],
        }
        content = json.dumps(document, sort_keys=True).encode()
        name = hashlib.sha256(content).hexdigest() + ".json"
        self.add_bytes(name, content)
        self.manifest.append({"Config": name, "RepoTags": image["refs"], "Layers": [layer.name for layer in layers]})


def fill(layer: tarfile.TarFile, image: dict[str, object], sources: dict[str, str]) -> None:
    """Put an image's own files, links and folders into its layer."""
    for target, source in image["files"].items():  # type: ignore[attr-defined]
        layer.add(sources[source], target.lstrip("/"), filter=owned_by_root if Path(sources[source]).is_dir() else as_program)
    for target, to in image.get("links", {}).items():  # type: ignore[attr-defined]
        info = tarfile.TarInfo(target.lstrip("/"))
        info.type, info.linkname = tarfile.SYMTYPE, to
        layer.addfile(info)
    for folder in image.get("folders", []):  # type: ignore[attr-defined]
        info = tarfile.TarInfo(folder.lstrip("/"))
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        layer.addfile(info)


def main(catalogue_file: str, archive_file: str) -> None:
    """Write the archive; it takes its name only when it is whole."""
    catalogue = json.loads(Path(catalogue_file).read_text(encoding="utf-8"))
    target = Path(archive_file)
    partial = target.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        archive = Archive(tar, target.parent)
        base: list[Layer] = []
        with archive.new_layer(base) as layer:
            layer.add(catalogue["base"], ".", filter=anonymous)
        for image in catalogue["images"]:
            layers = list(base) if image.get("base") else []
            if image["files"]:
                with archive.new_layer(layers) as layer:
                    fill(layer, image, catalogue["sources"])
            archive.add_image(image, layers)
        archive.add_bytes("manifest.json", json.dumps(archive.manifest).encode())
    partial.rename(target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
