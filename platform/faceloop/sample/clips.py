"""What the two filming cameras see, `gate` and `lobby`: who is in each clip, and what goes wrong there."""

from faceloop.sample.photos import BRICK, COFFEE, FLOWER, ROCKET, TEMPLE
from faceloop.sample.scene import Actor, CameraKey, Clip, Effect, Freeze, Pose, Shot

GATE_DAY = Clip(
    path="gate/gate-day.mp4",
    width=1920,
    height=1080,
    fps=25,
    shots=(
        Shot(
            background=TEMPLE,
            duration_s=10.0,
            shake=0.002,
            camera=(
                CameraKey(at_s=0.0, shift_x=-0.05, light=1.0),
                CameraKey(at_s=6.0, shift_x=0.05, light=1.0),
                CameraKey(at_s=7.5, shift_x=0.03, zoom=1.1, light=0.62),
                CameraKey(at_s=10.0, shift_x=0.0, zoom=1.1, light=1.12),
            ),
            actors=(
                # Leaves on the left and comes back.
                Actor(
                    person="astronaut",
                    poses=(
                        Pose(at_s=0.0, x=0.38, size=0.177, roll_deg=-3),
                        Pose(at_s=2.0, x=0.22, size=0.204, roll_deg=4, yaw=0.4),
                        Pose(at_s=3.6, x=-0.2, size=0.218),
                        Pose(at_s=5.6, x=-0.2, size=0.204),
                        Pose(at_s=7.2, x=0.28, size=0.19, roll_deg=5),
                        Pose(at_s=10.0, x=0.36, size=0.19, roll_deg=-4, yaw=-0.3),
                    ),
                ),
                Actor(
                    person="group-3",
                    poses=(
                        Pose(at_s=0.8, x=1.25, size=0.19),
                        Pose(at_s=3.0, x=0.74, size=0.19, roll_deg=2),
                        Pose(at_s=7.0, x=0.70, size=0.204, roll_deg=-5, yaw=0.5),
                        Pose(at_s=10.0, x=0.76, size=0.204, roll_deg=3),
                    ),
                ),
            ),
        ),
    ),
)

GATE_CUT = Clip(
    # Spaces, Unicode, an apostrophe and quotation marks: names as people give them.
    path="gate/Tor Süd – it's “late”.mp4",
    width=1920,
    height=1080,
    fps=25,
    shots=(
        Shot(
            background=BRICK,
            duration_s=3.6,
            shake=0.0015,
            actors=(
                Actor(
                    person="group-4",
                    poses=(
                        Pose(at_s=0.0, x=0.46, size=0.204, roll_deg=3),
                        Pose(at_s=3.6, x=0.50, size=0.218, roll_deg=-2),
                    ),
                ),
            ),
        ),
        # Another person at the same place from the very next frame on.
        Shot(
            background=ROCKET,
            duration_s=5.4,
            camera=(CameraKey(at_s=0.0), CameraKey(at_s=5.4, zoom=1.15, shift_x=0.03)),
            freezes=(Freeze(start_s=2.2, end_s=3.6),),
            actors=(
                Actor(
                    person="officer",
                    poses=(
                        Pose(at_s=0.0, x=0.50, size=0.218),
                        Pose(at_s=5.4, x=0.42, size=0.231, roll_deg=4, yaw=-0.4),
                    ),
                ),
                Actor(
                    person="group-6",
                    poses=(
                        Pose(at_s=0.6, x=1.2, size=0.163),
                        Pose(at_s=1.9, x=0.80, size=0.17, roll_deg=-3),
                        Pose(at_s=5.4, x=0.77, size=0.184, roll_deg=4),
                    ),
                ),
            ),
        ),
    ),
)

GATE_NIGHT = Clip(
    path="gate/night-12fps.mp4",
    width=1920,
    height=1080,
    fps=12,
    shots=(
        Shot(
            background=COFFEE,
            duration_s=8.5,
            shake=0.001,
            camera=(CameraKey(at_s=0.0, light=0.8), CameraKey(at_s=8.5, zoom=1.06, light=0.75)),
            effects=(
                Effect(kind="low_resolution", start_s=2.5, end_s=4.0, strength=6.0),
                Effect(kind="dark", start_s=5.5, end_s=7.0, strength=5.0),
            ),
            actors=(
                Actor(
                    person="group-5",
                    poses=(
                        Pose(at_s=0.0, x=0.30, size=0.177, roll_deg=2),
                        Pose(at_s=8.5, x=0.38, size=0.19, roll_deg=-4),
                    ),
                ),
                Actor(
                    person="group-1",
                    poses=(
                        Pose(at_s=0.0, x=0.68, size=0.177, roll_deg=-4),
                        Pose(at_s=4.5, x=0.72, size=0.177, roll_deg=3, yaw=0.3),
                        Pose(at_s=8.5, x=0.66, size=0.19),
                    ),
                ),
            ),
        ),
    ),
)

