"""Writes data/sigma_samplers.json: trajectories of diffusers' schedulers and k-diffusion's samplers
that sigma_samplers_test.cpp follows.

Needs torch, scipy, diffusers 0.29.2 (DIFFUSERS: a folder that holds it) and k_diffusion 0.1.1
(K_DIFFUSION: the same). Run: python3 make_sigma_samplers.py
"""
import importlib.util
import json
import os
import sys
import types

sys.path.insert(0, os.environ["DIFFUSERS"])
import numpy as np
import torch
import diffusers
from diffusers import (EulerAncestralDiscreteScheduler, HeunDiscreteScheduler,
                       KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler, LCMScheduler,
                       LMSDiscreteScheduler, TCDScheduler, UniPCMultistepScheduler)

CONFIG = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
INIT = [0.6, -1.1, 0.25, 1.7]
BASE = [0.9, -0.3, -1.2, 0.4]
NOISE = np.random.RandomState(11).randn(64, 4).astype(np.float32)


class Noise:
    """The rows of NOISE, one after the other."""

    def __init__(self, for_each_row=1):
        self.drawn, self.for_each_row = 0, for_each_row

    def next(self, dtype):
        self.drawn += 1
        self.used = -(-self.drawn // self.for_each_row)
        return torch.tensor(NOISE[self.used - 1], dtype=dtype).view(1, 4, 1, 1)

    def __call__(self, *args, dtype=torch.float32, **kwargs):
        return self.next(dtype)


def network(x, t):
    base = torch.tensor(BASE, dtype=x.dtype).view(1, 4, 1, 1)
    return torch.tanh(x) * (0.3 + 0.5 * float(t) / 1000.0) + 0.4 * base


def numbers(tensor):
    return [float(v) for v in tensor.flatten()]


def diffusers_case(name, cls, steps, changes={}, step_args={}):
    scheduler = cls(**{**CONFIG, **changes})
    # This one draws in both calls of a step and uses the second one's, k-diffusion draws once.
    noise = Noise(2 if cls is KDPM2AncestralDiscreteScheduler else 1)
    module = sys.modules[cls.__module__]
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = noise
    scheduler.set_timesteps(steps)
    sample = torch.tensor(INIT).view(1, 4, 1, 1) * scheduler.init_noise_sigma
    samples = []
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(sample, t), t)
        sample = scheduler.step(output, t, sample, **step_args).prev_sample
        samples.append(numbers(sample))
    return dict(scheduler=name, config={**CONFIG, **changes}, steps=steps,
                init_noise_sigma=float(scheduler.init_noise_sigma),
                timesteps=[float(t) for t in scheduler.timesteps], samples=samples)


def k_diffusion():
    """Its sampling.py alone: the rest needs packages that sampling does not."""
    folder = os.path.join(os.environ["K_DIFFUSION"], "k_diffusion")
    package = types.ModuleType("k_diffusion")
    package.__path__ = [folder]
    sys.modules["k_diffusion"] = package
    for name in ("torchsde", "torchdiffeq", "k_diffusion.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchdiffeq"].odeint = None
    sys.modules["k_diffusion.utils"].append_dims = (
        lambda x, n: x[(...,) + (None,) * (n - x.ndim)])
    package.utils = sys.modules["k_diffusion.utils"]
    return importlib.import_module("k_diffusion.sampling")


def levels():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    alphas = torch.cumprod(1.0 - betas, 0)
    return (((1 - alphas) / alphas) ** 0.5).double()


def grid(name, table, steps):
    """ComfyUI's and k-diffusion's definitions."""
    logs = table.log()
    at = lambda t: float(np.exp(np.interp(t, np.arange(1000), logs.numpy())))
    if name == "karras":
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        low, high = table[0] ** (1 / 7), table[-1] ** (1 / 7)
        sigmas = ((high + ramp * (low - high)) ** 7).tolist()
    elif name == "exponential":
        sigmas = torch.linspace(logs[-1], logs[0], steps, dtype=torch.float64).exp().tolist()
    elif name == "normal":
        sigmas = [at(t) for t in np.linspace(999, 0, steps)]
    elif name == "sgm_uniform":
        sigmas = [at(t) for t in np.linspace(999, 0, steps + 1)[:-1]]
    elif name == "simple":
        sigmas = [float(table[-(1 + int(x * 1000 / steps))]) for x in range(steps)]
    else:
        import scipy.stats
        ts = np.rint(scipy.stats.beta.ppf(1 - np.linspace(0, 1, steps, endpoint=False), 0.6, 0.6) *
                     999)
        sigmas, last = [], -1
        for t in ts:
            if t != last:
                sigmas.append(float(table[int(t)]))
            last = t
    return sigmas + [0.0]


