"""Predictions made by several processes, each for a share of the examples."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from lslm_lightning.contracts import CannotError
from lslm_lightning.evaluation.harness import collect_predictions, count_answers, merge_shards
from lslm_lightning.exit_status import FAILED
from lslm_lightning.experiments.failures import failure
from lslm_lightning.experiments.invocation import PARENT
from lslm_lightning.experiments.predictions import PredictionCollector
from lslm_lightning.training.cores import THREADS, available_cores
from lslm_lightning.training.work import Work

POLL_SECONDS = 1.0


def answer_share(collector: PredictionCollector, index: int, n: int) -> None:
    """Make predictions for every n-th open example with each system that can be shared among
    processes.

    The predictions are written to files of this share, and errors are printed.

    Args:
        collector: collector of the evaluation.
        index: index of this process, from 0.
        n: number of processes.
    """
    leave_with_parent()
    files = collector.files
    for name in collector.shardable():
        try:
            collect_predictions(
                collector.systems[name],
                collector.mode,
                collector.examples,
                files.share(name, index, n),
                share=(index, n),
                known=files.path(name),
            )
        except CannotError:
            continue
        except BaseException as error:
            print(f"{name}: {failure(error)}", file=sys.stderr, flush=True)


def run_parallel(collector: PredictionCollector, command: Sequence[str], n: int) -> None:
    """Start `n` processes that each make predictions for a share of the examples, wait for them,
    and merge their files.

    Two kinds of predictions are left to this process: those of API endpoints, which share one
    budget, and those of a process that ended early.

    Args:
        collector: collector of the evaluation.
        command: command line that starts a process; `--share=I/N` is added to it.
        n: number of processes.
    """
    names = collector.shardable()
    collector.prepare()
    running = start_processes(command, n)
    try:
        wait_for(collector, running, names)
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        for name in collector.systems.keys() - collector.unready.keys():
            try:
                merge_shards(collector.files.path(name))
            except ValueError as error:  # a damaged share, which is left as it is
                collector.broken[name] = failure(error)
    if failed := [i for i, process in enumerate(running) if process.returncode]:
        print(
            f"shares {failed} of {n} ended early; this process answers their examples",
            file=sys.stderr,
            flush=True,
        )


def start_processes(command: Sequence[str], n: int) -> list[subprocess.Popen[bytes]]:
    """Start one process per share, dividing CPU cores and GPUs among them.

    Args:
        command: command line that starts a process; `--share=I/N` is added to it.
        n: number of shares.
    """
    running = []
    devices = gpus()
    for index in range(n):
        environment = threads(n) | dict(os.environ) | {PARENT: str(os.getpid())}
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        # in a group of its own: this process passes Ctrl-C on
        running.append(
            subprocess.Popen(
                [*command, f"--share={index}/{n}"],
                env=environment,
                stdin=subprocess.PIPE,
                process_group=0,
            )
        )
    return running


def wait_for(
    collector: PredictionCollector,
    running: Sequence[subprocess.Popen[bytes]],
    names: Sequence[str],
) -> None:
    """Wait until all processes have ended, showing how many predictions they have written.

    Args:
        collector: collector of the evaluation.
        running: started processes.
        names: names of the systems whose predictions are counted.
    """
    files = collector.files

    def n_done() -> int:
        return sum(count_answers(files.path(name)) for name in names)

    total = len(names) * len(collector.examples)
    work = Work(f"{len(running)} processes", total, "answers", start=n_done())
    with collector.display.showing(work):
        while any(process.poll() is None for process in running):
            work.update(n_done())
            collector.display.tell(work)
            time.sleep(POLL_SECONDS)


def leave_with_parent() -> None:
    """Exit this process when its parent process ends, which closes the pipe at standard input."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock an exit would wait for
            pass
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()


def threads(n: int) -> dict[str, str]:
    """Return the environment variable that gives each of `n` processes an equal share of the CPU
    cores.
    """
    import torch

    return {THREADS: str(max(1, min(torch.get_num_threads(), available_cores()) // n))}


def gpus() -> list[str]:
    """Return the ids of the GPUs that this process may use."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given:
        return [gpu for gpu in given.split(",") if gpu]
    return [str(i) for i in range(torch.cuda.device_count())]
