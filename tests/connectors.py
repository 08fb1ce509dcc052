"""Networks of unequal depth and width for methods that connect their stages, and a connector written out."""

import numpy as np
import torch

STUDENT = {"stem": (3, 8, 8), "one": (3, 8, 8), "two": (3, 4, 4), "pool": (3,)}
TEACHER = {"stem": (4, 8, 8), "a": (4, 8, 8), "b": (5, 8, 8), "c": (6, 8, 8), "pool": (6,)}


def prepared(method, setting):
    """The method, its taps, and its connectors in float64."""
    taps = method.taps(STUDENT, TEACHER)
    torch.manual_seed(0)
    return method, taps, method.prepare(setting(STUDENT, TEACHER)).double()


def connected(connector, maps):
    """What a connector makes of maps [B, C, H, W] in train mode."""
    out = np.einsum("oc,bchw->bohw", connector.conv.weight.detach().numpy()[:, :, 0, 0], maps)
    mean, variance = out.mean(axis=(0, 2, 3), keepdims=True), out.var(axis=(0, 2, 3), keepdims=True)
    return (out - mean) / np.sqrt(variance + 1e-5)
