import pickle

import pytest
import torch

from tzrec_build.errors import ConfigError
from tzrec_build.modules.init import build_init_fn


def test_arguments_bound_the_values():
    table = build_init_fn("nn.init.uniform_,a=-0.01,b=0.02", "table 't'")(torch.empty(200, 3))
    assert -0.01 <= table.min() < -0.009
    assert 0.019 < table.max() <= 0.02


def test_making_an_initialiser_draws_no_random_number():
    before = torch.get_rng_state()
    build_init_fn("nn.init.normal_", "table 't'")
    assert torch.equal(before, torch.get_rng_state())


def test_an_initialiser_can_travel_to_another_process():
    fill = pickle.loads(pickle.dumps(build_init_fn("nn.init.constant_,val=3", "table 't'")))
    assert fill(torch.empty(2)).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "nn.init.uniform,a=0",
            (
                "table 't': init_fn must name a function of torch.nn.init, got 'nn.init.uniform,a=0'"
                "; did you mean 'uniform_'?"
            ),
        ),
        ("os.system,command='x'", "table 't': init_fn must name a function of torch.nn.init, got"),
        ("nn.init.uniform_,a=f(1)", "table 't': init_fn arguments must be name=value with plain values, got"),
        ("nn.init.uniform_,0.1", "table 't': init_fn arguments must be name=value with plain values, got"),
        ("nn.init.uniform_,c=1", "table 't': init_fn 'nn.init.uniform_,c=1' refuses its arguments"),
    ],
)
def test_other_texts_are_refused_without_evaluation(text, message):
    with pytest.raises(ConfigError) as caught:
        build_init_fn(text, "table 't'")
    assert str(caught.value).startswith(message)
