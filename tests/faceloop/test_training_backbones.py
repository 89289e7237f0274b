"""Backbones: what they take and give, equal for equal seeds, rebuilt from one small file."""

import pytest
import torch
from torch import nn

from faceloop.training.backbones.architecture import Architecture, BackboneKind, build_backbone
from faceloop.training.backbones.freezing import freeze_batch_norms
from facestore.errors import ConfigError, ModelCorrupt

# Depth, and parameters in millions at the dimension that is usual: as published with MobileFaceNet and InsightFace.
PUBLISHED: dict[BackboneKind, tuple[int, int, float]] = {
    "mobilefacenet": (3 * 15 + 4, 128, 0.99),
    "iresnet18": (2 * 8 + 5, 512, 24.03),
    "iresnet50": (2 * 24 + 5, 512, 43.59),
    "iresnet100": (2 * 49 + 5, 512, 65.16),
}


def _crops(count: int = 2) -> torch.Tensor:
    return torch.randn((count, 3, 112, 112), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["mobilefacenet", "iresnet18"])
def test_a_backbone_takes_crops_to_raw_features_and_every_parameter_learns(kind: BackboneKind) -> None:
    backbone = build_backbone(Architecture(kind=kind, dimension=128))
    features = backbone(_crops())
    assert features.shape == (2, 128)
    assert features.dtype == torch.float32
    features.square().sum().backward()
    learning = [value for value in backbone.parameters() if value.requires_grad]
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in learning)


def test_equal_seeds_are_equal_weights_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    architecture = Architecture(kind="mobilefacenet", dimension=64)
    first, same, other = (build_backbone(architecture, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_backbone_has_the_depth_and_the_size_that_were_published(kind: BackboneKind) -> None:
    depth, dimension, millions = PUBLISHED[kind]
    with torch.device("meta"):  # shapes without memory
        backbone = build_backbone(Architecture(kind=kind, dimension=dimension))
    assert sum(isinstance(module, nn.Conv2d) for module in backbone.modules()) == depth
    assert sum(value.numel() for value in backbone.parameters()) / 1e6 == pytest.approx(millions, rel=0.015)


def test_iresnets_parameters_have_the_names_of_insightfaces_checkpoints() -> None:
    with torch.device("meta"):
        names = set(build_backbone(Architecture(kind="iresnet50", dimension=512)).state_dict())
    assert {"conv1.weight", "prelu.weight", "layer1.0.downsample.1.running_var", "layer3.13.bn3.bias"} <= names
    assert {"layer4.2.conv2.weight", "bn2.weight", "fc.bias", "features.running_mean"} <= names


def test_an_architecture_is_the_same_after_its_file() -> None:
    architecture = Architecture(kind="iresnet18", dimension=512)
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert Architecture.from_json(architecture.to_json()).to_json() == architecture.to_json()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"kind": "iresnet18"}', '{"kind": "vgg", "dimension": 8, "arguments": {}}']
)
def test_a_file_that_is_no_architecture_is_refused(text: str) -> None:
    with pytest.raises(ModelCorrupt):
        Architecture.from_json(text)


def test_arguments_that_a_kind_does_not_take_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes no arguments"):
        build_backbone(Architecture(kind="mobilefacenet", dimension=8, arguments={"width": 2}))
    with pytest.raises(ConfigError, match="dimension"):
        build_backbone(Architecture(kind="iresnet18", dimension=0))
    with pytest.raises(ConfigError, match="read from a pack"):
        build_backbone(Architecture(kind="graph", dimension=8))


def test_frozen_batch_norms_stay_as_they_are_through_training_steps() -> None:
    architecture = Architecture(kind="mobilefacenet", dimension=16)
    frozen = freeze_batch_norms(build_backbone(architecture))
    assert set(frozen.state_dict()) == set(build_backbone(architecture).state_dict())
    norms = [module for module in frozen.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == 50
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    frozen.train()
    assert frozen.training
    frozen(_crops() * 3 + 1).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert not any(value.requires_grad for norm in norms for value in norm.parameters())
    alone, together = frozen(_crops()[:1]), frozen(_crops())
    assert torch.allclose(alone, together[:1], atol=1e-4)
