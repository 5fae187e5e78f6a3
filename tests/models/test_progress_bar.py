"""Bars of trainings: importing them asks for nothing."""

import subprocess
import sys

NOTEBOOK_WITHOUT_WIDGETS = """
import sys, types
sys.modules["ipywidgets"] = None  # an import of it fails, as if it were not installed
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")
sys.modules["IPython"] = shell = types.ModuleType("IPython")
shell.get_ipython = object
sys.modules["deepchem_xc.models"] = room = types.ModuleType("deepchem_xc.models")
room.__path__ = [PATH]
# Its import takes seconds, and the bar needs only the name.
sys.modules["deepchem_xc.models.ground_states"] = types.ModuleType("ground_states")
sys.modules["deepchem_xc.models.ground_states"].GroundStates = object
from deepchem_xc.models.progress_bar import progress_bar
assert list(progress_bar(True, iterable=range(2))) == [0, 1]
"""


def test_a_notebook_without_widgets_gets_a_bar_of_text_and_no_warning():
    import deepchem_xc.models as models

    code = NOTEBOOK_WITHOUT_WIDGETS.replace("PATH", repr(models.__path__[0]))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "2/2" in run.stderr
    assert "Warning" not in run.stderr
