"""Export of sharded checkpoints to safetensors files, and of n-gram models to ARPA files."""

from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.files import draft_of

if TYPE_CHECKING:
    from lslm_lightning.text.tokenizer import Tokenizer


def consolidate(state: Path, output: Path) -> tuple[int, int]:
    """Write the weights of a checkpoint to one safetensors file.

    Args:
        state: path of the checkpoint, sharded or not.
        output: path of the safetensors file.

    Returns:
        Number of tensors and number of parameters.

    Raises:
        OSError: `output` cannot be written; an existing file is left unchanged.
    """
    from safetensors.torch import save_file

    from lslm_lightning.runs.states import draft_of_checkpoint, put, read_state, synchronize
    from lslm_lightning.safety.user_files import permit_as_usual

    saved = read_state(state)
    weights = {name: weight.contiguous() for name, weight in saved["state_dict"].items()}
    noted = {
        "format": "pt",
        "tokenizer_digest": saved["tokenizer_digest"],
        "step": str(saved["global_step"]),
    }
    draft = draft_of_checkpoint(output)
    try:
        save_file(weights, draft, noted)
        permit_as_usual(draft)
        synchronize(draft)
        put(draft, output)
    finally:
        draft.unlink(missing_ok=True)
    return len(weights), sum(weight.numel() for weight in weights.values())


def to_arpa(tables: Path, tokenizer: "Tokenizer", output: Path) -> int:
    """Write an n-gram model to a file in the ARPA format and return its number of n-grams.

    Args:
        tables: path of the trained n-gram model.
        tokenizer: tokenizer of the model, which gives the names of the tokens.
        output: path of the ARPA file.

    Raises:
        OSError: `output` cannot be written; an existing file is left unchanged.
    """
    from lslm_lightning.ngram.arpa import BEGIN, END, UNKNOWN, visible, write_arpa
    from lslm_lightning.ngram.model import NgramModel

    model = NgramModel.load(tables)
    # ids without a token, and tokens that never occur, keep these names
    names = [f"<{i}>" for i in range(model.vocab_size)]
    for i, token in tokenizer.entries().items():
        names[i] = visible(token)
    special = {tokenizer.eos_id: END, model.bos: BEGIN} | (
        {} if tokenizer.unk_id is None else {tokenizer.unk_id: UNKNOWN}
    )
    taken = set(special.values())
    for i, name in enumerate(names):
        while i not in special and name in taken:  # " " and "\u2581", say, look alike
            name += f"<{i}>"
        names[i] = special.get(i, name)
        taken.add(names[i])
    with draft_of(output) as draft:
        write_arpa(model, names, draft)
    return sum(len(table.keys) for table in model.tables)
