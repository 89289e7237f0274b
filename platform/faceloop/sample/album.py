"""The photos of the third camera, `album`, and the copies that people make of them."""

from faceloop.sample.photos import BRICK, COFFEE, FLOWER, ROCKET, TEMPLE, SourcePhoto
from faceloop.sample.scene import Actor, CameraKey, Copy, Effect, Pose, Shot, Still


def _one(person: str, x: float, size: float, roll_deg: float = 0.0, yaw: float = 0.0) -> Actor:
    return Actor(person=person, poses=(Pose(at_s=0.0, x=x, size=size, roll_deg=roll_deg, yaw=yaw),))


def _photo(background: SourcePhoto, *actors: Actor, light: float = 1.0, effects: tuple[Effect, ...] = ()) -> Shot:
    return Shot(
        background=background,
        duration_s=0.04,
        actors=actors,
        camera=(CameraKey(at_s=0.0, light=light),),
        effects=effects,
    )


def _album(name: str, shot: Shot) -> Still:
    return Still(path=f"album/{name}.jpg", width=1600, height=1200, shot=shot)


def _upright(name: str, shot: Shot, orientation: int) -> Still:
    """A photo taken with the camera on its side: EXIF orientation 6 or 8, and GPS tags that must go."""
    return Still(
        path=f"album/{name}.jpg",
        width=1200,
        height=1600,
        shot=shot,
        orientation=6 if orientation == 6 else 8,
        has_gps=True,
    )


SOFT = (Effect(kind="defocus", start_s=0.0, end_s=1.0, strength=7.0),)
SMALL = (Effect(kind="low_resolution", start_s=0.0, end_s=1.0, strength=5.0),)

STILLS = (
    _album("picnic-01", _photo(FLOWER, _one("group-1", 0.45, 0.22, 4))),
    _upright("picnic-02", _photo(TEMPLE, _one("group-1", 0.52, 0.25, -5)), 6),
    _album("picnic-03", _photo(COFFEE, _one("group-2", 0.50, 0.23, 3), light=0.9)),
    _upright("picnic-04", _photo(BRICK, _one("group-2", 0.48, 0.26, -4, 0.3)), 8),
    _album("picnic-05", _photo(ROCKET, _one("group-3", 0.55, 0.21, -3))),
    _album("picnic-06", _photo(FLOWER, _one("group-3", 0.42, 0.25, 6, 0.4), light=1.1)),
    _album("picnic-07", _photo(TEMPLE, _one("group-4", 0.50, 0.23, 2))),
    _upright("picnic-08", _photo(COFFEE, _one("group-4", 0.50, 0.26, -6)), 6),
    _album("picnic-09", _photo(BRICK, _one("group-5", 0.46, 0.22, 3), light=0.85)),
    _album("picnic-10", _photo(FLOWER, _one("group-5", 0.54, 0.21, -4))),
    _album("picnic-11", _photo(ROCKET, _one("group-6", 0.50, 0.22, 5))),
    _upright("picnic-12", _photo(BRICK, _one("group-6", 0.50, 0.25, -3, 0.3)), 8),
    _album("portrait-01", _photo(COFFEE, _one("astronaut", 0.48, 0.22, 2))),
    _album("portrait-02", _photo(BRICK, _one("astronaut", 0.55, 0.21, -7), light=1.08)),
    _album("portrait-03", _photo(FLOWER, _one("officer", 0.50, 0.26, 3))),
    _album("portrait-04", _photo(TEMPLE, _one("officer", 0.45, 0.23, -4), light=0.8)),
    _album("pair-01", _photo(TEMPLE, _one("group-3", 0.30, 0.20), _one("group-4", 0.70, 0.20, 3))),
    _album("pair-02", _photo(COFFEE, _one("officer", 0.30, 0.21), _one("group-2", 0.72, 0.20, -3))),
    _album("blurred-01", _photo(ROCKET, _one("astronaut", 0.50, 0.20), effects=SOFT)),
    _album("small-01", _photo(FLOWER, _one("group-6", 0.50, 0.20), effects=SMALL)),
)

COPIES = (
    Copy(source="album/portrait-01.jpg", path="album/portrait-01 (copy).jpg", is_exact=True),
    Copy(source="album/picnic-05.jpg", path="album/picnic-05-resent.jpg", is_exact=False),
)
