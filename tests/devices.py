"""The device that tests marked ``gpu`` hold against the CPU.

It is "cuda". With ``TEST_DEVICE=cpu`` in the environment the same tests compare the CPU with itself
on machines without a GPU, which shows that everything but the device is right in them.
"""

from __future__ import annotations

import os

#: Name of the device, as ``device=`` takes it.
GPU = os.environ.get("TEST_DEVICE", "cuda")
#: Both, the reference first.
DEVICES = ("cpu", GPU)
