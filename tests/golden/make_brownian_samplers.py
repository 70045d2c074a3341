"""Writes data/brownian_samplers.json: paths of torchsde's BrownianTree, and where k-diffusion's SDE
samplers end with them, for brownian_samplers_test.cpp.

Needs torch, numpy, torchsde 0.2.6 and k_diffusion 0.1.1 (PACKAGES: a folder that holds these two).
Run: python3 make_brownian_samplers.py
"""
import importlib
import json
import os
import sys
import types

sys.path.insert(0, os.environ["PACKAGES"])
import numpy as np
import torch
import torchsde

SHAPE = (1, 4, 4, 4)
LOW, HIGH = 0.0291675, 14.614642
COUNT = 64
INIT = torch.tensor(np.sin(np.arange(COUNT) * 1.7), dtype=torch.float32).view(SHAPE)
BASE = torch.tensor(np.cos(np.arange(COUNT) * 0.9), dtype=torch.float32).view(SHAPE)


def sampling():
    """k-diffusion's sampling.py alone: the rest needs packages that sampling does not."""
    package = types.ModuleType("k_diffusion")
    package.__path__ = [os.path.join(os.environ["PACKAGES"], "k_diffusion")]
    sys.modules["k_diffusion"] = package
    for name in ("torchdiffeq", "scipy", "k_diffusion.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchdiffeq"].odeint = sys.modules["scipy"].integrate = None
    package.utils = sys.modules["k_diffusion.utils"]
    package.utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    return importlib.import_module("k_diffusion.sampling")


def numbers(tensor, count=None):
    return [float(v) for v in tensor.flatten()[:count]]


def tree(seed):
    path = torchsde.BrownianTree(LOW, torch.zeros(SHAPE), HIGH, entropy=seed)
    levels = [LOW, 0.03, 0.1, 1.0, 1.5, 2.000001, 7.3, 14.0, HIGH]
    return dict(seed=seed, low=LOW, high=HIGH, levels=levels,
                increments=[numbers(path(LOW, b), 16) for b in levels[1:]])


def sampler(k, name, function, sigmas):
    table = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    alphas = torch.cumprod(1.0 - table, 0)
    levels = (((1 - alphas) / alphas) ** 0.5).double()
    low, high, steps = float(levels[0]), float(levels[-1]), 6
    if sigmas == "karras":
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        grid = (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    else:
        grid = torch.linspace(np.log(high), np.log(low), steps, dtype=torch.float64).exp()
    grid = torch.cat([grid, torch.zeros(1, dtype=torch.float64)])

    def network(x, sigma, **kwargs):
        s = float(sigma)
        t = float(np.interp(np.log(s), levels.log().numpy(), np.arange(1000)))
        seen = x / (s * s + 1) ** 0.5
        return x - s * (torch.tanh(seen) * (0.3 + 0.5 * t / 1000.0) + 0.4 * BASE)

    noise = k.BrownianTreeNoiseSampler(INIT, grid[grid > 0].min(), grid.max(), seed=42)
    result = getattr(k, function)(network, INIT * float(grid[0]), grid, noise_sampler=noise,
                                  disable=True)
    return dict(scheduler=name, sigmas_name=sigmas, steps=steps, seed=42, result=numbers(result))


def main():
    k = sampling()
    samplers = [sampler(k, name, function, sigmas)
                for name, function in (("dpm++sde", "sample_dpmpp_sde"),
                                       ("dpm++2m_sde", "sample_dpmpp_2m_sde"),
                                       ("dpm++3m_sde", "sample_dpmpp_3m_sde"))
                for sigmas in ("karras", "exponential")]
    words = [dict(entropy=entropy, spawn_key=key, words=[
        int(w) for w in np.random.SeedSequence(entropy=entropy, spawn_key=key,
                                               pool_size=24).generate_state(30)])
             for entropy, key in ((0, ()), (5, (3, 2)), (2**33 + 7, ()), (2**64 - 1, (9, 11)))]
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "data", "brownian_samplers.json"), "w") as file:
        json.dump(dict(shape=SHAPE[1:], init=numbers(INIT), base=numbers(BASE), words=words,
                       trees=[tree(s) for s in (0, 5, 2**33 + 7)], samplers=samplers), file)


main()
