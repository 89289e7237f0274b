from dataclasses import replace

import numpy as np
import pytest

from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.partition import Partition, partition
from faceloop.questions.beliefs import Settled, Topic, settle
from faceloop.questions.candidates import best_shots, find_candidates
from faceloop.questions.curve import average_curve
from faceloop.questions.oracle import Oracle, Progress, SimulationParams, World, questions_to_reach, simulate
from faceloop.questions.selection import Pick, Pool, SelectionParams, Strategy, batch, make_pool
from facestore.errors import ConfigError, DataError

from .question_world import NOTHING_KNOWN, PARTITION, SELECTION, two_faced_world

TWO_FACED = 8


def clustered(world: World, settled: Settled) -> tuple[Clustered, Partition]:
    found = partition(nodes=world.nodes, constraints=settled.constraints, params=world.partition_params)
    given = Clustered(
        nodes=world.nodes,
        labels=found.labels,
        hubness=found.hubness,
        faces=world.faces,
        constraints=settled.constraints,
    )
    return given, found


def pool_of(world: World, topics: list[Topic], *, with_settled: bool = False) -> Pool:
    settled = settle(topics, world.known, SELECTION.trust)
    given, found = clustered(world, settled)
    return make_pool(given, found.confidence, topics, settled, SELECTION, with_settled=with_settled)


def ranked(pool: Pool, strategy: Strategy = "expected_gain") -> list[Pick]:
    return list(pool.ranked(strategy, np.random.default_rng(0)))


def is_true(world: World, pick: Pick) -> bool:
    first, second = pick.topic.shots(0)
    return bool(world.truth[first] == world.truth[second])


def test_the_two_looks_of_a_person_are_asked_about_first() -> None:
    world = two_faced_world()
    picks = [pick for pick in ranked(pool_of(world, [])) if pick.topic.kind == "merge"]
    assert len(picks) > 2 * TWO_FACED
    assert [is_true(world, pick) for pick in picks[:TWO_FACED]] == [True] * TWO_FACED
    assert not any(is_true(world, pick) for pick in picks[TWO_FACED:])


def test_what_was_answered_is_not_asked_as_a_new_question() -> None:
    world = two_faced_world()
    topics = [pick.topic.told(is_true(world, pick)) for pick in batch(ranked(pool_of(world, [])), 12)]
    settled = settle(topics, world.known, SELECTION.trust)
    given, _ = clustered(world, settled)
    told = {tuple(sorted(given.labels[list(topic.shots(0))].tolist())) for topic in topics if topic.kind == "merge"}
    for pick in ranked(pool_of(world, topics)):
        if pick.place is None and pick.topic.kind == "merge":
            assert tuple(sorted(pick.labels)) not in told


def test_nobody_is_asked_about_two_faces_of_one_picture() -> None:
    world = two_faced_world()
    first = next(pick for pick in ranked(pool_of(world, [])) if pick.topic.kind == "merge")
    known = Constraints(must_link=NOTHING_KNOWN.must_link, cannot_link=np.array([first.topic.shots(0)]))
    rows = set(first.labels)
    for pick in ranked(pool_of(replace(world, known=known), [])):
        assert pick.topic.kind != "merge" or set(pick.labels) != rows


def test_a_face_of_somebody_else_is_the_first_outlier() -> None:
    world = two_faced_world(two_faced=40)
    vectors = world.nodes.vectors.copy()
    stray = int(np.flatnonzero(world.truth == 3)[0])
    mixture = 0.52 * vectors[world.truth == 5][:6].mean(axis=0) + 0.5 * vectors[stray]
    vectors[stray] = mixture / np.linalg.norm(mixture)
    nodes = Nodes(
        node_ids=world.nodes.node_ids,
        vectors=vectors,
        weights=world.nodes.weights,
        quality=world.nodes.quality,
        subset=world.nodes.subset,
    )
    strayed = replace(world, nodes=nodes)
    settled = settle([], strayed.known, SELECTION.trust)
    given, found = clustered(strayed, settled)
    host = int(np.flatnonzero(world.truth == 5)[0])
    assert given.labels[stray] == given.labels[host]
    pool = make_pool(given, found.confidence, [], settled, SELECTION, with_settled=False)
    outlier = next(pick for pick in ranked(pool) if pick.topic.kind == "outlier")
    assert outlier.topic.shots(0)[0] == stray
    assert world.truth[outlier.topic.shots(0)[1]] == 5
    parted, _ = clustered(strayed, settle([outlier.topic.told(False).told(False)], strayed.known, SELECTION.trust))
    assert parted.labels[stray] != parted.labels[host]