def k_case(sampling, name, function, sigmas_name, steps, more={}, discard=False):
    table = levels()
    sigmas = grid(sigmas_name, table, steps + (1 if discard else 0))
    if discard:
        sigmas = sigmas[:-2] + sigmas[-1:]
    noise, calls = Noise(), []

    def model(x, sigma, **kwargs):
        s = float(sigma)
        t = float(np.interp(np.log(s), table.log().numpy(), np.arange(1000)))
        calls.append(t)
        return x - s * network(x / (s * s + 1) ** 0.5, t)

    args = dict(more)
    if "noise" in args:
        args.pop("noise")
        args["noise_sampler"] = lambda a, b: noise.next(torch.float64)
    sample = torch.tensor(INIT, dtype=torch.float64).view(1, 4, 1, 1) * sigmas[0]
    result = getattr(sampling, function)(model, sample, torch.tensor(sigmas, dtype=torch.float64),
                                         disable=True, **args)
    return dict(scheduler=name, sigmas_name=sigmas_name, config=CONFIG, steps=steps, sigmas=sigmas,
                timesteps=calls, result=numbers(result))


def main():
    sampling = k_diffusion()
    ours = []
    for spacing, offset in (("linspace", 0), ("leading", 1), ("trailing", 0)):
        more = dict(timestep_spacing=spacing, steps_offset=offset)
        for cls in (HeunDiscreteScheduler, KDPM2DiscreteScheduler, KDPM2AncestralDiscreteScheduler,
                    EulerAncestralDiscreteScheduler, LMSDiscreteScheduler):
            ours.append(diffusers_case(cls.__name__, cls, 7, more))
        for order in (1, 2, 3):
            for kind in ("bh1", "bh2"):
                ours.append(diffusers_case(
                    "UniPCMultistepScheduler", UniPCMultistepScheduler, 8,
                    dict(more, solver_order=order, solver_type=kind,
                         final_sigmas_type="zero" if kind == "bh2" and order == 2 else "sigma_min")))
    for prediction in ("epsilon", "v_prediction"):
        few = dict(prediction_type=prediction, clip_sample=False)
        ours.append(diffusers_case("LCMScheduler", LCMScheduler, 4, few))
        ours.append(diffusers_case("TCDScheduler", TCDScheduler, 4, few))
    k = []
    table = [("euler", "sample_euler", {}), ("euler_a", "sample_euler_ancestral", {"noise": 1}),
             ("heun", "sample_heun", {}), ("dpm2", "sample_dpm_2", {}),
             ("dpm2_a", "sample_dpm_2_ancestral", {"noise": 1}), ("lms", "sample_lms", {}),
             ("dpm++2s_a", "sample_dpmpp_2s_ancestral", {"noise": 1}),
             ("dpm++", "sample_dpmpp_2m", {}),
             ("dpm++2m_sde", "sample_dpmpp_2m_sde", {"noise": 1, "solver_type": "midpoint"}),
             ("DPM++ 2M SDE Heun", "sample_dpmpp_2m_sde", {"noise": 1, "solver_type": "heun"}),
             ("dpm++3m_sde", "sample_dpmpp_3m_sde", {"noise": 1})]
    for name, function, more in table:
        if not hasattr(sampling, function):
            print("without", function)
            continue
        for sigmas in ("karras", "exponential", "normal", "sgm_uniform", "simple", "beta"):
            k.append(k_case(sampling, name, function, sigmas, 6, more,
                            discard=name.startswith("dpm2")))
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "data", "sigma_samplers.json"), "w") as file:
        json.dump(dict(init=INIT, base=BASE, noise=NOISE.tolist(), diffusers=ours, k_diffusion=k),
                  file)


main()
