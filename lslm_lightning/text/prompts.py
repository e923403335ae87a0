"""Text that a model reads around its input: a prefix, or the template of a chat model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lslm_lightning.extras import MissingPackageError
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.types import JsonObject


@dataclass(frozen=True)
class Prompt:
    """Text that a model reads around each input.

    Args:
        prefix: text before each input: "translate English to German: " for T5, or the code of the
            target language, such as ">>zho<< ", for a multilingual Marian model.
        chat_template: Jinja template in which an input is the turn of a user, as in the files of a
            chat model of `transformers`, which runs it in its sandbox; "" for none.
        special_tokens: text of the special tokens that the template names, such as `bos_token`.
    """

    prefix: str = ""
    chat_template: str = ""
    special_tokens: dict[str, str] = field(default_factory=dict)

    def text(self, given: str) -> str:
        """Return what the model reads for an input.

        Raises:
            ValueError: the template fails; the message is one line.
        """
        whole = self.prefix + given
        return self._rendered([("user", whole)]) if self.chat_template else whole

    def ids(self, tokenizer: Tokenizer, inputs: Sequence[str]) -> list[list[int]]:
        """Return the ids of what the model reads for each input. Names of special tokens are text,
        but in a rendered template, as in `transformers`, they are these tokens.

        Raises:
            ValueError: the template fails.
        """
        texts = [self.text(each) for each in inputs]
        if self.chat_template:
            return tokenizer.encode_with_special_tokens(texts)
        return tokenizer.encode_batch(texts)

    def start(self, token: int) -> list[int]:
        """Return the ids that a language model reads before those of `ids`: none if a template
        writes them.

        Args:
            token: id that begins a text without template.
        """
        return [] if self.chat_template else [token]

    def conversation(self, tokenizer: Tokenizer, turns: Sequence[tuple[str, str]]) -> list[int]:
        """Return the ids of what a chat model reads before its next turn.

        Args:
            turns: role ("system", "user" or "assistant") and text of each turn so far.

        Raises:
            ValueError: the template fails, or there is none.
        """
        if not self.chat_template:
            raise ValueError("the model has no chat_template; give a prompt in place of messages")
        return tokenizer.encode_with_special_tokens([self._rendered(turns)])[0]

    def _rendered(self, given: Sequence[tuple[str, str]]) -> str:
        """Return the template for a conversation of (role, text) pairs."""
        try:
            from transformers.utils.chat_template_utils import render_jinja_template
        except ImportError:
            raise MissingPackageError("transformers", "A chat template") from None
        turns = [{"role": role, "content": text} for role, text in given]
        values: JsonObject = {"add_generation_prompt": True, **self.special_tokens}
        try:
            found = render_jinja_template([turns], chat_template=self.chat_template, **values)
        except Exception as error:  # what a template does is the choice of its author
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(
                f"chat_template cannot be rendered for this conversation ({reason}); correct it "
                "where it stands, or leave it out"
            ) from None
        return str(found[0][0])  # of the texts, and of what is no text in them


NO_PROMPT = Prompt()
"""An input as it is."""
