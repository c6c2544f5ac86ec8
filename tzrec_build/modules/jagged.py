"""Operations on jagged tensors that FX must not look into: their result depends on the data.

Each function is a leaf for FX tracing and compiles with TorchScript (hence typing.List and plain statements).
"""

from typing import List  # noqa: UP035 - TorchScript of generated code knows this name

import torch
import torch.fx
from torchrec import KeyedJaggedTensor


@torch.fx.wrap
def longest(lengths: torch.Tensor) -> int:
    """Return the greatest of the lengths, at least 1, so that a padded sequence is never empty."""
    if lengths.numel() == 0:
        return 1
    return max(int(lengths.max().item()), 1)


@torch.fx.wrap
def pad_sequence(values: torch.Tensor, lengths: torch.Tensor, max_length: int) -> torch.Tensor:
    """Lay out rows one below the other with zeros after their end: [sum T, D], [B] -> [B, max_length, D].

    Rows longer than max_length are cut.
    """
    offsets = torch.ops.fbgemm.asynchronous_complete_cumsum(lengths)
    return torch.ops.fbgemm.jagged_2d_to_dense(values, offsets, max_length)


@torch.fx.wrap
def scale_mean_weights(features: KeyedJaggedTensor, mean_features: List[str]) -> KeyedJaggedTensor:  # noqa: UP006
    """Divide the weights of mean-pooled features by the ids in their bag, so that a sum gives the mean.

    torch's bags refuse weights together with mean pooling; the weighted mean here is `sum(w * row) / count`. fbgemm's CPU
    kernel takes both but forgets `1 / count` in the gradient (fbgemm-gpu-cpu 1.8.0), so TorchEasyRec trains a mean-pooled
    feature beside a weighted one with steps that are too long; the sum has the right gradient.
    """
    is_mean = [1.0 if key in mean_features else 0.0 for key in features.keys()]  # noqa: SIM118 - not a dict
    lengths = features.lengths()
    rows = features.stride()
    mask = torch.tensor(is_mean, dtype=torch.float32, device=lengths.device).repeat_interleave(rows)
    scale = torch.where(mask > 0, 1.0 / torch.clamp(lengths, min=1).to(torch.float32), torch.ones_like(mask))
    return KeyedJaggedTensor(
        keys=features.keys(),
        values=features.values(),
        weights=features.weights() * torch.repeat_interleave(scale, lengths),
        lengths=lengths,
    )
