"""Attack MNIST networks through their pruned copies, beside the honest alternatives: found, how fast, how far.

    CONVEXNN_DATA=folder python benchmarks/surrogate_attack.py [--quick] [--seeds 3] [--seconds 60] [--jobs 1]
        [--folder results/surrogate_attack] [--engine highspy]

The study `convexnn reproduce attack` with a limit of time and an engine of one's own.
"""

from surrogate_options import main

if __name__ == "__main__":
    main("attack", __doc__, 3)