LOBBY_SMALL = Clip(
    path="lobby/lobby-720p.mp4",
    width=1280,
    height=720,
    fps=25,
    shots=(
        Shot(
            background=FLOWER,
            duration_s=9.0,
            camera=(
                CameraKey(at_s=0.0, zoom=1.0),
                CameraKey(at_s=4.0, zoom=1.22),
                CameraKey(at_s=9.0, zoom=1.02, shift_x=-0.03),
            ),
            effects=(Effect(kind="motion", start_s=4.2, end_s=5.4, strength=46.0),),
            actors=(
                Actor(
                    person="group-1",
                    poses=(
                        Pose(at_s=0.0, x=0.32, size=0.204),
                        Pose(at_s=5.0, x=0.36, size=0.204, roll_deg=6),
                        Pose(at_s=9.0, x=0.30, size=0.218, roll_deg=-2),
                    ),
                ),
                Actor(
                    person="astronaut",
                    poses=(
                        Pose(at_s=0.0, x=0.68, size=0.19, roll_deg=3),
                        Pose(at_s=6.0, x=0.64, size=0.19, yaw=0.5),
                        Pose(at_s=9.0, x=0.70, size=0.204, roll_deg=-5),
                    ),
                ),
            ),
        ),
    ),
)

LOBBY_PHONE = Clip(
    path="lobby/phone-upright.mp4",
    width=1080,
    height=1920,
    fps=25,
    rotation_deg=90,
    shots=(
        Shot(
            background=TEMPLE,
            duration_s=7.0,
            shake=0.008,
            camera=(CameraKey(at_s=0.0), CameraKey(at_s=7.0, zoom=1.12, shift_y=-0.02)),
            effects=(Effect(kind="defocus", start_s=4.4, end_s=5.6, strength=9.0),),
            actors=(
                Actor(
                    person="group-2",
                    poses=(
                        Pose(at_s=0.0, x=0.50, size=0.31, roll_deg=-4),
                        Pose(at_s=3.5, x=0.46, size=0.34, roll_deg=5),
                        Pose(at_s=7.0, x=0.54, size=0.33),
                    ),
                ),
            ),
        ),
    ),
)

LOBBY_UNEVEN = Clip(
    path="lobby/variable-rate.mp4",
    width=1920,
    height=1080,
    fps=20,
    has_variable_rate=True,
    shots=(
        Shot(
            background=BRICK,
            duration_s=9.0,
            camera=(CameraKey(at_s=0.0, shift_x=0.04, light=1.1), CameraKey(at_s=9.0, shift_x=-0.04)),
            actors=(
                Actor(
                    person="officer",
                    poses=(
                        Pose(at_s=0.0, x=0.28, size=0.204),
                        Pose(at_s=9.0, x=0.34, size=0.218, roll_deg=-5),
                    ),
                ),
                # Two people in turn at one side: the first leaves before the second comes.
                Actor(
                    person="group-5",
                    poses=(
                        Pose(at_s=0.0, x=0.70, size=0.177),
                        Pose(at_s=2.6, x=0.74, size=0.19, roll_deg=3),
                        Pose(at_s=4.0, x=1.25, size=0.19),
                    ),
                ),
                Actor(
                    person="group-6",
                    poses=(
                        Pose(at_s=4.8, x=1.25, size=0.177),
                        Pose(at_s=6.2, x=0.72, size=0.177),
                        Pose(at_s=9.0, x=0.70, size=0.19, roll_deg=5, yaw=0.4),
                    ),
                ),
            ),
        ),
    ),
)

LOBBY_EMPTY = Clip(
    path="lobby/nobody-here.mp4",
    width=1920,
    height=1080,
    fps=25,
    shots=(
        Shot(
            background=FLOWER,
            duration_s=4.0,
            shake=0.001,
            camera=(CameraKey(at_s=0.0, shift_x=-0.08), CameraKey(at_s=4.0, shift_x=0.08, light=0.8)),
        ),
    ),
)

CLIPS = (GATE_DAY, GATE_CUT, GATE_NIGHT, LOBBY_SMALL, LOBBY_PHONE, LOBBY_UNEVEN, LOBBY_EMPTY)