def test_halves_of_a_mixed_cluster_are_asked_about() -> None:
    world = two_faced_world(people=12, two_faced=0)
    labels = world.truth.astype(np.int64)
    labels[labels == 1] = 0  # two people under one label
    given = Clustered(
        nodes=world.nodes,
        labels=labels,
        hubness=np.zeros(len(labels), np.float32),
        faces=world.faces,
        constraints=world.known,
    )
    confidence = np.full(len(labels), 0.9, np.float32)
    splits = next(found for found in find_candidates(given, confidence, SELECTION.candidates) if found.kind == "split")
    worst = int(splits.margin.argmin())
    assert splits.first_label[worst] == 0
    shots = splits.first_shots[worst, 0], splits.second_shots[worst, 0]
    assert {int(world.truth[shot]) for shot in shots} == {0, 1}
    assert splits.pairs[worst] == 36


def test_gain_counts_the_pairs_of_faces_that_an_answer_moves_for_a_second() -> None:
    world = two_faced_world()
    heavy = replace(world, faces=np.full(len(world.truth), 3))
    slow = replace(SELECTION, merge_s=8.0)
    settled = settle([], world.known, SELECTION.trust)

    def first_gain(some: World, selection: SelectionParams) -> float:
        given, found = clustered(some, settled)
        pool = make_pool(given, found.confidence, [], settled, selection, with_settled=False)
        return next(pick for pick in ranked(pool) if pick.topic.kind == "merge").gain_per_s

    plain = first_gain(world, SELECTION)
    assert first_gain(heavy, SELECTION) == pytest.approx(9 * plain)
    assert first_gain(world, slow) == pytest.approx(plain / 2)


def test_a_batch_asks_about_each_cluster_once_as_long_as_there_are_others() -> None:
    picks = ranked(pool_of(two_faced_world(), []))
    chosen = batch(picks, 10)
    labels = [label for pick in chosen for label in set(pick.labels)]
    assert len(chosen) == 10
    assert len(set(labels)) == len(labels)
    assert len(batch(picks[:3], 10)) == 3


def test_best_shots_are_sharp_and_in_the_middle_of_their_cluster() -> None:
    world = two_faced_world(people=4, two_faced=4)
    quality = np.full(len(world.truth), 0.4, np.float32)
    quality[7] = 1.0
    nodes = Nodes(
        node_ids=world.nodes.node_ids,
        vectors=world.nodes.vectors,
        weights=world.nodes.weights,
        quality=quality,
        subset=world.nodes.subset,
    )
    given, _ = clustered(replace(world, nodes=nodes), settle([], world.known, SELECTION.trust))
    shots = best_shots(given, given.labels, given.count)
    assert shots[given.labels[7], 0] == 7
    assert shots.shape == (8, 3)
    for label, rows in enumerate(shots):
        assert set(given.labels[rows[rows >= 0]]) == {label}
        assert np.count_nonzero(rows >= 0) == min(3, np.count_nonzero(given.labels == label))


def run(
    world: World, strategy: Strategy, *, error_rate: float = 0.0, seed: int = 0, questions: int = 60
) -> list[Progress]:
    return simulate(
        world,
        Oracle(truth=world.truth, error_rate=error_rate),
        SELECTION,
        SimulationParams(strategy=strategy, questions=questions, batch_size=4, seed=seed),
    )


