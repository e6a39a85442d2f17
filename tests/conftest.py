"""One numerical thread a process, as the workers of pytest share the cores and threads of OpenMP wait by spinning.

Hypothesis gives an example no time limit: on a busy machine any example may take long.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")
