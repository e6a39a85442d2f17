"""One numerical thread a process: the workers of pytest share the cores, and threads of OpenMP wait by spinning."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
