"""Quantises a compiled network to int8: python -m benchmarks.quantise FOLDER CALIBRATION.

It runs in an environment with nncf. FOLDER contains the graph and pixels.npy; features.npy and
figures.json are written there.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import nncf
import numpy as np
import openvino

from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import load


def main(folder: Path, calibration: int) -> None:
    graph = CompiledGraph.from_bytes((folder / "graph").read_bytes())
    pixels = np.load(folder / "pixels.npy")
    batch = graph.batch
    whole = len(pixels) // batch * batch
    batches = pixels[:whole].reshape(-1, batch, *pixels.shape[1:])
    chosen = np.linspace(0, len(batches) - 1, min(len(batches), calibration // batch)).astype(int)
    model = openvino.Core().read_model(graph.parts["graph.xml"], graph.parts["graph.bin"])
    small = nncf.quantize(model, nncf.Dataset(batches[chosen]), subset_size=len(chosen))
    openvino.save_model(small, folder / "int8.xml", compress_to_fp16=False)
    parts = {f"graph.{kind}": (folder / f"int8.{kind}").read_bytes() for kind in ("xml", "bin")}
    network = load(replace(graph, parts=parts))
    network(pixels[:batch])
    begin = time.perf_counter()
    features = network(pixels)
    speed = len(pixels) / (time.perf_counter() - begin)
    np.save(folder / "features.npy", features)
    (folder / "figures.json").write_text(json.dumps({"images_per_second": speed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
