"""Peers that are no part of our environment, run in another one: PyPI `infomap` (GPL) and `chinese-whispers`.

    PYTHON peer_worker.py METHOD SEED GRAPH.npz LABELS.npz

GRAPH holds `rows`, `cols` (e,) int64, `weights` (e,) float64 and `faces`; LABELS gets `labels` (faces,) and the CPU
seconds of handing over the links (`links_s`) and of the method itself (`cpu_s`). Nothing of ours is imported here.
"""

import importlib
import sys
import time

import numpy as np


def main() -> None:
    method, seed, graph_path, labels_path = sys.argv[1:]
    with np.load(graph_path) as graph:
        rows, cols, weights, faces = graph["rows"], graph["cols"], graph["weights"], int(graph["faces"])
    labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = (
        np.arange(faces, dtype=np.int64) + faces
    )  # a face without an edge stays alone
    if method == "infomap":
        infomap = importlib.import_module("infomap")
        start_s = time.process_time()
        network = infomap.Infomap(f"--two-level --silent --num-trials 1 --seed {int(seed) + 1}")
        network.add_links(np.column_stack([rows, cols, weights]))
        linked_s = time.process_time()
        modules = network.run().modules()
        end_s = time.process_time()
        for node, module in modules.items():
            labels[node] = module
    elif method == "chinese-whispers":
        networkx, whispers = importlib.import_module("networkx"), importlib.import_module("chinese_whispers")
        start_s = time.process_time()
        graph = networkx.Graph()
        graph.add_nodes_from(range(faces))
        graph.add_weighted_edges_from(zip(rows.tolist(), cols.tolist(), weights.tolist(), strict=True))
        linked_s = time.process_time()
        whispers.chinese_whispers(graph, weighting="top", iterations=30, seed=int(seed))
        end_s = time.process_time()
        labels = np.array([graph.nodes[face]["label"] for face in range(faces)], np.int64)
    else:
        raise SystemExit(f"no such method as {method}; methods are infomap and chinese-whispers")
    np.savez(labels_path, labels=labels, links_s=linked_s - start_s, cpu_s=end_s - linked_s)


if __name__ == "__main__":
    main()
