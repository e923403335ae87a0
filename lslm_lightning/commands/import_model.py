"""`lslm import PATH`: make a run of a model of Hugging Face's transformers."""

import os
from pathlib import Path

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import DONE

DESCRIPTION = """Make a run of a model of transformers, which generate, evaluate and log-prob take.

  lslm import Helsinki-NLP/opus-mt-en-de --output runs/translation/opus
  lslm import FOLDER --output runs/language_modeling/gpt2
  lslm import google-t5/t5-small --task summarization --output runs/summarization/t5
  lslm import Helsinki-NLP/opus-mt-en-mul --prefix ">>deu<< " --output runs/translation/german
  lslm generate runs/translation/opus "A dog runs."

The run has the Transformer, the search and the tokenizer of this project, and the weights of the
model; a task prefix, the code of a target language and a chat template become part of it. Before it
appears, its ids, logits and greedy answers to texts in several scripts are compared with those of
transformers. Weights are read from safetensors, or as tensors alone from pytorch_model.bin; code
from the repository of a model is never run. A model with a part that the Transformer here lacks is
refused. Layouts: bart, bert, blenderbot, electra, gpt2, gpt_neox, llama, marian, mbart, mistral,
pegasus, qwen2, stablelm, starcoder2, t5."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm import", description=DESCRIPTION, allow_abbrev=False)
    path = "a folder saved with save_pretrained, tokenizer included, or a hub id"
    parser.add_argument("path", metavar="PATH", help=path)
    output = "run directory to write; it must be new or empty"
    parser.add_argument("--output", type=Path, metavar="RUN", required=True, help=output)
    tasks = ("language_modeling", "translation", "summarization", "question_answering")
    task = "task of the run (default: told from the layout)"
    parser.add_argument("--task", choices=tasks, help=task)
    prefix = "text before each input, such as 'summarize: ' (default: what the model states)"
    parser.add_argument("--prefix", metavar="TEXT", help=prefix)
    return parser


def main(argv: list[str]) -> int:
    """Write the run, print what was read, and return the exit status."""
    own = arguments().parse_args(argv[1:])
    from lslm_lightning.interchange.importing import import_model
    from lslm_lightning.interchange.verification import agreement_line

    source, output = os.path.expanduser(own.path), os.path.expanduser(own.output)
    found = import_model(source, output, task=own.task, prefix=own.prefix)
    path = found.directory.path
    print(f"{path}: {found.task}, {found.layout}, {found.n_parameter:,} parameters")
    for note in found.notes:
        print(f"  {note}")
    print(agreement_line(found.verification))
    return DONE