def test_answers_to_our_questions_make_a_world_whole_and_say_what_they_cost() -> None:
    world = two_faced_world()
    history = run(world, "expected_gain")
    assert history[0].pairwise_f < 0.95
    assert history[-1].pairwise_f == 1.0
    assert [progress.questions for progress in history] == list(range(0, 61, 4))
    assert history[-1].minutes == pytest.approx(60 * 4 / 60)
    assert history[-1].wrong_answers == history[-1].wrong_constraints == 0


@pytest.mark.parametrize("error_rate", [0.0, 0.03])
def test_ours_needs_at_most_half_the_answers_of_a_random_order(error_rate: float) -> None:
    needed: dict[Strategy, int] = {}
    strategies: tuple[Strategy, ...] = ("expected_gain", "random")
    for strategy in strategies:
        reached = [
            questions_to_reach(run(two_faced_world(seed=seed), strategy, error_rate=error_rate, seed=seed), 0.99)
            for seed in range(3)
        ]
        needed[strategy] = sum(61 if count is None else count for count in reached)
    assert 2 * needed["expected_gain"] <= needed["random"]


def test_wrong_answers_are_found_out_by_asking_again() -> None:
    world = two_faced_world()
    history = run(world, "expected_gain", error_rate=0.15, seed=2, questions=160)
    assert history[-1].wrong_answers > 10
    assert history[-1].wrong_constraints <= 2
    assert history[-1].pairwise_f > history[0].pairwise_f


def test_the_same_seed_gives_the_same_run_and_rows_in_another_order_as_well() -> None:
    world = two_faced_world(people=15, two_faced=4)
    order = np.random.default_rng(1).permutation(len(world.truth))
    turned = replace(world, nodes=world.nodes.at(order), truth=world.truth[order])
    first = run(world, "expected_gain", error_rate=0.1, questions=24)
    assert run(world, "expected_gain", error_rate=0.1, questions=24) == first
    last = run(turned, "expected_gain", questions=24)[-1]
    assert last.pairwise_f == run(world, "expected_gain", questions=24)[-1].pairwise_f


def test_reaching_a_score_means_never_losing_it_again() -> None:
    def at(questions: int, score: float) -> Progress:
        return Progress(
            questions=questions,
            minutes=questions / 15,
            pairwise_precision=1.0,
            pairwise_recall=score,
            pairwise_f=score,
            bcubed_f=score,
            clusters=1,
            wrong_answers=0,
            wrong_constraints=0,
        )

    history = [at(0, 0.9), at(5, 0.99), at(10, 0.98), at(15, 0.99), at(20, 1.0)]
    assert questions_to_reach(history, 0.99) == 15
    assert questions_to_reach(history, 0.9) == 0
    assert questions_to_reach(history[:3], 0.99) is None
    points = average_curve([history, [at(0, 0.8), at(10, 0.9)]])
    assert [(point.questions, point.lowest_f, point.highest_f) for point in points] == [
        (0, 0.8, 0.9),
        (5, 0.8, 0.99),
        (10, 0.9, 0.98),
        (15, 0.9, 0.99),
        (20, 0.9, 1.0),
    ]
    assert points[1].pairwise_f == pytest.approx(0.895)
    with pytest.raises(DataError, match="at least one"):
        average_curve([])


def test_a_world_where_nothing_is_in_doubt_ends_the_run() -> None:
    world = two_faced_world(people=2, two_faced=0)
    history = run(world, "margin", questions=50)
    assert history[-1].questions < 50
    assert history[-1].pairwise_f == 1.0


def test_numbers_out_of_range_are_refused() -> None:
    world = two_faced_world(people=2, two_faced=0)
    with pytest.raises(ConfigError, match="of no use"):
        Oracle(truth=world.truth, error_rate=0.5)
    with pytest.raises(ConfigError, match="batches"):
        SimulationParams(strategy="random", questions=1, batch_size=0, seed=0)
    with pytest.raises(ConfigError, match="seconds"):
        replace(SELECTION, split_s=0.0)
    with pytest.raises(DataError, match="at least one node"):
        World(
            nodes=world.nodes,
            faces=world.faces[:1],
            truth=world.truth,
            known=NOTHING_KNOWN,
            partition_params=PARTITION,
        )
