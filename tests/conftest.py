"""One numerical thread for each process: the workers of pytest share the cores, and OpenMP's threads wait by spinning."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
