"""Jobs for small programs, and what ExecuTorch's own runtime answers to them."""

from dataclasses import replace

import numpy as np

from kdbench.devices.job import Input, Interleave, Job, Load, Predict, Program

TYPES = ("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")


def predict(tiny, **changes):
    """A job that runs every item of a program with one input."""
    job = Job((Program("p", tiny.path),), (Input("x", tiny.inputs),), (Load("p"), Predict("p", "x")), timeout_s=60)
    return replace(job, **changes)


def interleave(names, *, runs=20, seed=0, **changes):
    """Blocks of one run each: as many of each program as there are ``runs``."""
    times = {"warmup_runs": 2, "warmup_ns": 0, "min_runs": runs, "min_ns": 0, "max_ns": 10**11, "block_ns": 0}
    return Interleave(tuple(names), dict.fromkeys(names, "x"), **{**times, **changes}, seed=seed)


def timing(programs, step, **changes):
    """A job that loads programs with equal inputs, by name, and times them."""
    entries = tuple(Program(name, tiny.path) for name, tiny in programs.items())
    inputs = (Input("x", next(iter(programs.values())).inputs),)
    return Job(entries, inputs, (*(Load(name) for name in programs), step), **{"timeout_s": 60, **changes})


def expected(path, rows, method="forward"):
    """What ExecuTorch's own Python runtime puts out for each row of tensors."""
    import warnings

    from kdbench.lowering.quiet import quiet

    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This API is experimental")
        from executorch.runtime import Runtime

        loaded = Runtime.get().load_program(path).load_method(method)
        return [[output.clone() for output in loaded.execute(list(row))] for row in rows]


def row_tensors(*arrays):
    """The inputs of each item as tensors."""
    import torch

    return [[torch.from_numpy(np.ascontiguousarray(array[i])) for array in arrays] for i in range(len(arrays[0]))]
