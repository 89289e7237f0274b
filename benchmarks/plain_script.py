"""The script a user would write: OpenCV capture, a detector on every frame, one embedding call for each face.

The peer of `detect_embed.py`, with the same YuNet and SFace weights. Prints one line of JSON (seconds, counts) and
writes the faces it found. Run: `python benchmarks/plain_script.py --out faces.npz CLIP...`.
"""

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from insightface.utils.face_align import norm_crop

from faceloop.vision.arrays import Float32Array
from faceloop.vision.fold import drop_initialiser_inputs, fold_model
from faceloop.vision.packs import load_pack

MIN_SCORE = 0.7  # detect.min_score of params.yaml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--long-side", type=int, default=0, help="shrink frames to this for the detector; 0: do not")
    parser.add_argument("--weights", choices=("folded", "shipped"), default="folded", help="of SFace")
    options = parser.parse_args()

    started, cpu_started = time.perf_counter(), time.process_time()
    threads = len(os.sched_getaffinity(0))
    cv2.setNumThreads(threads)
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    assert pack.detector is not None and pack.recogniser is not None
    detector = cv2.FaceDetectorYN.create(str(pack.detector.model_path), "", (640, 640), MIN_SCORE, 0.3, 5000)
    model = pack.recogniser.model_path.read_bytes()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    recogniser = onnxruntime.InferenceSession(
        fold_model(model, free_axes=()) if options.weights == "folded" else drop_initialiser_inputs(model),
        settings,
        providers=["CPUExecutionProvider"],
    )
    input_name = recogniser.get_inputs()[0].name

    seconds: Counter[str] = Counter()
    rows: list[tuple[int, float, Float32Array, Float32Array]] = []  # clip, pts_ms, box (4,), vector (128,)
    frames = 0
    for number, clip in enumerate(options.clips):
        capture = cv2.VideoCapture(str(clip))
        while True:
            now = time.perf_counter()
            is_read, frame = capture.read()
            pts_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
            seconds["decode"] += time.perf_counter() - now  # type: ignore[assignment]  # Counter takes floats
            if not is_read:
                break
            frames += 1

            now = time.perf_counter()
            scale = min(options.long_side / max(frame.shape[:2]), 1.0) if options.long_side else 1.0
            seen = cv2.resize(frame, None, fx=scale, fy=scale) if scale < 1 else frame
            detector.setInputSize((seen.shape[1], seen.shape[0]))
            found = detector.detect(seen)[1]
            faces = np.empty((0, 15), np.float32) if found is None else found[:, :14] / scale
            seconds["detect"] += time.perf_counter() - now  # type: ignore[assignment]

            now = time.perf_counter()
            for face in faces:
                crop = norm_crop(frame, face[4:14].reshape(5, 2))
                blob = cv2.dnn.blobFromImage(crop, swapRB=True)
                vector = recogniser.run(None, {input_name: blob})[0][0]
                box = np.concatenate([face[:2], face[:2] + face[2:4]])
                rows.append((number, pts_ms, box, vector / np.linalg.norm(vector)))
            seconds["align and embed"] += time.perf_counter() - now  # type: ignore[assignment]
        capture.release()
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started

    clip_rows, pts_ms_rows, boxes, vectors = zip(*rows, strict=True) if rows else ((), (), (), ())
    np.savez(
        options.out,
        clip=np.array(clip_rows, dtype=np.int64),
        pts_ms=np.array(pts_ms_rows, dtype=np.float64),
        boxes_xyxy_px=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        vectors=np.array(vectors, dtype=np.float32).reshape(-1, 128),
    )
    timings = {name: float(value) for name, value in seconds.items()}
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "frames": frames, "faces": len(rows), "timings": timings}))


if __name__ == "__main__":
    main()
