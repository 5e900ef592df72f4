"""OpenVINO leaves another stack for signals behind where it compiles; the first signal would then end the process."""

import signal
import subprocess
import sys

import pytest
import torch

from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About
from paretina.ship.format import format_named
from paretina.ship.header import Header
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Whole
from paretina.system import signal_stack
from tiny import tiny_blueprint

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the stack is known on Linux")

SWAPS = """
import ctypes, faulthandler, mmap, os, signal, sys
faulthandler.enable()
from paretina.system import SignalStack, signal_stack, signal_stack_kept

def swapped():
    "Another stack, whose memory is given back."
    memory = mmap.mmap(-1, 1 << 16)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    other = SignalStack(address, 0, 1 << 16)
    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(other), None) == 0
    ctypes.CDLL(None).munmap(ctypes.c_void_p(address), 1 << 16)

signal.signal(signal.SIGUSR1, lambda *_: print("heard", flush=True))
if sys.argv[1] == "kept":
    with signal_stack_kept():
        swapped()
else:
    swapped()
os.kill(os.getpid(), signal.SIGUSR1)
os._exit(0)
"""


@pytest.mark.parametrize(("way", "code", "said"), [("kept", 0, "heard\n"), ("lost", -signal.SIGSEGV, "")])
def test_a_signal_is_heard_where_the_stack_is_kept(way, code, said):
    done = subprocess.run([sys.executable, "-c", SWAPS, way], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, said)


@pytest.mark.slow
def test_a_file_of_openvino_leaves_the_stack_as_it_was(tmp_path):
    format = format_named("openvino")
    format.require()
    network = tiny_blueprint().build().eval()
    model = network.model
    header = Header(About(tuple("abc")), model.preprocessing, model.resolution, model.channels, "float32")
    before = signal_stack().address
    format.write(Whole(in_inference_form(network)[0], OneOf()), tmp_path / "a.ovz", header)
    running = format.open(tmp_path / "a.ovz", threads=1)
    running.run(torch.zeros(2, 3, 20, 24, dtype=torch.uint8))
    assert signal_stack().address == before
