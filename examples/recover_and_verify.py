"""Recover a sparse ReLU network by hard thresholding, then ask how far it can be trusted."""

import numpy as np

import convexnn as cx
import verify

# A task that no linear function solves: are the first two of ten features of equal sign?
rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (400, 10))
y = np.sign(X[:, 0] * X[:, 1])

# Gates on two features each: every one sees a plane, cut at random. Equal masks are merged.
patterns = cx.sample_patterns(X, 300, kind="sparse", order=2, seed=0)
print(patterns)

solution = cx.solve(cx.ConvexProgram(X, y, patterns, budget=16))
print(solution)

network = solution.to_network()
fresh = rng.uniform(-1, 1, (2000, 10))
accuracy = (np.sign(network.predict(fresh)) == np.sign(fresh[:, 0] * fresh[:, 1])).mean()
print(f"{network}: {accuracy:.1%} on fresh data, at most {solution.mapping_error:.2f} from the convex model")

# The further from the boundary, the larger the change that the network provably bears.
for x in (np.full(10, 0.1), np.full(10, 0.5)):
    for radius in (0.05, 0.2, 0.6):
        answer = verify.find_adversarial(network, verify.LinfBall(x, radius, clip=(-1, 1)))
        print(f"point {x[0]:g}, radius {radius:g}: {answer.status.name.lower()} ({answer.seconds:.3f} s)")
