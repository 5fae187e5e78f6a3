"""The device that tests marked ``gpu`` hold against the CPU.

It is "cuda". ``TEST_DEVICE`` in the environment names another one, for machines without a GPU:
``cpu`` compares the CPU with itself, which shows that everything but the device is right in the
tests; ``meta`` is the device of `separate_device`, where mixing it with the CPU is an error.
"""

from __future__ import annotations

import os

#: Name of the device, as ``device=`` takes it.
GPU = os.environ.get("TEST_DEVICE", "cuda")
#: Both, the reference first.
DEVICES = ("cpu", GPU)
