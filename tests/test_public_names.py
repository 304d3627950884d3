"""Every public name is there, whichever is asked for first."""

import subprocess
import sys
from types import ModuleType

import pytest

import sparsescape as ss

MODULES = [name for name in ss.__all__ if isinstance(getattr(ss, name), ModuleType)]


def test_every_public_name_is_there():
    assert {"RigL", "structures", "scores"} <= set(ss.__all__)
    assert "structures" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_a_public_module_can_be_the_first_that_is_asked_for(name):
    subprocess.run([sys.executable, "-c", f"import sparsescape; sparsescape.{name}"], check=True)
