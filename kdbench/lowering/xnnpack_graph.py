"""The graph that XNNPACK's delegate carries, read far enough to know how its constants are stored."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.lowering.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

with quiet():
    from executorch.backends.xnnpack import serialization
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir._serialize._flatbuffer import _get_flatc_path

_STORED = {
    "fp32": "float32", "pfp32": "float32", "fp16": "float16", "bf16": "bfloat16", "qint8": "int8", "qcint8": "int8",
    "qdint8": "int8", "qpint8": "int8", "quint8": "uint8", "qint32": "int32", "qcint32": "int32", "int32": "int32",
    "qcint4": "int4", "qbint4": "int4",
}  # fmt: skip
_AS_JSON = ("--json", "--defaults-json", "--strict-json")
_NOT_A_NUMBER = re.compile(r"(?<=[:\[, ])(-?)(inf|nan)(?=[,\s\]}])")


def constants_of(graph: Any, named: Mapping[str, int], taken: set[str]) -> Counter[str]:
    """Bytes of constant data by the type that XNNPACK reads them as: ``int8``, ``float32``, ``int4`` ...

    ``graph`` is one of ``graph_of``; ``named`` are the sizes of the program's named data, where today's ExecuTorch puts
    constants. The keys that the graph refers to are added to ``taken``; a constant that is in there already is not
    counted again.

    Raises:
        UsageError: the graph refers to data that is not there.
    """
    table = graph.get("constant_data", [])
    sizes: Counter[str] = Counter()
    counted: set[int] = {0}  # index 0 stands for "no constant"

    def count(index: int, dtype: str) -> None:
        if index in counted:
            return
        counted.add(index)
        if index >= len(table):
            raise UsageError(f"XNNPACK graph refers to constant {index} of {len(table)}")
        entry = table[index]
        key = entry.get("named_key", "")
        if key in taken:
            return
        if key and key not in named:
            raise UsageError(f"XNNPACK graph refers to named data {key!r} that the program does not have")
        if key:
            taken.add(key)
        sizes[dtype] += named[key] if key else entry["size"]

    for value in graph["xvalues"]:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)
        count(tensor.get("constant_buffer_idx", 0), _STORED[tensor["datatype"].removeprefix("xnn_datatype_")])
        scales = union.get("quant_params") or {}
        if "scale_buffer_idx" in scales:
            dtype = "bfloat16" if _is_grouped(union) else "float32"
            count(scales["scale_buffer_idx"], dtype)
    return sizes


def _is_grouped(union: Mapping[str, Any]) -> bool:
    """Whether a value is quantised by groups within a channel, whose scales are stored as bfloat16."""
    return "PerChannelGroup" in str(union.get("quant_params_type", ""))


def graph_of(blob: bytes) -> Any:
    """The graph as JSON, by ExecuTorch's own flatbuffer compiler and XNNPACK's schema.

    Raises:
        UsageError: the blob holds no graph that can be read.
    """
    header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
    if not header.is_valid():
        raise UsageError("the XNNPACK delegate has no valid header")
    graph = blob[header.flatbuffer_offset : header.flatbuffer_offset + header.flatbuffer_size]
    schema = files(serialization).joinpath("runtime_schema.fbs").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "runtime_schema.fbs").write_bytes(schema)
        (place / "graph.bin").write_bytes(graph)
        # As ExecuTorch calls it, but for the screenful of usage that a damaged graph makes it write to the terminal.
        words = [_get_flatc_path(), "--raw-binary", *_AS_JSON, "-o", folder, "runtime_schema.fbs", "--", "graph.bin"]
        done = subprocess.run(words, cwd=folder, check=False, capture_output=True, text=True, errors="replace")
        if done.returncode:
            said = (done.stderr or done.stdout).strip().rpartition("\n")[2].strip()
            raise UsageError(f"its XNNPACK graph cannot be read: {said or f'flatc ended with {done.returncode}'}")
        text = (place / "graph.json").read_text(encoding="utf-8")
    return json.loads(_NOT_A_NUMBER.sub(_as_json, text))


def _as_json(match: re.Match[str]) -> str:
    return match[1] + {"inf": "Infinity", "nan": "NaN"}[match[2]]
