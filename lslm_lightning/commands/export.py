"""`lslm export RUN`: write a model to a folder that another library reads."""

import os
from pathlib import Path

from lslm_lightning.commands.arguments import RUN, TRUST_HELP, Parser
from lslm_lightning.exit_status import DONE

DESCRIPTION = """Write the model of a run to a folder that another library reads without code of
this project.

  lslm export runs/translation/cldr_demo-1a2b3c4d --to huggingface --output model
  lslm export RUN --output model --dtype bfloat16
  lslm export RUN --output model --layout starcoder2      where more than one layout fits
  lslm export RUN --output model --to ctranslate2 --dtype int8
  lslm export RUN --output model --to onnx
  lslm export RUN --output model --to gguf                for llama.cpp
  lslm export RUN --output model --to litert --layout 128x64      for sources and answers so long

The folder for transformers holds config.json, model.safetensors, the tokenizer,
generation_config.json with the run's search, and README.md, the model card; that for CTranslate2
holds model.bin, the tokenizer and the card; that for ONNX encoder.onnx and decoder.onnx, one step
with its keys and values, a description of their inputs, the tokenizer and the card; that for
llama.cpp model.gguf and the card; that for LiteRT (TensorFlow Lite) model.tflite, for texts up to a
fixed length, a description of it, the tokenizer and the card. Before a folder appears it is loaded
again: ids, logits and greedy answers to texts of the run's test split must be those of the run; of
int8, the share of equal answers is printed. A model that cannot be expressed is refused, with the
settings of one that can be exported."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm export", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", help=RUN)
    formats = ("huggingface", "ctranslate2", "onnx", "gguf", "litert")
    to = "reader: transformers (default), CTranslate2, onnxruntime, llama.cpp or LiteRT"
    parser.add_argument("--to", choices=formats, default="huggingface", help=to)
    output = "folder to write; it must be new or empty"
    parser.add_argument("--output", type=Path, metavar="DIR", required=True, help=output)
    types = ("float32", "float16", "bfloat16", "int8")
    dtype = "type of the weights; int8 is for ctranslate2, onnx and gguf, float32 for all"
    parser.add_argument("--dtype", choices=types, default="float32", help=dtype)
    layout = "llama, pegasus, ...; onnx: opset20-greedy; litert: 128x64 (default: one that fits)"
    parser.add_argument("--layout", metavar="NAME", help=layout)
    parser.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return parser


def main(argv: list[str]) -> int:
    """Write the folder, print what was written, and return the exit status."""
    own = arguments().parse_args(argv[1:])
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.interchange.exporting import export_model
    from lslm_lightning.interchange.verification import agreement_line

    output = os.path.expanduser(own.output)
    given = {"dtype": own.dtype, "layout": own.layout, "trust": own.trust}
    export = export_model(named_run(own.run), output, own.to, **given)
    n_mb = export.n_byte / 1e6
    print(f"{export.path}: {export.layout}, {export.n_parameter:,} parameters, {n_mb:,.1f} MB")
    print(agreement_line(export.verification))
    return DONE
