"""Random states go on where they were."""

from __future__ import annotations

import json
import random

import numpy as np
import torch

from equipoise import random_states


def draws() -> list[float]:
    return [random.gauss(0, 1), float(np.random.standard_normal()), torch.randn([]).item()]


def test_all_generators_go_on_where_they_were() -> None:
    draws()  # each of the first two has half a pair in store
    device = torch.device("cpu")
    plain, tensors = json.loads(json.dumps(random_states.of_host())), random_states.of_device(device)
    expected = draws() + draws()
    random_states.restore(plain, tensors, device)
    assert draws() + draws() == expected
