"""One HTML page of a training or benchmark, `deepchem-xc report`.

Contract: the folder that `deepchem-xc train` or `deepchem-xc benchmark` wrote in, one HTML page
out, complete in itself: figures are embedded, nothing is loaded from elsewhere and there are no
scripts. Texts from files are escaped. Nothing is computed again; what a folder does not hold is
named on the page, and a folder of something else is refused.
"""

from __future__ import annotations

from deepchem_xc.report.folders import ReportError, write_html_report

__all__ = ["ReportError", "write_html_report"]
