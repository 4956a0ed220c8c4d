"""K + 1 classes: a discriminator that names the classes of real images (Salimans et al. 2016, arXiv:1606.03498).

Of K + 1 logits one may be fixed, and that of the fakes is 0: with the others' log of summed exponentials s, an image is
real with probability exp(s) / (exp(s) + 1), so that K outputs are enough.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.apps.recognise.features import output_of


def widened(discriminator: nn.Module, classes: int) -> nn.Module:
    """A copy of an unconditional discriminator whose last layer, drawn anew, gives an output for each class."""
    network = copy.deepcopy(discriminator)
    last = output_of(network)
    if isinstance(last, nn.Conv2d):
        network.output = nn.Conv2d(last.in_channels, classes, last.kernel_size, last.stride, last.padding)  # type: ignore[arg-type]
    else:
        assert isinstance(last, nn.Linear)
        network.output = nn.Linear(last.in_features, classes)
    return network


def unsupervised(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) with D = Z / (Z + 1), of class logits [N, K] each, per sample [N]."""
    s, t = torch.logsumexp(real, dim=1), torch.logsumexp(fake, dim=1)
    return F.softplus(-s) + F.softplus(t)
