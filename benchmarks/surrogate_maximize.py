"""Maximise random networks through their pruned copies, beside the honest alternatives given the same time.

    python benchmarks/surrogate_maximize.py [--quick] [--seeds 2] [--seconds 60] [--jobs 1]
        [--folder results/surrogate_maximize] [--engine highspy]

The study `convexnn reproduce maximize` with a limit of time and an engine of one's own.
"""

from surrogate_options import main

if __name__ == "__main__":
    main("maximize", __doc__, 2)
