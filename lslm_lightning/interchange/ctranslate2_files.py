"""Files of a model in the format of CTranslate2."""

from pathlib import Path

import tokenizers

from lslm_lightning.extras import MissingPackageError
from lslm_lightning.interchange.ctranslate2_layout import (
    add_vocabulary,
    fill,
    layout_name,
    rows,
    specification,
)
from lslm_lightning.interchange.fitting import without_added_row
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.tokenizer_export import (
    cut_sources,
    special_ids,
    tokens_of,
    write_tokenizer,
)
from lslm_lightning.interchange.verification import AnyTask
from lslm_lightning.interchange.weights import to_theirs
from lslm_lightning.interchange.written import cast_to, longest_input, with_positions
from lslm_lightning.safety.user_files import permit_as_usual

DTYPES = ("float32", "float16", "bfloat16", "int8")


def check_installed() -> None:
    """Raise ValueError if `ctranslate2` is not installed."""
    try:
        import ctranslate2  # noqa: F401
    except ImportError:
        raise ValueError(MissingPackageError("ctranslate2", "the format CTranslate2")) from None


def write_model(task: AnyTask, parts: ModelParts, dtype: str, folder: Path) -> list[str]:
    """Write the model and the tokenizer of a task into a folder; return remarks on how what is
    written differs from our weights.

    Args:
        task: task with trained weights and without an adapter.
        parts: parts of its model.
        dtype: type of the weights, one of `DTYPES`.

    Raises:
        ValueError: the format cannot express the model, or the type cannot hold a weight.
    """
    from ctranslate2.specs.model_spec import NumpyVariable, index_spec

    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} must be one of {', '.join(DTYPES)}")
    parts, ours = without_added_row(parts, task.state_dict(), task.tokenizer.pad_id)
    layout_name(parts)
    if parts.position == "Sinusoidal":
        parts = with_positions(parts, task)
    table = list(rows(parts))
    weights = to_theirs(table, ours)
    if dtype == "float16":
        for name, weight in weights.items():
            cast_to(name, weight, dtype)
    spec = specification(parts)
    fill(spec, {name: weight.cpu() for name, weight in weights.items()})
    ids = special_ids(task.tokenizer, parts.kind, parts.vocab_size)
    is_causal = parts.kind == "causal"
    write_tokenizer(task.tokenizer, ids, parts.kind, longest_input(parts, task), folder)
    longest = None if is_causal else longest_input(parts, task)
    if longest is not None:
        cut_sources(folder, longest)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    add_vocabulary(spec, tokens_of(backend, parts.vocab_size), ids, is_causal)
    spec.validate()
    spec.optimize(None if dtype == "float32" else dtype)
    for row in table:
        for name in row.theirs if not row.ours and "encodings" in row.theirs[0] else ():
            scope, _, attribute = name.rpartition("/")  # not trained, and therefore not rounded
            setattr(index_spec(spec, scope), attribute, NumpyVariable(weights[name].numpy()))
    spec.save(str(folder))
    permit_as_usual(folder / "model.bin")
    return list(dict.fromkeys(row.note for row in table if row.note))
