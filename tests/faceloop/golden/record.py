"""Record `sface.json`: embeddings of three faces by OpenCV's own `FaceRecognizerSF`, not by our code.

Run by hand, when the built-in pack changes: `python tests/faceloop/golden/record.py`.
"""

import json
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from faceloop.vision.packs import load_pack

PHOTOS = (
    ("skimage", "data/astronaut.png"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ("insightface", "data/images/t1.jpg"),
)


def main() -> None:
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    assert pack.detector is not None
    assert pack.recogniser is not None
    recogniser = cv2.FaceRecognizerSF.create(str(pack.recogniser.model_path), "")
    faces = []
    for package, path in PHOTOS:
        image = np.asarray(cv2.imread(str(files(package) / path)), dtype=np.uint8)
        height, width = image.shape[:2]
        detector = cv2.FaceDetectorYN.create(str(pack.detector.model_path), "", (width, height), 0.6, 0.3, 5000)
        rows = np.asarray(detector.detect(image)[1])
        best = rows[np.argmax(rows[:, 14])]
        vector = recogniser.feature(recogniser.alignCrop(image, best[:14]))[0].astype(np.float64)
        faces.append(
            {
                "package": package,
                "path": path,
                "landmarks_px": np.round(best[4:14].reshape(5, 2).astype(np.float64), 4).tolist(),
                "embedding": np.round(vector / np.linalg.norm(vector), 7).tolist(),
            }
        )
    document = {"recogniser_sha256": pack.recogniser.sha256, "opencv": cv2.__version__, "faces": faces}
    Path(__file__).with_name("sface.json").write_text(json.dumps(document) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
