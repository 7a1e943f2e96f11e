"""Captured CUDA graphs: a function that works in place is recorded once and replayed with one launch."""

from collections.abc import Callable
from typing import Any

import torch

WARM_UP = 3
"""Calls before a capture, in which libraries and compilers set up what they cannot set up in it."""


class Programs:
    """Make programs, functions of no arguments that work in place on tensors that stay where they are.

    To make one on a GPU is to run it a few times; so load what they work on afterwards.

    Args:
        device: Where the tensors are.
        graphs: Whether programs are captured; otherwise they are the functions themselves. Left out: on a CUDA device.
    """

    def __init__(self, device: torch.device, *, graphs: bool | None = None) -> None:
        graphs = device.type == "cuda" if graphs is None else graphs
        if graphs and device.type != "cuda":
            raise ValueError(f"Only a CUDA device can capture graphs, got {device}; set graphs=False.")
        self.device, self.graphs = device, graphs
        self._pool = torch.cuda.graph_pool_handle() if graphs else None

    @torch.no_grad()
    def make(
        self,
        function: Callable[[], Any],
        *,
        prepare: Callable[[], Any] = lambda: None,
        compile: bool = False,
    ) -> Callable[[], Any]:
        """Return a program; what it returns stays in one place and is overwritten by its next call.

        Args:
            function: What it does.
            prepare: Called before each run that only warms up.
            compile: Whether ``torch.compile`` fuses it first.
        """
        if compile:
            function = torch.compile(function, fullgraph=True, dynamic=False)
        if not self.graphs:
            return function
        with torch.cuda.device(self.device):
            side, graph = torch.cuda.Stream(self.device), torch.cuda.CUDAGraph()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    prepare()
                    function()
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                output = function()

        def replay() -> Any:
            graph.replay()
            return output

        return replay
