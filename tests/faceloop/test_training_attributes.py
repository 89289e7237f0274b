"""Attribute heads on small worlds whose answer is known: masks, balancing, order in time, figures over people."""

from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.training.attributes.attribute_params import BalancingParams, RecipeParams
from faceloop.training.attributes.balancing import FixedWeights, GradNorm, UncertaintyWeights
from faceloop.training.attributes.canonical_heads import heads_to_onnx
from faceloop.training.attributes.fitting import Course, Samples, fit, outputs_of
from faceloop.training.attributes.heads import ClipHeads, FaceHeads, PixelHeads, unfreeze_last
from faceloop.training.attributes.losses import head_losses
from faceloop.training.attributes.measuring_heads import calibrate, measure_head, probabilities
from faceloop.training.attributes.targets import Answer, Head, choose_heads, columns_of, target_matrix
from faceloop.vision.sessions import open_session
from facestore.errors import ConfigError, ModelCorrupt

from .attribute_world import classes, number, params_of

EVEN = BalancingParams(kind="fixed", weights={}, gradnorm_alpha=1.0)
SUPPORT = params_of().support
INTERVALS = params_of().intervals


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _course(*heads: Head, epochs: int = 30, rate: float = 0.01, balancing: BalancingParams = EVEN) -> Course:
    recipe = RecipeParams(epochs=epochs, batch_size=64, learning_rate=rate, weight_decay=0.0)
    return Course(heads=heads, recipe=recipe, balancing=balancing, label_smoothing=0.0, seed=1)


def heads_of(network: FaceHeads) -> list[torch.nn.Linear]:
    return [layer for layer in network.outputs.linears if isinstance(layer, torch.nn.Linear)]


def test_what_nobody_answered_moves_no_weight() -> None:
    heads = (classes("gaze", "camera", "away"), number("yaw"))
    network = FaceHeads(4, heads, hidden_units=0, seed=1)
    targets = torch.from_numpy(
        target_matrix(["a", "b"], [Answer(item="a", person="p", name="gaze", value="away")], heads)
    )
    losses, present = head_losses(network(torch.ones(2, 4)), targets, heads, label_smoothing=0.1)
    gaze, yaw = torch.autograd.grad(losses.sum(), [head.weight for head in heads_of(network)])
    assert present.tolist() == [True, False] and float(losses[1].detach()) == 0
    assert float(yaw.abs().max()) == 0 and float(gaze.abs().max()) > 0


def test_a_mixture_with_an_unanswered_face_is_not_learnt_from() -> None:
    head = classes("gaze", "camera", "away")
    targets = torch.tensor([[0.0, 0.4, 0.4], [0.6, 0.4, 1.0]])  # mask 0.4: the partner has no answer
    logits = torch.tensor([[5.0, -5.0], [0.0, 0.0]])
    losses, _ = head_losses([logits], targets, [head], label_smoothing=0.0)
    assert float(losses[0]) == pytest.approx(np.log(2))


def test_balancing_lets_a_quiet_task_learn_beside_a_loud_one() -> None:
    """Both tasks want their own axis of a shared weight, in steps of limited length; one is ten thousand times louder
    and noisy, so that it never leaves the steps to the other."""
    far_off = {}
    for name, balancing in (
        ("fixed", FixedWeights([1.0, 1.0])),
        ("gradnorm", GradNorm(2, alpha=0.0)),
        ("uncertainty", UncertaintyWeights([True, True], [1.0, 1.0])),
    ):
        generator = torch.Generator().manual_seed(1)
        shared = torch.nn.Parameter(torch.zeros(2))
        learnt = [{"params": [shared], "lr": 0.05}, {"params": list(balancing.parameters()), "lr": 0.2}]
        optimiser = torch.optim.SGD(learnt)
        for _ in range(80):
            noise = float(torch.randn((), generator=generator))
            losses = torch.stack([10_000 * (shared[0] - 1 - noise).square(), (shared[1] - 1).square()])
            optimiser.zero_grad()
            balancing(losses, torch.ones(2, dtype=torch.bool), shared).backward()
            torch.nn.utils.clip_grad_norm_([shared], 1.0)
            optimiser.step()
        far_off[name] = abs(float(shared.detach()[1]) - 1)
    assert far_off["fixed"] > 0.9, far_off
    assert far_off["gradnorm"] < 0.5 and far_off["uncertainty"] < 0.5, far_off


