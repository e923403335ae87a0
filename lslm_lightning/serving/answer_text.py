"""Text of an answer that is being written, token by token."""

from collections.abc import Sequence
from dataclasses import replace

from lslm_lightning.decoding.running import Written
from lslm_lightning.serving.protocol import ServedAnswer, TokenInfo
from lslm_lightning.text.tokenizer import Tokenizer

INCOMPLETE = "\ufffd"  # stands for bytes that are no whole character yet


class AnswerText:
    """Text of an answer that grows by one token at a time.

    Args:
        tokenizer: tokenizer of the ids.
        stop: texts that end the answer, and are not part of it.
        has_tokens: keep `TokenInfo` of each token.
        is_read: keep `text` up to date at each token; otherwise it is known at the end.
        offset: number of characters before the answer, for offsets of tokens.

    Attributes:
        ids: tokens so far.
        log_p: their log probability.
        text: characters so far that are complete.
        tokens: tokens so far, if they are kept.
        is_stopped: True if a text of `stop` has ended the answer.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str] = (),
        has_tokens: bool = False,
        offset: int = 0,
        is_read: bool = True,
    ) -> None:
        self.tokenizer = tokenizer
        self.stop = stop
        self.has_tokens = has_tokens
        self.offset = offset
        self.is_read = is_read
        self.ids: list[int] = []
        self.log_p = 0.0
        self.text = ""
        self.tokens: list[TokenInfo] = []
        self.is_stopped = False
        self._n_sent = 0  # characters
        self._first = 0  # ids from here are decoded together with the next
        self._upto = 0  # ids up to here are in `_known`
        self._known = ""
        self._n_sent_token = 0

    def push(self, written: Written) -> bool:
        """Append a token; return True if a text of `stop` ends the answer with it."""
        self.ids.append(written.token)
        self.log_p += written.log_p
        before = len(self.text)
        if not self.is_read:
            return False
        self._grow(self._decoded())
        if self.has_tokens:
            top = tuple((self.piece(id), id, log_p) for id, log_p in written.top)
            shown = self.text[before:] or (
                self.piece(written.token) if written.token == self.tokenizer.eos_id else ""
            )
            self.tokens.append(
                TokenInfo(shown, written.token, written.log_p, self.offset + before, top)
            )
        return self.is_stopped

    def _decoded(self) -> str:
        """Return the complete characters of all ids. The last ids are decoded again with those
        before them, so that a token costs the same wherever it stands.
        """
        before = self.tokenizer.decode(self.ids[self._first : self._upto])
        both = self.tokenizer.decode(self.ids[self._first :])
        if len(both) > len(before) and not both.endswith(INCOMPLETE):
            self._known += both[len(before) :]
            self._first, self._upto = self._upto, len(self.ids)
        return self._known

    def finish(self, ids: Sequence[int], log_p: float) -> None:
        """Replace the answer by whole ids and their log probability."""
        self.ids = list(ids)
        self.log_p = log_p
        self._grow(self.tokenizer.decode(self.ids))

    def next_part(self, is_last: bool) -> tuple[str, tuple[TokenInfo, ...]]:
        """Return the text and tokens that were not returned before.

        Args:
            is_last: return all text; else text that may be the beginning of a text of `stop` is
                held back.
        """
        if is_last and not self.is_stopped:
            self._grow(self.tokenizer.decode(self.ids))
        end = len(self.text) if is_last else len(self.text) - self._n_held()
        text = self.text[self._n_sent : end]
        self._n_sent = max(self._n_sent, end)
        known = self._kept_tokens()[self._n_sent_token :]
        last = self.offset + self._n_sent
        whole = [token for token in known if is_last or token.offset + len(token.text) <= last]
        self._n_sent_token += len(whole)
        return text, tuple(whole)

    def _kept_tokens(self) -> list[TokenInfo]:
        """Return the tokens of the text; the last of them is cut where a text of `stop` begins."""
        if not self.is_stopped:
            return self.tokens
        end = self.offset + len(self.text)
        return [
            replace(token, text=token.text[: end - token.offset])
            for token in self.tokens
            if token.offset < end or (token.offset == end and not token.text)
        ]

    @property
    def finish_reason(self) -> str:
        """Reason for the end of a whole answer: "stop" or "length"."""
        is_stop = self.is_stopped or self.ids[-1:] == [self.tokenizer.eos_id]
        return "stop" if is_stop else "length"

    def answer(self, is_late: bool = False) -> ServedAnswer:
        """Return the whole answer.

        Args:
            is_late: True if its time was over.
        """
        if not self.is_stopped:
            self._grow(self.tokenizer.decode(self.ids))
        reason = self.finish_reason
        return ServedAnswer(
            self.text,
            "timeout" if is_late and reason == "length" else reason,  # type: ignore[arg-type]
            len(self.ids),
            self.log_p,
            tuple(self._kept_tokens()),
        )

    def piece(self, id: int) -> str:
        """Return the text of one token, as it stands behind others; its name for a special one."""
        anchor = self.ids[0] if self.ids else id
        text = self.tokenizer.decode([anchor, id])[len(self.tokenizer.decode([anchor])) :]
        return text or self.tokenizer.name(id)

    def _grow(self, text: str) -> None:
        """Set the text, up to the first text of `stop`."""
        longest = max(map(len, self.stop), default=0)
        first = max(0, len(self.text) - longest)
        found = [at for stop in self.stop if (at := text.find(stop, first)) >= 0]
        if found:
            text = text[: min(found)]
            self.is_stopped = True
        self.text = text

    def _n_held(self) -> int:
        """Return the number of last characters that may begin a text of `stop`."""
        sizes = (
            n
            for stop in self.stop
            for n in range(min(len(stop) - 1, len(self.text)), 0, -1)
            if self.text.endswith(stop[:n])
        )
        return max(sizes, default=0)
