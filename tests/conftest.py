"""Settings of every test: threads that do not spin and do not fight over the cores."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by OpenMP when torch loads

import torch

torch.set_num_threads(1)
