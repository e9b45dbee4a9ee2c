"""`python -m tunalm` under FSDP2 without a GPU: accelerate shards models on accelerators only, torch on any device."""

from __future__ import annotations

import os
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from tunalm.cli.app import main

plain = AcceleratorState.__init__


def sharding(self: AcceleratorState, *args: Any, **kwargs: Any) -> None:
    """Do for processes on CPUs what accelerate does for those on GPUs."""
    plain(self, *args, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = FullyShardedDataParallelPlugin()  # reads what `accelerate launch` has set


if __name__ == "__main__":
    AcceleratorState.__init__ = sharding
    main()
