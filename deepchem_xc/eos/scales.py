"""Volumes at which energy curves are computed, in units of the given structure's volume.

For layers these are areas.
"""

from __future__ import annotations

#: Volumes around a minimum that is known to a per cent or two: those of equations of state and of
#: their reference calculations.
VOLUME_SCALES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)

#: Volumes of entries: wide enough for untrained functionals. Their number differs from that of
#: `VOLUME_SCALES`, so that labels for those are noticed.
WIDE_VOLUME_SCALES = (0.88, 0.91, 0.94, 0.97, 1.0, 1.03, 1.06, 1.09, 1.12)
