"""RiGL under Sign-In in a loop of one's own, and what it measures, for any logger."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from sparse_training import SignIn, make_masks, sparsify
from sparse_training.integrations import Measures
from sparse_training.methods import RiGL

x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
x = x.float() / 16
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
sparse = sparsify(model, make_masks(model, density=0.1, score="random", distribution="erk"), SignIn(beta=1.0))
optimizer = torch.optim.AdamW(sparse.parameter_groups(weight_decay=0.01), lr=3e-3)
RiGL(every=20).attach(sparse, optimizer, total_steps=200)  # from here on each optimizer.step() is a step of RiGL
measures = Measures(sparse, sharpness=(cross_entropy, (x[:500], y[:500])))
for step in range(200):
    batch = torch.randint(1500, (64,))
    optimizer.zero_grad()
    cross_entropy(model(x[batch]), y[batch]).backward()
    optimizer.step()
    if step % 100 == 99:
        sparse.reset(optimizer)
        found = measures(optimizer)  # wandb.log(found), mlflow.log_metrics(found), ...
        print({name: round(found[f"sparse/{name}"], 4) for name in ("density", "flipped_since_start", "lambda_max")})
print(f"accuracy {(sparse.merge()(x[1500:]).argmax(1) == y[1500:]).float().mean():.3f}")
