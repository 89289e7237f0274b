"""Made-up embeddings whose people are known: the input of `clustering.py`.

    python -m benchmarks.synthetic --faces 100000 --dim 128 --recipe footage --out FILE.npz

What is modelled, as a sum of unit directions that is normalised at the end:

- people: centres from an anisotropic Gaussian with `participation` effective dimensions around a mean that all
  faces share, so that look-alikes become more with the number of people; some are far tighter than others;
- sizes: Pareto (few people fill half of the footage, many are seen once) or log-normal (MS1M's 68 ± 41);
- appearance modes of a person (glasses, age, make-up), and subsets (albums, cameras): a person is in few of them,
  mostly in one mode in each, and all faces of a subset lean a little the same way (light, lens);
- hard samples far from their centre; low-quality faces pulled to one shared direction with eight sub-directions,
  whoever they show; outliers of nobody; optionally wrong labels and people who stand under two labels;
- a quality score that catches `quality_recall` of the low-quality faces and also condemns some good ones.

What is not: tracklets and cannot-links, kinship, skewed kNN hubs as deep as those of real recognisers. Chinese
whispers does better here than is published on MS1M, so a ranking on these vectors needs the real photos of
`clustering_faces.py` beside it. The same seed gives the same vectors, block by block, on the same numpy.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

BLOCK_ROWS = 32_768
SUB_DIRECTIONS = 8  # of low-quality faces
MODES_MAX = 4
SUBSETS_MAX = 12  # that one person appears in
QUALITY_FLOOR = 0.40  # the score is made so that this is the place to cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the faces are like. Shares lie in [0, 1], strengths are lengths beside a face's own direction (1)."""

    sizes: Literal["pareto", "lognormal"]
    closeness: float  # mean cosine of a face to its mode
    person_spread: float  # standard deviation of it between people
    face_spread: float  # … between faces of a person
    mode_angle: float  # sine between a mode and its person's centre
    shared_mean: float  # strength of what all faces share
    subset_lean: float  # strength of what a subset shares
    faces_per_subset: int
    hard_share: float
    low_quality_share: float
    outlier_share: float
    flipped_share: float  # wrong labels
    doubled_share: float  # people whose faces stand under two labels
    quality_recall: float  # share of low-quality faces that score below QUALITY_FLOOR
    quality_false_alarm: float  # share of good faces that do


