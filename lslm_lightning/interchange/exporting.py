"""Export of the model of a run to the format of another library."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.adapters import merged
from lslm_lightning.auditing.licences import UNKNOWN
from lslm_lightning.experiments.endings import NO_ROOM
from lslm_lightning.interchange.ctranslate2_target import CTranslate2Target
from lslm_lightning.interchange.gguf_target import GgufTarget
from lslm_lightning.interchange.hugging_face import HuggingFaceTarget
from lslm_lightning.interchange.litert_target import LiteRtTarget
from lslm_lightning.interchange.model_card import model_card
from lslm_lightning.interchange.onnx_target import OnnxTarget
from lslm_lightning.interchange.parts import read_parts
from lslm_lightning.interchange.span_verification import BUILT_IN_QUESTIONS
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.verification import BUILT_IN, Texts, Verification, texts_of
from lslm_lightning.runs import FoundRun, load_run
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.training.span_model import SpanModel

if TYPE_CHECKING:
    from lslm_lightning.experiments.run import Run

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        HuggingFaceTarget(),
        CTranslate2Target(),
        OnnxTarget(),
        GgufTarget(),
        LiteRtTarget(),
    )
}
"""All formats, by their name on the command line."""

IN_RUST = re.compile(r"\(os error (\d+)\)")  # as libraries in Rust name an error of the system
SPLITS = ("test", "val")
MOST_EXAMPLES = 200  # of which some may be empty


@dataclass(frozen=True)
class Export:
    """Exported model.

    Args:
        path: folder with the model.
        layout: name of the layout.
        n_parameter: number of weights of the model that was written.
        n_byte: size of the files of the folder.
        notes: remarks on how what was written differs from the run.
        verification: comparison of the folder with the run.
    """

    path: Path
    layout: str
    n_parameter: int
    n_byte: int
    notes: tuple[str, ...]
    verification: Verification


def export_model(
    run: "str | os.PathLike[str] | Run | FoundRun",
    output: str | os.PathLike[str],
    to: str = "huggingface",
    *,
    dtype: str = "float32",
    layout: str | None = None,
    trust: bool = False,
) -> Export:
    """Write the model of a run to a folder that another library reads, as `lslm export` does.

    The folder appears only after the model in it was loaded and compared with the run: ids, logits,
    and greedy answers to some texts of the run's test split.

    Args:
        run: a run directory, a checkpoint in one, an MLflow run id, `models:/NAME@best`, a
            pattern (stands for the newest run that matches), or the result of `train`.
        output: folder to write; it must not exist, or be empty.
        to: format: "huggingface" for `transformers`, "ctranslate2", "onnx", "gguf" for llama.cpp,
            or "litert".
        dtype: type of the weights: float32, float16 or bfloat16; for "ctranslate2", "onnx" and
            "gguf" also int8; for "litert" float32 alone.
        layout: name of the layout, such as "llama"; by default the first that can express the
            model. For "litert", lengths of the inputs in tokens: "256", or "256x64" for sources
            and answers.
        trust: allow the run's config to name any class.

    Raises:
        ValueError: a setting is wrong, the format cannot express the model, or what was written
            differs from the run.
    """
    target = TARGETS.get(to)
    if target is None:
        raise ValueError(f"to={to!r} is not known; there are {', '.join(TARGETS)}")
    if dtype not in target.dtypes:
        raise ValueError(f"dtype={dtype!r} must be one of {', '.join(target.dtypes)}")
    folder = Path(output)
    check_output(folder)
    found = run if isinstance(run, FoundRun) else os.fspath(run)
    loaded = load_run(found, trust=trust)
    is_adapted = getattr(loaded.task, "adapter", None) is not None
    if is_adapted:
        loaded = replace(loaded, task=merged(loaded.task))
    parts = read_parts(loaded.task)
    if parts.kind not in target.kinds:
        raise ValueError(
            f"to={to!r} is for {' and '.join(target.kinds)} models, and this one is {parts.kind}; "
            "take to=huggingface"
        )
    model = ExportedModel(loaded, parts, dtype, layout)
    name = target.layout(model)
    texts, licence = texts_of_run(loaded, trust)
    model = replace(model, layout=name, texts=texts, licence=licence)
    with new_folder(folder) as draft:
        notes = target.write(model, draft)
        if is_adapted:
            notes.append("the adapter was merged into the weights")
        try:
            verification = target.verify(model, draft)
        except ValueError as error:
            raise ValueError(
                f"{output} was not written: the exported model is not that of the run ({error}); "
                "another --layout or --dtype float32 may help"
            ) from None
        card = model_card(target, model, name, notes, verification)
        (draft / "README.md").write_text(card, "utf-8")
        n_byte = sum(file.stat().st_size for file in draft.iterdir())
    return Export(folder, name, model.n_parameter, n_byte, tuple(notes), verification)


def check_output(folder: Path) -> None:
    """Check that a folder can be written: it, or what it is a link to, does not exist and can be
    made, or is empty and can be replaced.

    Raises:
        ValueError: something is there, or the folder cannot be made or replaced.
    """
    given, folder = folder, resolved(folder)
    if folder == Path.cwd() or folder.is_mount():
        what = "is a mount point" if folder.is_mount() else "is the working directory"
        raise ValueError(f"output={given} {what}, which cannot be replaced; name a folder in it")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "is a folder with files in it" if folder.is_dir() else "is a file"
        raise ValueError(f"output={given} {what}; name a folder that is new or empty")
    # it is written beside its place, and renamed
    home = next(each for each in folder.parents if each.exists())
    if not home.is_dir():
        raise ValueError(f"output={given} is below {home}, which is a file; name a folder")
    if not os.access(home, os.W_OK | os.X_OK):
        raise ValueError(
            f"output={given} is in {home}, where you may not write; name another folder"
        )


def resolved(folder: Path) -> Path:
    """Return the absolute path of a folder without links.

    Raises:
        ValueError: its links have no end.
    """
    try:
        found = folder.resolve()
    except RuntimeError:  # of Python before 3.13
        found = folder
    if found.is_symlink():
        raise ValueError(f"output={folder} is a link to itself; name a folder that is new or empty")
    return found


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder that becomes `folder` when the body ends; if the body raises an error,
    it is removed and nothing is left.

    Raises:
        OSError: the disk is full, in whatever words the library that writes says so.
    """
    given, folder = folder, resolved(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.parent / f".{folder.name[:50]}.{secrets.token_hex(4)}.part"
    draft.mkdir()
    try:
        yield draft
        draft.replace(folder)
    except Exception as error:
        if (number := system_error(error)) in NO_ROOM:
            raise OSError(number, os.strerror(number), os.fspath(given)) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def system_error(error: BaseException | None) -> int | None:
    """Return the number of the operating system's error behind an error of a library; None if there
    is none.
    """
    while error is not None and not isinstance(error, ValueError):
        if isinstance(error, OSError):
            return error.errno
        if found := IN_RUST.search(str(error)):
            return int(found[1])
        error = error.__context__
    return None


def texts_of_run(run: LoadedRun, trust: bool) -> tuple[Texts, str]:
    """Return texts of the run's test or validation split, and the licence of its corpus; texts of
    our own, and "not known", if the corpus is not on this machine.
    """
    from lslm_lightning.experiments.evaluation_sets import data_and_task

    licence = UNKNOWN
    try:
        data, _ = data_and_task(run.directory, {}, trust)
        licence = data.corpus.licence
        for split in SPLITS:
            if split in data.corpus.splits:
                examples = data.examples(split)[:MOST_EXAMPLES]
                written = [each for each in examples if each.source or each.references]
                if written:
                    return texts_of(written, type(run.task), split), licence
    except (ValueError, OSError, KeyError):
        pass
    return BUILT_IN_QUESTIONS if isinstance(run.task, SpanModel) else BUILT_IN, licence
