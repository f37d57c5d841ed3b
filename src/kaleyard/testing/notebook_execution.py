"""A notebook run from top to bottom in a kernel of its own, and what became of each cell."""

from __future__ import annotations

import asyncio
import copy
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Executed", "ExecutionFailure", "Kernels", "execute"]

_SKIP = "kaleyard-not-run"
_STARTUP = 120  # seconds that a kernel may take to answer


@dataclass(frozen=True, slots=True)
class ExecutionFailure:
    """What stopped a notebook: "died", "memory" or "timeout", at which code cell (from 0), and in words."""

    kind: str
    cell: int
    words: str


@dataclass(slots=True)
class Executed:
    """The code cells' outputs and counts, as far as the notebook came."""

    outputs: dict[int, list[Any]] = field(default_factory=dict)
    counts: dict[int, int | None] = field(default_factory=dict)
    trouble: ExecutionFailure | None = None


def execute(notebook: Any, folder: Path, skip: frozenset[int], timeout: float | None) -> Executed:
    """Run the notebook's code cells but those in `skip` (counted from 0); errors are outputs as others are."""
    return asyncio.run(_execute(notebook, folder, skip, timeout))


async def _execute(notebook: Any, folder: Path, skip: frozenset[int], limit: float | None) -> Executed:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    from kaleyard.runtime.kernels.bounded_output import BoundedOutput
    from kaleyard.runtime.kernels.step_kernel import StepKernelManager

    class BoundedClient(BoundedOutput, NotebookClient):  # type: ignore[misc]
        """nbclient, keeping a bounded part of what a cell puts out."""

    whole = copy.deepcopy(notebook)
    code = [cell for cell in whole.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        cell.outputs, cell.execution_count = [], None
        if number in skip:
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), _SKIP]
    client = BoundedClient(
        whole,
        timeout=limit,
        startup_timeout=_STARTUP,
        allow_errors=True,
        kernel_manager_class=StepKernelManager,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        skip_cells_with_tag=_SKIP,
        shutdown_kernel="immediate",
    )
    trouble = None
    process: Any = None
    try:
        async with client.async_setup_kernel():
            process = getattr(client.km.provisioner, "process", None)
            at = -1
            try:
                for index, cell in enumerate(whole.cells):
                    at += cell.cell_type == "code"
                    await client.async_execute_cell(cell, index)
            except CellTimeoutError:
                trouble = ExecutionFailure("timeout", at, f"it ran longer than {limit:g} s")
            except DeadKernelError:
                trouble = _dead(at, process)
    except RuntimeError as error:
        trouble = trouble or ExecutionFailure("died", 0, f"the kernel did not start: {error}")
    done = Executed(trouble=trouble)
    for number, cell in enumerate(code):
        done.outputs[number], done.counts[number] = cell.outputs, cell.execution_count
        if trouble is None and any(o.get("ename") == "MemoryError" for o in cell.outputs):
            done.trouble = ExecutionFailure("memory", number, "it ran out of memory: MemoryError")
    return done


def _dead(at: int, process: Any) -> ExecutionFailure:
    import signal

    from kaleyard.runtime.memory_limit import exceeded_limit, memory_size

    code = process.poll() if process is not None else None
    if code == -signal.SIGKILL and (limit := exceeded_limit()):
        return ExecutionFailure("memory", at, f"it was killed: it used more memory than there is, {memory_size(limit)}")
    if code is not None and code < 0:
        more = " (out of memory, perhaps)" if code == -signal.SIGKILL else ""
        return ExecutionFailure("died", at, f"the kernel was killed by {signal.Signals(-code).name}{more}")
    return ExecutionFailure(
        "died", at, "the kernel ended its own process" + (f" with exit code {code}" if code else "")
    )


class Kernels:
    """Runs notebooks beside each other, each in a kernel of its own; warm ones where they can be had and are wanted."""

    def __init__(self, jobs: int, *, warm: bool = False) -> None:
        self._pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="notebook")
        self._warm = warm
        self._server: Any = None
        self._before: str | None = None

    def expect(self, modules: list[str], notebooks: int) -> None:
        """Start what makes kernels warm, with these modules imported."""
        from kaleyard.execution.prewarm.fork_servers import KernelServer, cold_reason

        if not self._warm or cold_reason():
            return
        from jupyter_client.provisioning import KernelProvisionerFactory

        from kaleyard.execution.prewarm import provisioner as kernels

        self._server = KernelServer()
        self._server.expect(modules, notebooks)
        self._before = KernelProvisionerFactory.instance().default_provisioner_name
        kernels.prepare()
        kernels.use_kernels(self._server.address, modules)

    def submit(self, notebook: Any, folder: Path, skip: frozenset[int], timeout: float | None) -> Future[Executed]:
        """The notebook's run, to be waited for."""
        return self._pool.submit(execute, notebook, folder, skip, timeout)

    def close(self) -> None:
        """End what is left of it."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._server is not None:
            from jupyter_client.provisioning import KernelProvisionerFactory

            self._server.close()
            KernelProvisionerFactory.instance().default_provisioner_name = self._before
