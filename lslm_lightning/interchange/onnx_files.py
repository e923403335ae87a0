"""Files of a model in ONNX: its graphs, with weights in several types, and their description."""

import json
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from lslm_lightning.extras import MissingPackageError
from lslm_lightning.interchange.onnx_graphs import (
    DECODER,
    ENCODER,
    GREEDY,
    TracedModel,
    quiet,
    write_graphs,
    write_greedy,
)
from lslm_lightning.interchange.verification import AnyTask
from lslm_lightning.interchange.written import cast_to, ids_and_lengths
from lslm_lightning.safety.user_files import permit_as_usual
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.types import JsonObject

DTYPES = ("float32", "float16", "bfloat16", "int8")
CONFIG = "config.json"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
QUANTIZED = ["Gather", "MatMul"]  # operations whose weights are rounded to int8
INPUTS: JsonObject = {
    "ids": "int64 (rows, length), the next tokens of each row; the first is bos_id",
    "past.*": "float32 (rows, heads, past, size), keys and values before ids; at first past is 0",
    "wanted": "int64 (wanted), indices of those ids after which logits are returned",
    "logits": "float32 (rows, wanted, vocab_size), scores of the token after each of these ids",
    "present.*": "past.* of the next step",
}
SOURCE_INPUTS: JsonObject = {
    "source": "int64 (sources, source_length), ids of each source up to eos_id, then pad_id",
    "cross.*": "outputs of the encoder, which the decoder reads at every step; each source may "
    "have several rows, one behind the other",
}
GREEDY_INPUTS: JsonObject = {
    "ids": "int64 (rows, length), the given ids of each row, and any ids in place of the others",
    "n_given": "int64 (), number of ids in front that are given; 1 with bos_id where there are "
    "sources",
    "answers": "int64 (rows, length), ids with the answers behind the given ones; after an answer "
    "eos_id",
}
COPY_INPUTS: JsonObject = {"memory": "output of the encoder, from which the decoder copies tokens"}


def check_installed() -> None:
    """Raise ValueError if a package is missing that writes or runs ONNX."""
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError:
            raise ValueError(MissingPackageError(package, "the format ONNX")) from None


def write_model(task: AnyTask, dtype: str, folder: Path, has_loop: bool = False) -> None:
    """Write the graphs of a task, and config.json, which describes them, into a folder.

    Args:
        task: task with trained weights and without an adapter.
        dtype: type of the weights, one of `DTYPES`. The graphs compute in float32, except products
            with weights in int8.
        has_loop: write a graph of a whole greedy search, too; not in int8.

    Raises:
        ValueError: the model cannot be traced, or the type cannot hold a weight.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} must be one of {', '.join(DTYPES)}")
    if dtype == "int8":
        with tempfile.TemporaryDirectory(prefix="lslm-onnx-") as exact:
            write_graphs(task, Path(exact))
            for path in list(Path(exact).glob("*.onnx")):
                quantize(path, folder / path.name)
    elif dtype == "float32":
        write_graphs(task, folder)
    else:
        for name, weight in task.state_dict().items():
            cast_to(name, weight, dtype)
        write_graphs(task, folder, getattr(torch, dtype))
    if has_loop:
        write_greedy(task, folder / GREEDY, getattr(torch, dtype))
    if dtype in ("float16", "bfloat16"):
        for path in list(folder.glob("*.onnx")):
            store_in_16_bits(path, dtype)
    for path in folder.glob("*.onnx*"):
        permit_as_usual(path)
    text = json.dumps(description(task, dtype, has_loop), ensure_ascii=False, indent=2)
    (folder / CONFIG).write_text(f"{text}\n", "utf-8")


def description(task: AnyTask, dtype: str, has_loop: bool = False) -> JsonObject:
    """Return the content of config.json: files, ids and lengths that a program needs to use the
    graphs, and the meaning of their inputs and outputs.
    """
    files: JsonObject = {"decoder": DECODER, "dtype": dtype, "inputs": INPUTS}
    if has_loop:
        files |= {"greedy": GREEDY, "inputs of greedy": GREEDY_INPUTS}
    if isinstance(task, CausalTask):
        return {**ids_and_lengths(task), **files}
    copied = COPY_INPUTS if TracedModel(task).copies_source else {}
    files["inputs"] = SOURCE_INPUTS | copied | INPUTS
    return {**ids_and_lengths(task), "encoder": ENCODER, **files}


def quantize(path: Path, output: Path) -> None:
    """Write a graph whose weights of matrix products and embeddings are rounded to 8 bits."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folded = path.with_name(f"folded-{path.name}")  # a tied head multiplies by a constant then
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    with quiet():
        quantize_dynamic(
            folded,
            output,
            op_types_to_quantize=QUANTIZED,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )


def store_in_16_bits(path: Path, dtype: str) -> None:
    """Write a graph again, with the weights that 16 bits hold exactly stored in them. They are cast
    to float32 when the graph is loaded.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind = helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(dtype.upper()))
    model = onnx.load(path)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        exact = numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):  # of constants that are no weights
            rounded = exact.astype(kind)
        if exact.size > 1 and np.array_equal(rounded.astype(np.float32), exact):
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(rounded, f"{name}.{dtype}"))
            casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    onnx.save(model, path)
