import numpy as np
import pytest
import torch

from tzrec_build.errors import ConfigError
from tzrec_build.modules.activation import Dice, build_activation


def test_dice_mixes_by_the_gate_of_the_normalised_input():
    dice = Dice(3).train()
    with torch.no_grad():
        dice.alpha.copy_(torch.tensor([0.5, 0.0, -1.0]))
    x = np.random.default_rng(3).normal(size=(7, 3)).astype(np.float32)
    gate = 1 / (1 + np.exp(-(x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)))
    expected = gate * x + (1 - gate) * np.array([0.5, 0.0, -1.0]) * x
    np.testing.assert_allclose(dice(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "kind"), [("nn.ReLU", "ReLU"), ("torch.nn.Sigmoid", "Sigmoid"), ("GELU", "GELU"), ("Dice", "Dice")]
)
def test_a_name_gives_its_class(text, kind):
    assert type(build_activation(text, 4, "mlp")).__name__ == kind


def test_literal_arguments_are_passed():
    assert build_activation("nn.LeakyReLU(negative_slope=0.3)", 4, "mlp").negative_slope == 0.3


def test_an_empty_text_means_no_activation():
    assert build_activation("", 4, "mlp") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nn.Relu", "mlp: activation must be Dice or a class of torch.nn, got 'nn.Relu'; did you mean 'ReLU'?"),
        ("nn.Linear", "mlp: activation must be Dice or a class of torch.nn, got 'nn.Linear'"),
        ("nn.ELU(0.5)", "mlp: activation arguments must be named, got 'nn.ELU(0.5)'; write e.g. nn.ELU(alpha=0.5)"),
        ("nn.ELU(alpha=open('x'))", "mlp: activation must look like nn.ReLU or nn.ELU(alpha=0.5), got"),
        ("nn.ELU(", "mlp: activation must look like nn.ReLU or nn.ELU(alpha=0.5), got 'nn.ELU('"),
        ("nn.ELU(beta=1)", "mlp: activation 'nn.ELU(beta=1)' refuses its arguments"),
    ],
)
def test_other_texts_are_refused_without_evaluation(text, message):
    with pytest.raises(ConfigError) as caught:
        build_activation(text, 4, "mlp")
    assert str(caught.value).startswith(message)
