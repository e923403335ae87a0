"""Documents split into sentences, each labelled by whether it is in the best extract.

Axes: B documents, S tokens, N sentences.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.text.sentences import split_sentences
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import Ragged, padded
from lslm_lightning.training.budget_data import MAX_TOKENS, BudgetData
from lslm_lightning.training.data import EVAL_TOKENS, N_VALIDATION_EXAMPLE
from lslm_lightning.types import JsonObject
from tasks.summarization import prompt
from tasks.summarization.data import MAX_SOURCE_LENGTH, DocumentData
from tasks.summarization.extractive.oracle import chosen_once

CHUNK = 1000  # documents that are encoded together


class SentenceBatch(NamedTuple):
    """Padded documents of at least one sentence each; ids are int64, padding is on the right."""

    source: Tensor  # (B, S) <s> before every sentence, </s> at the end
    source_pad: Tensor  # (B, S) bool, True where padded
    sentence: Tensor  # (B, S) int32, index of each token's sentence, -1 for </s> and padding
    chosen: Tensor  # (B, N) float32, 1 for sentences to choose, 0 for others and for padding
    sentence_pad: Tensor  # (B, N) bool, True where padded
    n_token: int  # sentences, over which the loss is averaged
    n_source_token: int


class DocumentReading(NamedTuple):
    """Token ids that a model reads of a document, and the lengths of its sentences."""

    ids: list[int]  # <s> before every sentence, </s> at the end; empty if there is no sentence
    lengths: list[int]  # tokens of each sentence that is read, <s> included


def read(
    documents: Sequence[Sequence[str]], tokenizer: Tokenizer, longest: int
) -> list[DocumentReading]:
    """Encode documents, each given as a list of sentences, up to `longest` tokens. The last
    sentence may be cut, and sentences after it are dropped.
    """
    readings = []
    for start in range(0, len(documents), CHUNK):
        chunk = documents[start : start + CHUNK]
        encoded = iter(
            tokenizer.encode_batch([sentence for sentences in chunk for sentence in sentences])
        )
        readings += [
            read_one([next(encoded) for _ in sentences], tokenizer, longest) for sentences in chunk
        ]
    return readings


def read_one(
    sentences: Sequence[Sequence[int]], tokenizer: Tokenizer, longest: int
) -> DocumentReading:
    """Encode one document, as `read` does, from the token ids of its sentences."""
    ids: list[int] = []
    lengths: list[int] = []
    for own in sentences:
        room = longest - 1 - len(ids)  # one is for </s>
        if room < min(2, 1 + len(own)):  # <s> alone carries no information
            break
        ids += [tokenizer.bos_id, *own][:room]
        lengths.append(min(room, 1 + len(own)))
    return DocumentReading([*ids, tokenizer.eos_id] if lengths else [], lengths)


def batch_of(
    ids: Sequence[Sequence[int] | np.ndarray],
    lengths: Sequence[Sequence[int] | np.ndarray],
    chosen: Sequence[Sequence[int] | np.ndarray],
    pad_id: int,
) -> SentenceBatch:
    """Return a padded batch of documents.

    Args:
        ids: token ids of each document.
        lengths: number of tokens of each sentence of each document.
        chosen: for each sentence of each document, 1 if it is in the best extract, otherwise 0.
    """
    source = padded(ids, pad_id)
    sizes = padded(lengths, 0)
    source_pad = (
        torch.arange(source.size(1))
        >= torch.tensor([len(row) for row in ids], dtype=torch.int64)[:, None]
    )
    # one column less than the source, which has </s>
    sentence = padded([np.repeat(np.arange(len(row)), row) for row in lengths], -1)
    sentence = torch.nn.functional.pad(
        sentence, (0, source.size(1) - sentence.size(1)), value=-1
    ).int()
    n_token = int((sizes > 0).sum())
    n_source_token = sum(map(len, ids))
    return SentenceBatch(
        source, source_pad, sentence, padded(chosen, 0).float(), sizes == 0, n_token, n_source_token
    )


class Documents:
    """Encoded documents; `documents[indices]` is a padded batch."""

    def __init__(self, ids: Ragged, sentences: Ragged, chosen: Ragged, pad_id: int) -> None:
        self.ids = ids
        self.sentences = sentences
        self.chosen = chosen
        self.pad_id = pad_id

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """Lengths (n_document, 2) in tokens and sentences."""
        return np.stack([self.ids.lengths, self.sentences.lengths], 1)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> SentenceBatch:
        ids, lengths, chosen = (
            [ragged[i] for i in indices] for ragged in (self.ids, self.sentences, self.chosen)
        )
        return batch_of(ids, lengths, chosen, self.pad_id)


class ExtractiveData(DocumentData, BudgetData[Documents]):
    """Documents with their best extracts: at most `k` sentences, chosen by ROUGE
    (`metrics.extraction`).

    The best extract is searched for in the whole document. Its sentences after the first
    `max_source_length` tokens, which no model can choose, are not trained on. Documents without
    sentences are left out of training. `counts` has the number of both.

    Args:
        max_tokens: as in `BudgetData`; tokens and sentences are both counted.
        max_source_length: number of tokens read of a document, including one before each sentence
            and one at the end. It is set by the task; leave it out here.
        k: largest number of sentences in an extract.
        first_reference_only: as in `SummarizationData`.
        language: as in `SummarizationData`.
        instruction: as in `SummarizationData`.
    """

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: JsonObject | None = None,
        seed: int = 0,
        eval_batch_tokens: int = EVAL_TOKENS,
        n_validation_example: int = N_VALIDATION_EXAMPLE,
        num_workers: int = 0,
        *,
        max_tokens: int = MAX_TOKENS,
        max_source_length: int | None = None,
        k: int = 3,
        first_reference_only: bool = False,
        language: str | None = None,
        instruction: str = prompt.INSTRUCTION,
    ) -> None:
        super().__init__(
            corpus,
            tokenizer,
            columns,
            seed,
            eval_batch_tokens,
            n_validation_example,
            num_workers,
            max_tokens=max_tokens,
        )
        self.first_reference_only = first_reference_only
        self.given_language = language
        self.instruction = instruction
        if max_source_length is not None:
            self.stated["max_source_length"] = max_source_length
        else:
            max_source_length = MAX_SOURCE_LENGTH
        if max_source_length < 3:
            raise ValueError(
                f"max_source_length={max_source_length} must be at least 3 tokens; 400 suits "
                "news and emails"
            )
        if k < 1:
            raise ValueError(
                f"k={k} of ExtractiveData must be at least 1 sentence; the usual length of a "
                "summary is best"
            )
        self.max_source_length = max_source_length
        self.k = k

    def read_length(self, n: int) -> int:
        return min(n, self.max_source_length)

    def training_texts(self) -> Iterable[str]:
        """Yield the same texts as `SummarizationData`, so that both train the same tokenizer."""
        for example in map(self.to_example, self.rows("train")):
            yield from (example.source, *example.references[:1])

    def text_key(self) -> str:
        return "source target"

    def encode(self, split: str) -> Documents:
        examples = self.examples(split)
        documents = [split_sentences(e.source, e.source_language) for e in examples]
        best = chosen_once(
            documents,
            [e.references for e in examples],
            self.language,
            self.k,
            cache_directory() / "extracts",
        )
        readings = read(documents, self.tokenizer, self.max_source_length)
        n_read = [len(reading.lengths) for reading in readings]
        chosen = [
            [int(i in indices) for i in range(n)] for indices, n in zip(best, n_read, strict=True)
        ]
        self.counts |= {
            f"{split}_documents": len(documents),
            f"{split}_empty_left_out": n_read.count(0),
            f"{split}_cut": sum(
                n < len(sentences) for n, sentences in zip(n_read, documents, strict=True)
            ),
            f"{split}_sentences": sum(n_read),
            f"{split}_chosen": sum(map(sum, chosen)),
            f"{split}_chosen_beyond_reach": sum(map(len, best)) - sum(map(sum, chosen)),
        }
        if split == "train" and not self.counts["train_chosen"]:
            raise ValueError(
                f"corpus {self.corpus_name}: no sentence within data.max_source_length="
                f"{self.max_source_length} tokens shares a word with its summary; check "
                "data.columns and data.language"
            )
        kept = [i for i, n in enumerate(n_read) if n]
        ids, sentences = (Ragged(readings[i][part] for i in kept) for part in (0, 1))
        return Documents(ids, sentences, Ragged(chosen[i] for i in kept), self.tokenizer.pad_id)

    def batching(self) -> str:
        references = "the first reference" if self.first_reference_only else "all references"
        cut = f"max_tokens {self.max_tokens}, documents cut at {self.max_source_length}"
        return f"{cut}, at most {self.k} sentences chosen by {references} in {self.language}"
