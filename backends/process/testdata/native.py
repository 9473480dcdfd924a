"""What C libraries print to descriptor 1, before and after the SDK is imported."""

import ctypes
import os

os.write(1, b"[native] before the import\n")
print("[python] before the import")

import pynomaly_plugin  # noqa: E402

libc = ctypes.CDLL(None)
os.write(1, b"[native] banner\n")
libc.puts(b"[libc] in a buffer")


class Native(pynomaly_plugin.Detector):
    def score(self, batch):
        libc.printf(b"[libc] in a call\n")
        libc.fflush(None)
        return batch.matrix.sum(axis=1)


pynomaly_plugin.serve(lambda setup: Native(), name="native", version="1.0.0", dtype="float64")
