# The training step of TestTrainingAgainstNumpy in numpy: same network, batch and
# Adam, buffers reused. For every line read it does so many steps and prints the
# user CPU seconds that they took.
import os
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import resource

import numpy as np

widths, batch = [800, 512, 256, 128, 160], 64
rng = np.random.default_rng(1)
shapes = list(zip(widths[:-1], widths[1:]))
size = sum(a * b + b for a, b in shapes)
w, g, m, v = (np.zeros(size, "f") for _ in range(4))
one = np.empty(size, "f")


def views(flat):
    out, at = [], 0
    for a, b in shapes:
        out.append((flat[at : at + a * b].reshape(a, b), flat[at + a * b : at + a * b + b]))
        at += a * b + b
    return out


W, G = views(w), views(g)
for (a, _), (k, _) in zip(shapes, W):
    k[:] = rng.uniform(-1, 1, k.shape) * np.sqrt(6 / a)
x = rng.uniform(-1, 1, (batch, widths[0])).astype("f")
want = rng.uniform(-1, 1, (batch, widths[-1])).astype("f")
y = [np.empty((batch, n), "f") for n in widths[1:]]
dy = [np.empty((batch, n), "f") for n in widths[1:]]
b1, b2, rate, eps = np.float32(0.9), np.float32(0.999), np.float32(1e-3), np.float32(1e-8)
step = 0


def train():
    global step
    h = x
    for i, (k, b) in enumerate(W):
        np.dot(h, k, out=y[i])
        y[i] += b
        if i < len(W) - 1:
            np.maximum(y[i], 0, out=y[i])
        h = y[i]
    np.subtract(h, want, out=dy[-1])
    dy[-1] *= np.float32(2 / want.size)
    for i in range(len(W) - 1, -1, -1):
        np.dot((y[i - 1] if i else x).T, dy[i], out=G[i][0])
        np.sum(dy[i], axis=0, out=G[i][1])
        if i:
            np.dot(dy[i], W[i][0].T, out=dy[i - 1])
            dy[i - 1] *= y[i - 1] > 0
    step += 1
    m.__imul__(b1)
    np.multiply(g, 1 - b1, out=one)
    m.__iadd__(one)
    v.__imul__(b2)
    np.multiply(g, g, out=one)
    one.__imul__(1 - b2)
    v.__iadd__(one)
    root = np.float32(np.sqrt(1 - 0.999**step))
    np.sqrt(v, out=one)
    one.__iadd__(eps * root)
    np.divide(m, one, out=one)
    one.__imul__(rate * root / np.float32(1 - 0.9**step))
    w.__isub__(one)


train()
for line in sys.stdin:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for _ in range(int(line)):
        train()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before, flush=True)
