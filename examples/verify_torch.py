"""Verify a torch network as it is: train it, choose a region, get a proof or a witness."""

import numpy as np
import torch
from torch import nn

import verify

# Three classes in the plane, one for each third of the circle, and a small network trained on them.
generator = torch.Generator().manual_seed(0)
points = torch.rand((600, 2), generator=generator) * 2 - 1
labels = ((torch.atan2(points[:, 1], points[:, 0]) + torch.pi) / (2 * torch.pi / 3)).long().clamp(max=2)

torch.manual_seed(0)
module = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
for _ in range(300):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(module(points), labels)
    loss.backward()
    optimizer.step()
print(f"training accuracy {(module(points).argmax(1) == labels).double().mean():.1%}")

network = verify.read_network(module)
print(network)
x = np.array([0.6, 0.1])
for radius in (0.1, 0.4, 0.7):
    answer = verify.find_adversarial(network, verify.LinfBall(x, radius))
    print(f"radius {radius:g}: {answer}")
    if answer.witness is not None:
        with torch.no_grad():
            outputs = module(torch.tensor(answer.witness, dtype=torch.float32))
        print(f"  the module itself says class {int(outputs.argmax())} at {answer.witness.round(3)}")