FOOTAGE = Recipe(
    sizes="pareto",
    closeness=0.77,
    person_spread=0.04,
    face_spread=0.06,
    mode_angle=0.25,
    shared_mean=0.25,
    subset_lean=0.08,
    faces_per_subset=1000,
    hard_share=0.06,
    low_quality_share=0.05,
    outlier_share=0.005,
    flipped_share=0.0,
    doubled_share=0.0,
    quality_recall=0.85,
    quality_false_alarm=0.05,
)
PHOTOS = Recipe(
    sizes="lognormal",
    closeness=0.845,
    person_spread=0.04,
    face_spread=0.06,
    mode_angle=0.3,
    shared_mean=0.15,
    subset_lean=0.0,
    faces_per_subset=1000,
    hard_share=0.045,
    low_quality_share=0.006,
    outlier_share=0.005,
    flipped_share=0.01,
    doubled_share=0.01,
    quality_recall=0.85,
    quality_false_alarm=0.05,
)
RECIPES = {"footage": FOOTAGE, "photos": PHOTOS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticFaces:
    """Rows in random order."""

    vectors: Float32Array  # (n, dim) unit norm
    identity: Int64Array  # (n,) the label; outliers have one of their own
    quality: Float32Array  # (n,) in [0, 1]
    subset: NDArray[np.int32]  # (n,) from 0

    def at(self, rows: NDArray[np.bool_] | Int64Array) -> "SyntheticFaces":
        return SyntheticFaces(
            vectors=self.vectors[rows],
            identity=self.identity[rows],
            quality=self.quality[rows],
            subset=self.subset[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """Directions, and who is in which row."""

    person: Int64Array  # (n,)
    modes: Float32Array  # (people × MODES_MAX, dim) strength 1, not quite unit
    mode_count: Int64Array  # (people,) 1 … MODES_MAX
    closeness: Float32Array  # (people,)
    places: NDArray[np.int32]  # (people, SUBSETS_MAX) subset of each of a person's places
    place_count: Int64Array  # (people,) 1 … SUBSETS_MAX
    leans: Float32Array  # (subsets, dim)
    shared: Float32Array  # (dim,)
    blurs: Float32Array  # (SUB_DIRECTIONS, dim) unit
    double_of: Int64Array  # (people,) second label, the person himself where there is none


def synthetic_faces(
    faces: int, dim: int, *, seed: int = 0, recipe: Recipe = FOOTAGE, min_quality: float = 0.0
) -> SyntheticFaces:
    """`faces` rows of `dim` values, less those whose quality is below `min_quality`.

    One million of 512 take 15 s of one core and, beside the result, 0.7 GB.
    """
    vectors = np.empty((faces, dim), np.float32)  # pages that stay empty cost no memory
    parts, rows = [], 0
    for block in synthetic_blocks(faces, dim, seed=seed, recipe=recipe):
        kept = block.at(block.quality >= min_quality)
        vectors[rows : rows + len(kept.identity)] = kept.vectors
        rows += len(kept.identity)
        parts.append((kept.identity, kept.quality, kept.subset))
    identity, quality, subset = (np.concatenate(column) for column in zip(*parts, strict=True))
    return SyntheticFaces(vectors=vectors[:rows], identity=identity, quality=quality, subset=subset)


def synthetic_blocks(faces: int, dim: int, *, seed: int = 0, recipe: Recipe = FOOTAGE) -> Iterator[SyntheticFaces]:
    """The same rows in blocks of BLOCK_ROWS, each drawn by a generator of its own."""
    world = _world(faces, dim, np.random.default_rng([seed, 0]), recipe)
    for block, start in enumerate(range(0, faces, BLOCK_ROWS)):
        person = world.person[start : start + BLOCK_ROWS]
        yield _block(world, person, start, np.random.default_rng([seed, 1, block]), recipe)


def _world(faces: int, dim: int, rng: np.random.Generator, recipe: Recipe) -> _World:
    sizes = _sizes(faces, rng, recipe)
    people = len(sizes)
    subsets = max(1, faces // recipe.faces_per_subset)
    spread = _spectrum(dim, participation=min(75.0, dim / 2))
    centres = rng.standard_normal((people, dim), np.float32) * spread
    cosine = np.float32(np.sqrt(1 - recipe.mode_angle**2))
    modes = np.repeat(centres * cosine, MODES_MAX, axis=0)
    for mode in range(MODES_MAX):
        turned = rng.standard_normal((people, dim), np.float32) * spread
        modes[mode::MODES_MAX] += np.float32(recipe.mode_angle) * turned
    log_size = np.log(sizes)
    blur = _unit(rng.standard_normal(dim, np.float32) * spread)
    return _World(
        person=rng.permutation(np.repeat(np.arange(people, dtype=np.int64), sizes)),
        modes=modes,
        mode_count=np.minimum(1 + rng.poisson(0.35 * log_size), MODES_MAX),
        closeness=np.clip(rng.normal(recipe.closeness, recipe.person_spread, people), 0.5, 0.95).astype(np.float32),
        places=rng.integers(subsets, size=(people, SUBSETS_MAX), dtype=np.int32),
        place_count=np.minimum(1 + rng.poisson(0.6 * log_size), SUBSETS_MAX),
        leans=_unit(rng.standard_normal((subsets, dim), np.float32)) * np.float32(recipe.subset_lean),
        shared=_unit(rng.standard_normal(dim, np.float32)) * np.float32(recipe.shared_mean),
        blurs=_unit(0.8 * blur + 0.6 * _unit(rng.standard_normal((SUB_DIRECTIONS, dim), np.float32))),
        double_of=np.where(rng.random(people) < recipe.doubled_share, people + np.arange(people), np.arange(people)),
    )


def _block(world: _World, person: Int64Array, start: int, rng: np.random.Generator, recipe: Recipe) -> SyntheticFaces:
    """Draws come in one fixed order and number, whatever the shares are."""
    rows, dim = len(person), world.modes.shape[1]
    place = np.minimum(rng.geometric(0.45, rows) - 1, world.place_count[person] - 1)
    is_in_usual_mode = rng.random(rows) < 0.85
    mode = np.where(is_in_usual_mode, place, rng.integers(MODES_MAX, size=rows)) % world.mode_count[person]
    subset = world.places[person, place]

    closeness = np.clip(world.closeness[person] + recipe.face_spread * rng.standard_normal(rows), 0.4, 0.97)
    hard = rng.uniform(0.45, 0.70, rows)
    closeness = np.where(rng.random(rows) < recipe.hard_share, np.minimum(hard, closeness), closeness)
    is_outlier = rng.random(rows) < recipe.outlier_share
    is_low = rng.random(rows) < recipe.low_quality_share
    pull = np.where(is_low, rng.uniform(0.5, 0.85, rows), 0.0)

    vectors = rng.standard_normal((rows, dim), np.float32) / np.float32(np.sqrt(dim))
    vectors *= np.where(is_outlier, 1, np.sqrt(1 - closeness**2)).astype(np.float32)[:, None]
    vectors += np.where(is_outlier, 0, closeness).astype(np.float32)[:, None] * world.modes[person * MODES_MAX + mode]
    vectors += world.leans[subset]
    vectors += world.shared
    blurred = np.flatnonzero(is_low)
    share = pull[blurred, None].astype(np.float32)
    blur = world.blurs[rng.integers(SUB_DIRECTIONS, size=rows)[blurred]]
    vectors[blurred] = (1 - share) * _unit(vectors[blurred]) + share * blur

    identity = np.where(rng.random(rows) < 0.5, person, world.double_of[person])
    people = len(world.closeness)
    flipped_to = world.person[rng.integers(len(world.person), size=rows)]
    identity = np.where(rng.random(rows) < recipe.flipped_share, flipped_to, identity)
    identity = np.where(is_outlier, 2 * people + start + np.arange(rows), identity)
    return SyntheticFaces(
        vectors=_unit(vectors),
        identity=identity,
        quality=_quality(is_low, closeness, rng, recipe),
        subset=subset,
    )


def _quality(
    is_low: NDArray[np.bool_], closeness: NDArray[np.float64], rng: np.random.Generator, recipe: Recipe
) -> Float32Array:
    rows = len(is_low)
    good = np.clip(0.75 + 0.9 * (closeness - 0.8) + 0.08 * rng.standard_normal(rows), QUALITY_FLOOR, 1)
    condemned = rng.uniform(0.05, QUALITY_FLOOR - 0.01, rows)
    is_caught = rng.random(rows) < np.where(is_low, recipe.quality_recall, recipe.quality_false_alarm)
    missed = rng.uniform(QUALITY_FLOOR, 0.7, rows)
    return np.where(is_caught, condemned, np.where(is_low, missed, good)).astype(np.float32)


def _sizes(faces: int, rng: np.random.Generator, recipe: Recipe) -> Int64Array:
    """Faces of each person, together `faces`."""
    if recipe.sizes == "pareto":
        drawn = np.clip(np.floor(2.5 * (rng.pareto(1.05, faces) + 1)), 1, max(50, min(3000, faces // 30)))
        drawn = np.where(rng.random(faces) < 0.15, 1, drawn)
    else:
        mean, spread = 68.1, 40.6
        variance = np.log(1 + (spread / mean) ** 2)
        drawn = np.maximum(np.round(rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), faces)), 2)
    total = np.cumsum(drawn.astype(np.int64))
    people = int(np.searchsorted(total, faces)) + 1
    sizes = drawn[:people].astype(np.int64)
    sizes[-1] -= total[people - 1] - faces
    return sizes


def _spectrum(dim: int, participation: float) -> Float32Array:
    """Standard deviations i^-a, Σ² = 1, with a such that (Σ s²)² / Σ s⁴ is `participation`."""
    low, high = 0.0, 2.0
    rank = np.arange(1, dim + 1, dtype=np.float64)
    for _ in range(50):
        exponent = (low + high) / 2
        variance = rank ** (-2 * exponent)
        too_flat = variance.sum() ** 2 / (variance**2).sum() > participation
        low, high = (exponent, high) if too_flat else (low, exponent)
    variance = rank ** (-2 * low)
    spectrum: Float32Array = np.sqrt(variance / variance.sum()).astype(np.float32)
    return spectrum


def _unit(vectors: Float32Array) -> Float32Array:
    lengths = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., None]
    unit: Float32Array = (vectors / lengths).astype(np.float32, copy=False)
    return unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="footage")
    parser.add_argument("--out", type=Path, required=True, help="an .npz of vectors, labels, quality and subset")
    options = parser.parse_args()
    faces = synthetic_faces(options.faces, options.dim, seed=options.seed, recipe=RECIPES[options.recipe])
    np.savez(
        options.out,
        vectors=faces.vectors,
        labels=faces.identity.astype(np.str_),
        quality=faces.quality,
        subset=faces.subset,
    )
    print(f"{options.out}: {options.faces} faces of {len(np.unique(faces.identity))} people")


if __name__ == "__main__":
    main()
