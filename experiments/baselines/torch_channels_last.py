"""Torch with pictures laid out as oneDNN and cuDNN convolve them fastest: channels last."""

import functools

import torch

from experiments.baselines import torch_loop

prepare = functools.partial(torch_loop.prepare, layout=torch.channels_last)
