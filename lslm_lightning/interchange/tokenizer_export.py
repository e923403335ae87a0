"""Tokenizer of a run as files that `AutoTokenizer` reads."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import processors

from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.interchange.parts import Kind
from lslm_lightning.interchange.prompts import exported_template
from lslm_lightning.text.pretrained import PretrainedTokenizer
from lslm_lightning.text.prompts import NO_PROMPT, Prompt
from lslm_lightning.text.tokenizer import Frame, Tokenizer, backend_of
from lslm_lightning.types import JsonObject


def special_ids(tokenizer: Tokenizer, kind: Kind, vocab_size: int) -> SpecialIds:
    """Return the ids of the special tokens as a model of a kind uses them.

    Our language models begin a text with `</s>`, the end of the text before it. If the model has no
    row for padding, `</s>` takes its place, as usual in `transformers`.
    """
    bos = tokenizer.eos_id if kind == "causal" else tokenizer.bos_id
    pad = tokenizer.pad_id if tokenizer.pad_id < vocab_size else tokenizer.eos_id
    return SpecialIds(pad, bos, tokenizer.eos_id)


def write_tokenizer(
    tokenizer: Tokenizer,
    ids: SpecialIds,
    kind: Kind,
    longest: int | None,
    folder: Path,
    prompt: Prompt = NO_PROMPT,
) -> None:
    """Write tokenizer.json and tokenizer_config.json of a tokenizer.

    A source is read with `</s>` behind it; a text for a language model with `</s>` before it;
    question and passage with the ids of `Tokenizer.frame` around them. Text that looks like a
    special token stays text, but for a model with a chat template, which names such tokens.

    Args:
        ids: ids of the special tokens.
        longest: largest number of tokens that the model reads; None for no limit.
        prompt: prompt of the model, whose chat template is written.

    Raises:
        ValueError: `transformers` has no tokenizer like it.
    """
    backend, before = backend_and_prefix(tokenizer)
    found = {name: backend.id_to_token(index) for name, index in ids._asdict().items()}
    names = {name: token for name, token in found.items() if token is not None}
    if missing := sorted(found.keys() - names.keys()):
        raise ValueError(
            f"the tokenizer of the run has no token for {' and '.join(missing)}, and transformers "
            "knows special tokens by name; train with a recipe of lslm_lightning.text.recipes"
        )
    frame = frame_of(tokenizer, kind, ids, before)
    special = {i: backend.id_to_token(i) or "" for part in frame[:3] for i in part}
    start, between, end = ([special[i] for i in part] for part in frame[:3])
    first, second = frame.kinds
    backend.post_processor = processors.TemplateProcessing(
        single=[*start, "$A", *end],
        pair=[
            *(f"{token}:{first}" for token in (*start, "$A", *between)),
            *(f"{token}:{second}" for token in ("$B", *end)),
        ],
        special_tokens=[(token, i) for i, token in special.items()],
    )
    (folder / "tokenizer.json").write_text(backend.to_str(pretty=True), "utf-8")
    is_span = kind == "span-extraction"
    roles = ("cls", "sep") if is_span else ("bos", "eos")
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    # no `unk_token`: transformers would leave it out of decoded text, and we keep it
    config: JsonObject = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": names["pad"],
        f"{roles[0]}_token": names["bos"],
        f"{roles[1]}_token": names["eos"],
        "split_special_tokens": not prompt.chat_template,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left" if kind == "causal" else "right",
        **({} if longest is None else {"model_max_length": longest}),
        **({"model_input_names": inputs} if is_span else {}),
    }
    if prompt.chat_template:
        config["chat_template"] = exported_template(prompt, config)
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (folder / "tokenizer_config.json").write_text(f"{text}\n", "utf-8")


def frame_of(tokenizer: Tokenizer, kind: Kind, ids: SpecialIds, prefix: list[int]) -> Frame:
    """Return the ids that a model of a kind reads around its texts.

    Args:
        prefix: ids that precede every source.
    """
    if kind == "span-extraction":
        return tokenizer.frame()
    if kind == "causal":
        return Frame([ids.bos], [], [], (0, 1))
    return Frame(prefix, [ids.eos], [ids.eos], (0, 1))


def cut_sources(folder: Path, longest: int) -> None:
    """Let the tokenizer.json of a folder cut texts to `longest` tokens, the end included, for
    programs that do not read tokenizer_config.json.
    """
    path = folder / "tokenizer.json"
    backend = tokenizers.Tokenizer.from_file(str(path))
    backend.enable_truncation(longest)
    path.write_text(backend.to_str(pretty=True), "utf-8")


def read_with(path: Path, longest: int | None = None) -> Callable[[Sequence[str]], list[list[int]]]:
    """Return a function from texts to ids, by a tokenizer.json that was written.

    Args:
        longest: largest number of tokens of a text, which is cut; None for what the file says.
    """
    backend = tokenizers.Tokenizer.from_file(str(path))
    backend.encode_special_tokens = True
    if longest is not None:
        backend.enable_truncation(longest)

    def read(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in backend.encode_batch(list(texts))]

    return read


def backend_and_prefix(tokenizer: Tokenizer) -> tuple[tokenizers.Tokenizer, list[int]]:
    """Return a new backend of a tokenizer, and the ids that precede every source.

    Raises:
        ValueError: the tokenizer has more than one backend, or ids of its own beside it.
    """
    layout = json.loads(tokenizer.to_json())
    if not isinstance(tokenizer, PretrainedTokenizer):
        return backend_of(json.dumps(layout)), []
    if layout["ids"] is not None or layout["target"] is not None:
        raise ValueError(
            "the tokenizer of the run splits sources and targets by different pieces, as Marian's "
            "does, and tokenizer.json can hold only one; train with a recipe of "
            "lslm_lightning.text.recipes"
        )
    return backend_of(json.dumps(layout["source"])), list(layout["before"][0])


def tokens_of(backend: tokenizers.Tokenizer, n: int) -> list[str]:
    """Return a name for each of `n` ids, no two alike: the token, or one that no text has."""
    known = {i: backend.id_to_token(i) for i in range(n)}
    taken = {token for token in known.values() if token is not None}
    tokens = []
    for i, token in known.items():
        if token is None:
            token = f"<unused_{i}>"
            while token in taken:
                token = f"{token}_"
            taken.add(token)
        tokens.append(token)
    return tokens