def test_gradnorm_makes_the_gradients_of_two_tasks_alike() -> None:
    shared = torch.nn.Parameter(torch.ones(3))
    balancing = GradNorm(2, alpha=0.0)
    for _ in range(100):
        losses = torch.stack([50 * shared.sum(), shared[0]])
        balancing(losses, torch.ones(2, dtype=torch.bool), shared)
    weights = balancing.get_buffer("weights")
    norms = weights * torch.tensor([50 * 3**0.5, 1.0])
    assert float(weights.sum()) == pytest.approx(2)
    assert float(norms[0] / norms[1]) == pytest.approx(1, rel=0.05)


def test_heads_learn_two_attributes_of_which_each_face_has_one_answer() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    heads = (classes("gaze", "camera", "away"), number("yaw", spread=10.0))
    items = [f"i{row:03}" for row in range(300)]
    answers = [
        Answer(item=item, person="p", name="yaw", value=str(30 * vectors[row, 1]))
        if row % 2
        else Answer(item=item, person="p", name="gaze", value="away" if vectors[row, 0] > 0 else "camera")
        for row, item in enumerate(items)
    ]
    inputs, targets = torch.from_numpy(vectors), torch.from_numpy(target_matrix(items, answers, heads))
    network = FaceHeads(8, heads, hidden_units=0, seed=3)
    course = _course(*heads, epochs=60, rate=0.03)
    train = Samples(inputs=inputs[:200], targets=targets[:200])
    val = Samples(inputs=inputs[200:250], targets=targets[200:250])
    trained = fit(network, train, val, course)
    gaze, yaw = outputs_of(network, inputs[250:], course)
    assert trained.losses[-1] < trained.losses[0] / 2
    assert np.mean(gaze.argmax(axis=1) == (vectors[250:, 0] > 0)) > 0.9
    assert np.abs(yaw[:, 0] - 30 * vectors[250:, 1]).mean() < 2


