"""What is freed in one step is there for the next."""

import subprocess
import sys

from sparsescape.studies.executors.memory import keep_freed_memory

STEPS = """
import resource, torch
from sparsescape.studies.executors.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    return [torch.ones(50_000_000 // 4) for _ in range(3)]

kept = keep_freed_memory()
for _ in range(8):  # aligned blocks are cut from larger ones until all fit
    step()
before = faults()
for _ in range(5):
    step()
print(int(kept), faults() - before)
"""


def test_memory_that_is_freed_is_taken_again():
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    kept, faults = map(int, done.stdout.split())
    assert kept == keep_freed_memory()
    if kept:  # of the 183 000 pages of five steps
        assert faults < 1000


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
