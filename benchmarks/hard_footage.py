"""A root whose faces were seen by a worse camera: the artifacts of `detect`, their crops made hard by a recipe.

Detection is not what is measured, so faces are found on the clear photos, and stay where they are. What later stages
see are crops and the quality measured on them.
"""

import shutil
from dataclasses import dataclass, replace

from faceloop.runner import Workspace
from faceloop.training.hard_domain import HardDomain, degrade
from faceloop.vision.pose import Pose
from faceloop.vision.quality import measure
from facestore.crops import CropReader, CropWriter
from facestore.ids import digest_of
from facestore.images import UInt8Array
from facestore.publish import fresh_partial, publish, read_manifest
from facestore.records import Face, Reading
from facestore.tables import read_table, write_table

FRAME_MS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """`views` hard views of each face, beside the clear one (they make one tracklet) or in its place."""

    domain: HardDomain
    views: int
    keeps_clear: bool
    seed: int


def see_again(work: Workspace, camera: Camera) -> None:
    """Replace `faces` and `crops` of a root by what the camera sees of every face that has a crop."""
    faces_dir, crops_dir = work.path("faces"), work.path("crops")
    manifests = {"faces": read_manifest(faces_dir), "crops": read_manifest(crops_dir)}
    reader = CropReader(crops_dir)
    staged_faces = fresh_partial(faces_dir, keep=False)
    staged_crops = fresh_partial(crops_dir, keep=False)
    for batch in sorted(path.name for path in faces_dir.iterdir() if path.is_dir()):
        with CropWriter(staged_crops / batch) as writer:
            seen = [
                row
                for face in read_table(faces_dir / batch, "faces", Face)
                for row in _views(face, camera, reader, writer, batch)
            ]
        write_table(staged_faces / batch / "faces.parquet", Face, seen)
        readings = list(read_table(faces_dir / batch, "readings", Reading))
        write_table(staged_faces / batch / "readings.parquet", Reading, readings)
    reader.close()
    for artifact, manifest in manifests.items():
        if manifest is None:
            shutil.rmtree(staged_faces)
            raise SystemExit(f"{work.path(artifact)} was never published; run detect first")
        run_key = digest_of({"of": manifest.run_key, "camera": repr(camera)})
        publish(
            work.path(artifact),
            stage=manifest.stage,
            run_key=run_key,
            counts=dict(manifest.counts),
            inputs=manifest.inputs,
        )


def clear_crops(work: Workspace) -> dict[str, UInt8Array]:
    """Aligned crops by face id, as detect made them."""
    reader = CropReader(work.path("crops"))
    found = {
        face.face_id: reader.image("aligned", face.crop_key)
        for face in read_table(work.path("faces"), "faces", Face)
        if face.crop_key is not None
    }
    reader.close()
    return found


def view_id(face_id: str, view: int) -> str:
    """Id of a further view of a face, 32 hex digits."""
    return digest_of({"face": face_id, "view": view})[:32]


def _views(face: Face, camera: Camera, reader: CropReader, writer: CropWriter, batch: str) -> list[Face]:
    if face.crop_key is None:
        return [face]
    aligned, context = (reader.image(kind, face.crop_key) for kind in ("aligned", "context"))
    rows = []
    if camera.keeps_clear:
        rows.append(replace(face, crop_key=f"{batch}/{face.face_id}"))
        writer.put("aligned", face.face_id, aligned)
        writer.put("context", face.face_id, context)
    for view in range(camera.views):
        found = degrade(aligned, camera.domain, face_id=face.face_id, view=view, seed=camera.seed)
        name = view_id(face.face_id, view) if camera.keeps_clear else face.face_id
        size_px = min(face.size_px, float(found.side_px))
        quality = measure(found.crop_rgb, size_px=size_px, pose=Pose(yaw=face.yaw, pitch=face.pitch, roll=face.roll))
        writer.put("aligned", name, found.crop_rgb)
        writer.put("context", name, found.crop_rgb)
        rows.append(
            replace(
                face,
                face_id=name,
                pts_ms=face.pts_ms + (view + 1) * FRAME_MS if camera.keeps_clear else face.pts_ms,
                size_px=size_px,
                sharpness=quality.sharpness,
                brightness=quality.brightness,
                contrast=quality.contrast,
                occlusion=quality.occlusion,
                quality=quality.total,
                crop_key=f"{batch}/{name}",
            )
        )
    return rows