def _clips(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Eyes open and shut in some order: `waking` or `dozing` differ in nothing but the order."""
    rng = np.random.default_rng(seed)
    clips = np.zeros((rows, 6, 4), np.float32)
    words = []
    for row in range(rows):
        length, is_waking = int(rng.integers(2, 7)), bool(rng.integers(2))
        is_open = (np.arange(length) >= length - length // 2) == is_waking
        faces = np.where(is_open[:, None], [1.0, 0, 0.2, 0], [0, 1.0, 0.2, 0]) + rng.normal(0, 0.05, (length, 4))
        clips[row, :length] = faces / np.linalg.norm(faces, axis=1, keepdims=True)
        words.append("waking" if is_waking else "dozing")
    head = classes("state", "waking", "dozing")
    items = [f"c{row:04}" for row in range(rows)]
    answers = [Answer(item=item, person="p", name="state", value=word) for item, word in zip(items, words, strict=True)]
    return torch.from_numpy(clips), torch.from_numpy(target_matrix(items, answers, [head])), words


def test_the_clip_head_reads_the_order_of_faces_and_a_head_on_their_mean_cannot() -> None:
    head = classes("state", "waking", "dozing")
    clips, targets, _ = _clips(260, seed=1)
    course = _course(head, epochs=25, rate=0.02)
    right = {}
    for name, network, inputs in (
        ("order", ClipHeads(4, (head,), hidden_units=8, seed=2), clips),
        ("mean", FaceHeads(4, (head,), hidden_units=8, seed=2), clips.sum(dim=1)),
    ):
        train = Samples(inputs=inputs[:200], targets=targets[:200])
        fit(network, train, Samples(inputs=inputs[:0], targets=targets[:0]), course)
        (logits,) = outputs_of(network, inputs[200:], course)
        right[name] = float(np.mean(logits.argmax(axis=1) == targets[200:, :2].argmax(dim=1).numpy()))
    assert right["order"] > 0.95 and right["mean"] < 0.8, right


def test_padding_says_nothing_of_a_clip() -> None:
    head = classes("state", "waking", "dozing")
    network = ClipHeads(4, (head,), hidden_units=8, seed=2).eval()
    clips, _, _ = _clips(5, seed=4)
    longer = torch.cat([clips, torch.zeros(5, 3, 4)], dim=1)
    with torch.no_grad():
        assert torch.allclose(network(clips)[0], network(longer)[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["faces", "clips"])
def test_the_exported_heads_say_what_torch_says_for_any_number_of_rows(kind: str) -> None:
    heads = (classes("gaze", "camera", "away", "closed"), number("yaw", mean=4.0, spread=20.0))
    generator = torch.Generator().manual_seed(5)
    network = (
        FaceHeads(8, heads, hidden_units=6, seed=1) if kind == "faces" else ClipHeads(8, heads, hidden_units=6, seed=1)
    )
    shape = (7, 8) if kind == "faces" else (7, 5, 8)
    inputs = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=-1)
    model = heads_to_onnx(network, heads, inputs[:3])
    assert model == heads_to_onnx(network, heads, inputs[:3])
    found = open_session(model, engine="onnxruntime", precision="f32", threads=1).run(inputs.numpy())
    with torch.no_grad():
        for ours, theirs in zip(found, network(inputs), strict=True):
            assert np.allclose(ours, theirs.numpy(), atol=1e-5)


def test_a_wrong_export_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = (number("yaw"),)
    network = FaceHeads(4, heads, hidden_units=0, seed=1)
    monkeypatch.setattr("faceloop.training.attributes.canonical_heads.MOST_DIFFERENCE", -1.0)
    with pytest.raises(ModelCorrupt, match="exported heads differ"):
        heads_to_onnx(network, heads, torch.ones(2, 4))


def test_of_a_backbone_only_the_last_layers_learn() -> None:
    backbone = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3))
    assert unfreeze_last(backbone, 1) == 15
    heads = (classes("gaze", "camera", "away"),)
    network = PixelHeads(backbone, FaceHeads(3, heads, hidden_units=0, seed=1))
    network(torch.ones(2, 4))[0].sum().backward()
    assert backbone[0].weight.grad is None and backbone[2].weight.grad is not None
    assert unfreeze_last(backbone, 0) == 0


VALUES = ("camera", "away", "closed")
GAZE = params_of(
    "train_attributes.heads=[{name: gaze, kind: classes, values: [camera, away, closed]}]",
    "train_attributes.clips.attributes=[]",
    "train_attributes.support.faces_per_value=3",
    "train_attributes.support.train_faces=6",
)


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from([*VALUES, "sideways"])), max_size=60), st.randoms())
@settings(max_examples=40, deadline=None)
def test_every_answer_is_used_or_counted_in_any_order(said: list[tuple[int, str]], random: Random) -> None:
    answers = [
        Answer(item=f"i{row}", person=f"p{who}", name="gaze", value=value) for row, (who, value) in enumerate(said)
    ]
    split = {f"p{who}": ("test" if who > 15 else "train") for who in range(21)}
    found = choose_heads(answers, split, GAZE.heads, GAZE.support, has_class_weights=True)  # type: ignore[arg-type]
    assert len(found.answers) + found.dropped.total() == len(answers)
    shuffled = random.sample(answers, len(answers))
    again = choose_heads(shuffled, split, GAZE.heads, GAZE.support, has_class_weights=True)  # type: ignore[arg-type]
    assert again == found
    for head in found.heads:
        train = [answer.value for answer in found.answers if split[answer.person] == "train"]
        mean = sum(head.weights[head.values.index(value)] for value in train) / len(train)
        assert mean == pytest.approx(1)
        columns = columns_of(found.heads)["gaze"]
        matrix = target_matrix([answer.item for answer in found.answers], found.answers, found.heads)
        assert (matrix[:, columns].sum(axis=1) == 1).all()


def test_figures_are_those_of_people_and_beside_what_saying_always_the_same_reaches() -> None:
    head = classes("gaze", "camera", "away")
    truth = np.array([0] * 30 + [1] * 10, np.float64)
    output = np.eye(2, dtype=np.float32)[np.r_[np.zeros(30, int), np.ones(5, int), np.zeros(5, int)]]
    people = [f"p{row % 20}" for row in range(40)]
    measure = {"support": SUPPORT, "intervals": INTERVALS, "seed": 1}
    found = measure_head(head, output, truth, people, truth, **measure)  # type: ignore[arg-type]
    assert found.confusion is not None and found.confusion.tolist() == [[30, 0], [5, 5]]
    assert found.figures["accuracy"].value == pytest.approx(0.875)
    assert found.figures["accuracy"].baseline == pytest.approx(0.75)
    assert found.figures["balanced_accuracy"].value == pytest.approx(0.75)
    assert found.figures["balanced_accuracy"].baseline == pytest.approx(0.5)
    assert found.figures["macro_f1"].value == pytest.approx((60 / 65 + 10 / 15) / 2)
    assert found.figures["accuracy"].low < 0.875 < found.figures["accuracy"].high
    one = measure_head(head, output, truth, ["p"] * 40, truth, **measure)  # type: ignore[arg-type]
    assert one.refused == "40 faces of 1 people in test; 10 of 5 are needed" and not one.figures


def test_a_number_is_measured_by_its_mean_error() -> None:
    truth = np.linspace(-20, 20, 40, dtype=np.float64)
    output = (truth + 3).astype(np.float32)[:, None]
    found = measure_head(number("yaw"), output, truth, [f"p{row}" for row in range(40)], truth,
                         support=SUPPORT, intervals=INTERVALS, seed=1)  # fmt: skip
    error = found.figures["mean_absolute_error"]
    assert error.value == pytest.approx(3, abs=1e-5) and error.low == pytest.approx(3, abs=1e-5)
    assert error.baseline == pytest.approx(np.abs(truth).mean())


def test_overconfident_logits_are_cooled_down() -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 2, 400)
    said = np.where(rng.random(400) < 0.8, truth, 1 - truth)
    logits = (10 * np.eye(2)[said]).astype(np.float32)
    found = calibrate(logits, truth, least_faces=20, sure_accuracy=0.95)
    assert probabilities(logits, found.temperature).max(axis=1).mean() == pytest.approx(0.8, abs=0.04)
    assert found.sure_probability is None  # right in 0.8 of the cases at best
    assert calibrate(logits[:10], truth[:10], least_faces=20, sure_accuracy=0.5).temperature == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train_attributes.heads=[{name: gaze, kind: classes, values: [camera]}]", "two or more values"),
        ("train_attributes.heads=[{name: yaw, kind: number, values: [a]}]", "a number has no values"),
        ("train_attributes.clips.attributes=[shoe_size]", "shoe_size"),
        ("train_attributes.balancing.weights={yaw: 0.0}", "above 0"),
        ("train_attributes.test_share=0.9", "below 1"),
    ],
)
def test_heads_that_cannot_be_are_refused_with_the_reason(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        params_of(override)


def test_gradnorm_without_a_trunk_is_refused() -> None:
    with pytest.raises(ConfigError, match="hidden_units"):
        params_of("train_attributes.hidden_units=0", "train_attributes.balancing.kind=gradnorm")
