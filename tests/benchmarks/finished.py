"""A run that was trained and tested, opened again for what its own metrics.json does not say."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.evaluation.scoring import Scores, score
from lslm_lightning.experiments.run_evaluation import baseline_scores
from lslm_lightning.runs import load_run
from lslm_lightning.text.recipes import TokenizerFile
from lslm_lightning.training.data import TaskData


class Finished:
    """The model of a run with its data, its answers in the test, and its baselines."""

    def __init__(self, reference: str) -> None:
        run = load_run(reference)
        self.task = run.task
        self.directory = run.directory
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(TaskData, "data", fail_untyped=False)
        self.data = parser.instantiate(parser.parse_object({"data": run.config["data"]})).data
        self.data.recipe = TokenizerFile(str(self.directory.tokenizer))
        self.task.requirements.bind(self.data)
        self.predictions = read_predictions(self.directory.predictions / "test.jsonl")

    def answers(self, examples: Sequence[Example]) -> list[Prediction]:
        """What the model says to other questions."""
        return list(self.task.answering.predict(self.data.evaluation_batches(examples)))

    def score(self, predictions: Sequence[Prediction]) -> Scores:
        """By the task's own metrics, in the exam of the test."""
        examples = self.data.examples("test")
        return score(examples, predictions, self.task.metrics(examples[0].language), n_resample=0)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Scores of what needs no model: system -> metric -> value."""
        metrics = self.task.answering.metrics_of(self.data.examples("test"))
        found = baseline_scores(self.task, self.data, metrics, n_resample=0)
        return {
            name: {each.metric: each.value for each in result.scores}
            for name, result in found.items()
        }
