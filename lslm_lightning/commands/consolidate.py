"""`lslm consolidate RUN`: the parts that several processes wrote as one file of weights."""

import argparse
from pathlib import Path

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.commands.outcome import DONE

DESCRIPTION = """Put the weights of a run into one safetensors file, whoever wrote them: one process, or several, each its part.

  lslm consolidate runs/translation/multi30k-1a2b3c4d              best.ckpt -> best.safetensors
  lslm consolidate RUN --state last --output weights.safetensors
  lslm generate RUN/checkpoints/best.safetensors "Ein Hund rennt."

It needs memory for the weights once, and no GPU. What it read stays."""


def arguments() -> Parser:
    """What the command knows."""
    it = Parser("lslm consolidate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    it.add_argument("run", metavar="RUN", help="a run directory or an MLflow run id")
    it.add_argument("--state", choices=("best", "last"), default="best", help="which weights (default: best)")
    it.add_argument("--output", type=Path, metavar="FILE", help="where to (default: beside the state)")
    return it


def main(argv: list[str]) -> int:
    """Read, check, write under a temporary name, rename."""
    own = arguments().parse_args(argv[1:])
    from lslm_lightning.runs import find_run
    from lslm_lightning.runs.integrity import damage

    state = find_run(own.run).checkpoints / f"{own.state}.ckpt"
    if not state.exists():
        raise ValueError(f"{state} does not exist: the run was stopped before it, or trained nothing")
    output = own.output or state.with_suffix(".safetensors")
    if output.suffix != ".safetensors":
        raise ValueError(f"--output={output} must end in .safetensors, by which other commands know it")
    if words := damage(state):
        raise ValueError(f"{state} is damaged: {words}")
    n_tensor, n_number = consolidate(state, output)
    print(f"{output}: {n_tensor} tensors, {n_number:,} numbers, {output.stat().st_size / 1e6:,.1f} MB")
    return DONE


def consolidate(state: Path, output: Path) -> tuple[int, int]:
    """Write the weights of a state; how many tensors, and numbers in them.

    Raises:
        OSError: `output` cannot be written; what stood there stays.
    """
    from safetensors.torch import save_file

    from lslm_lightning.runs.states import put, read_state, synchronize

    saved = read_state(state)
    weights = {name: weight.contiguous() for name, weight in saved["state_dict"].items()}
    noted = {"format": "pt", "tokenizer_digest": saved["tokenizer_digest"], "step": str(saved["global_step"])}
    draft = output.with_name(f".{output.name}.part")
    try:
        save_file(weights, draft, noted)
        synchronize(draft)
        put(draft, output)
    finally:
        draft.unlink(missing_ok=True)
    return len(weights), sum(weight.numel() for weight in weights.values())
