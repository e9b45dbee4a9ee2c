"""How benchmarks measure: variants side by side in one process, ratios round by round, peak memory in a fresh process.

Times of a busy machine mean little, and ratios of times taken minutes apart hardly more. So every round runs all
variants one after the other, each round in another order, and what is reported is the spread of the rounds' ratios.
On a CPU the clock is that of the process, which stands still while others have the processor.
"""

from __future__ import annotations

import ctypes
import gc
import json
import multiprocessing
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tunalm.progress import progress

Clock = Callable[[Callable[[], object]], float]
"""Runs something and tells how many seconds it took."""
WIDTH_OF_FILES = 220
"""Columns of a table that does not go to a terminal."""


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def cpu_seconds(run: Callable[[], object]) -> float:
    """Processor seconds of this process, all its threads together."""
    start = time.process_time()
    run()
    return time.process_time() - start


def gpu_seconds(run: Callable[[], object]) -> float:
    """Seconds between two events on the current CUDA stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000  # type: ignore[no-any-return]


def clock_of(device: str) -> Clock:
    """The clock for a device, `cpu` or `cuda`."""
    return gpu_seconds if device == "cuda" else cpu_seconds


def interleaved(
    variants: Mapping[str, Callable[[], object]], rounds: int, *, clock: Clock = cpu_seconds, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds that each variant takes in each round.

    Every round begins with another variant, after `warm_up` rounds that do not count.

    Args:
        variants: what is run, by name.
        rounds: that count, at least one.
        clock: of the device that does the work.
        warm_up: rounds before the first that counts.
    """
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with progress("measuring", (warm_up + rounds) * len(names)) as advance:
        for number in range(warm_up + rounds):
            gc.collect()
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                taken = clock(variants[name])
                if number >= warm_up:
                    seconds[name].append(taken)
                advance(1)
    return seconds


def ratios(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """How many times as long the slow variant took, round by round."""
    return Spread.of([a / b for a, b in zip(slow, fast, strict=True)])


def peak_memory(make: Callable[..., Callable[[], object]], *arguments: object, device: str = "cpu") -> int:
    """Bytes by which memory rises while a variant runs, beyond what is there before and after.

    On a CPU this is the rise of the resident set's high-water mark (Linux), in a process of its own. On a GPU it is
    what the allocator hands out.

    Args:
        make: a function of a module (it is imported by the fresh process) that builds the variant; gradients and
            whatever else stays are allocated by a first run, which does not count.
        arguments: of `make`; they are pickled.
        device: `cpu` or `cuda`.
    """
    if device == "cuda":
        return _rise_on_gpu(make(*arguments))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_rise_on_cpu, make, arguments).result()


def _rise_on_cpu(make: Callable[..., Callable[[], object]], arguments: Sequence[object]) -> int:
    run = make(*arguments)
    run()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets VmHWM to VmRSS
    before = _high_water_mark()
    run()
    return _high_water_mark() - before


def _high_water_mark() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if found is None:
        raise RuntimeError("/proc/self/status has no VmHWM")
    return int(found[1]) * 1024


def _rise_on_gpu(run: Callable[[], object]) -> int:
    run()
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Print a table, as wide as it needs to be, and notes under it."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def write_json(path: Path, name: str, device: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Write `{benchmark, machine, results}`."""
    content = {"benchmark": name, "machine": machine(device), "results": list(results)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
