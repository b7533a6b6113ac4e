"""The fits of a study: on all cores, each on disk before the next begins, to be continued after any end."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from pymc.exceptions import SamplingError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fitrl.errors import FitrlError, StudyError, StudyInterrupted
from fitrl.fitting.fit import fit
from fitrl.fitting.sample import _n_cores
from fitrl.fitting.simulate import simulate
from fitrl.fitting.truth import Truth
from fitrl.progress import progress_console
from fitrl.study import measure
from fitrl.study.design import Cell, Design, read_bounds

# What a simulated data set can do to a sampler: nutpie reports a start without a finite density as RuntimeError.
FAILURES = (FitrlError, SamplingError, RuntimeError)


@dataclass(frozen=True)
class Job:
    """One data set to simulate, to fit and to measure.

    Attributes
    ----------
    design : Design
        The study.
    cell : Cell
        Its size.
    index : int
        Which data set of the cell, from 0.
    truth : Truth
        Its subjects.
    file : str
        Where the result goes.
    """

    design: Design
    cell: Cell
    index: int
    truth: Truth
    file: str


def do(job: Job) -> str:
    """Simulate, fit, measure, and write the result; runs in a worker.

    Parameters
    ----------
    job : Job

    Returns
    -------
    str
        ``converged``, ``not converged``, ``quick``, or ``failed``: the data could not be fitted, which is a
        result, too, and is kept with its reason.
    """
    design = job.design
    _, of_play, of_fit = design.seeds(job.cell, job.index)
    result: dict[str, Any] = {"n_subjects": job.cell.subjects, "n_trials": job.cell.trials, "study": job.index}
    try:
        played = simulate(
            design.declared(),
            subjects=job.cell.subjects,
            trials=job.cell.trials,
            environment=design.environment,
            n_options=design.n_options,
            outcome_range=(design.outcome_range[0], design.outcome_range[1]),
            parameters=job.truth.values,
            random_seed=np.random.default_rng(of_play),
        )
        sampler = {} if design.quick else {**design.sampler, "cores": 1, "progressbar": False}
        found = fit(
            design.declared(),
            played.trials,
            priors=read_bounds(design.priors),
            pooling=design.pooling,
            correlated=design.correlated,
            fixed=design.fixed,
            quick=design.quick,
            random_seed=int(of_fit.generate_state(1)[0]),
            **sampler,
        )
        if any(attempt["interrupted"] for attempt in found.spec.attempts):
            raise KeyboardInterrupt
        result |= measure.verdict(found)
        result |= measure.estimates(found, job.truth)
        if design.kind == "calibration":
            result["ranks"] = measure.ranks(found, job.truth)
    except FAILURES as error:
        result |= {"status": "failed", "message": f"{type(error).__name__}: {error}", "divergences": 0, "seconds": 0.0}
    write_result(job.file, result)
    return result["status"]


def write_result(file: str, result: Mapping[str, Any]) -> None:
    """Write the result of a job as a whole: a worker may be killed at any moment."""
    path = Path(file)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(result), encoding="utf-8")
    os.replace(partial, path)


def run(
    design: Design,
    folder: str | Path,
    draw: Callable[[Cell, np.random.Generator], Truth],
    *,
    executor: Executor | None = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> list[dict[str, Any]]:
    """Do the fits of a study that are not on disk yet, and read all of them.

    Parameters
    ----------
    design : Design
        The study.
    folder : str or Path
        Its folder; workers write into ``fits/`` below it.
    draw : callable
        Draws the truth of one data set.
    executor : concurrent.futures.Executor, optional
        Who does the fits; its workers must see the folder. By default processes of our own, which are ended
        with the study.
    cores : int, optional
        Number of such processes; by default one per core. Every fit runs its chains one after the other.
    progressbar : bool
        Whether to show one bar for the whole study.

    Returns
    -------
    list of dict
        What `do` wrote, by cell and index.

    Raises
    ------
    StudyInterrupted
        After Ctrl-C. What is finished is on disk.
    StudyError
        If a worker died, or no data set at all could be fitted.
    """
    places = [(cell, i) for cell in design.cells for i in range(design.studies)]

    def make(k: int, file: Path) -> Job:
        cell, i = places[k]
        return Job(design, cell, i, draw(cell, np.random.default_rng(design.seeds(cell, i)[0])), str(file))

    return finish(
        [Path(folder) / "fits" / cell.name / f"{i + 1:04d}.json" for cell, i in places],
        make,
        do,
        folder,
        title=design.kind.capitalize(),
        executor=executor,
        cores=cores,
        progressbar=progressbar,
    )


def finish(
    files: Sequence[Path],
    make: Callable[[int, Path], Any],
    do: Callable[[Any], str],
    folder: str | Path,
    *,
    title: str,
    executor: Executor | None = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> list[dict[str, Any]]:
    """Do the jobs whose result is not on disk yet, and read all results.

    Parameters
    ----------
    files : sequence of Path
        Where each result goes.
    make : callable
        From the place in `files` and the file to the job, which can be sent to another process.
    do : callable
        Does a job, writes its result (`write_result`) and returns its status; runs in a worker.
    folder, executor, cores, progressbar
        As in `run`.
    title : str
        Of the bar.

    Returns
    -------
    list of dict
        In the order of `files`.

    Raises
    ------
    StudyInterrupted, StudyError
        As `run`.
    """
    missing = [make(k, file) for k, file in enumerate(files) if not file.exists()]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    if missing:
        try:
            with _workers(executor, min(cores or _n_cores(), len(missing))) as pool:
                _all(missing, do, pool, len(files), title, progressbar, guard=executor is None)
        except KeyboardInterrupt:
            raise StudyInterrupted(_stopped(files, folder)) from None
        except BrokenProcessPool:
            raise StudyError(
                f"a worker process ended by itself (out of memory?). {_stopped(files, folder)} Fewer cores at a time "
                'need less memory. In a script of your own the call must be below if __name__ == "__main__":.'
            ) from None
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    if all(r["status"] == "failed" for r in results):
        raise StudyError(
            f"no data set of this study could be fitted. The first: {results[0]['message']} "
            f"(Delete {Path(folder) / 'fits'} to try again.)"
        )
    return results


def _stopped(files: Sequence[Path], folder: str | Path) -> str:
    done = sum(file.exists() for file in files)
    return f"Stopped: {done} of {len(files)} fits are finished and kept in {folder}. The same command continues there."


def _all(
    missing: Sequence[Any],
    do: Callable[[Any], str],
    pool: Executor,
    total: int,
    title: str,
    progressbar: bool,
    *,
    guard: bool,
) -> None:
    """Hand out the jobs and wait, with one progress bar."""
    counts = {"not converged": 0, "failed": 0}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("fits{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=progress_console(), disable=not progressbar) as bar:
        task = bar.add_task(title, total=total, completed=total - len(missing), note="")
        futures: list[Future[str]] = []
        try:
            with _children_ignore_interrupts(guard):
                futures += [pool.submit(do, job) for job in missing]
            for future in as_completed(futures):
                status = future.result()
                if status in counts:
                    counts[status] += 1
                note = "".join(f", {n} {what}" for what, n in counts.items() if n)
                bar.update(task, advance=1, note=note)
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _workers(executor: Executor | None, n: int) -> Iterator[Executor]:
    """Yield the executor; processes of our own are ended at once when something goes wrong."""
    if executor is not None:
        yield executor
        return
    before = set(multiprocessing.active_children())
    # Started afresh, not forked: the compiled code and the samplers of this process have threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n, mp_context=context, initializer=_begin)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Prepare a worker process: quiet, and gone when the study is."""
    for name in ("fitrl", "pymc"):  # their messages would break the bar; retries are part of the result
        logging.getLogger(name).setLevel(logging.ERROR)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    """Leave when the parent is gone, however it ended; waiting for work, a worker would not notice."""
    parent.join()
    os._exit(1)


@contextmanager
def _children_ignore_interrupts(guard: bool) -> Iterator[None]:
    """Let processes that start meanwhile ignore Ctrl-C: it is for us to end them, between two fits or not."""
    if not guard or threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
