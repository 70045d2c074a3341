"""One picture painted by mos and by diffusers: same prompt, same noise, float32."""

import contextlib
import logging
import math
import os
import pathlib
import subprocess
import warnings

import numpy
import torch
from diffusers import DDIMScheduler
from PIL import Image

MOS = os.environ["MOS_BINARY"]
PROJECT = pathlib.Path(os.environ["MOS_PROJECT"])
PROMPT = "a photo of a lion on the beach"
STEPS, GUIDANCE, SEED = 6, 3.5, 7

# The embedded base paints something; the random weights of the other have a width of their own.
MODELS = {"embedded": PROJECT / "base", "tiny": PROJECT / "tests/golden/data/tiny_sd"}
SIZES = {"embedded": 128, "tiny": 64}


def mos(*arguments):
    """Runs mos; its complaint is the failure's text."""
    done = subprocess.run([MOS, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"mos {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def here(base, folder, *options, prompt=PROMPT, size=128):
    """The picture of `mos sample`, uint8 [H,W,3]."""
    out = folder / "here.png"
    mos("sample", "--base", base, "--prompt", prompt, "--out", out, "--dtype", "float32",
        "--scheduler", "ddim", "--steps", STEPS, "--guidance-scale", GUIDANCE, "--seed", SEED,
        "--height", size, "--width", size, *options)
    return numpy.asarray(Image.open(out).convert("RGB"))


def there(pipe, *, prompt=PROMPT, size=128, **inputs):
    """The picture of a pipeline of diffusers from the same noise, uint8 [H,W,3]."""
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    picture = pipe(prompt, height=size, width=size, num_inference_steps=STEPS,
                   guidance_scale=GUIDANCE, output_type="np",
                   generator=torch.Generator("cpu").manual_seed(SEED), **inputs).images[0]
    return (picture * 255).round().astype("uint8")


def psnr(first, second):
    error = numpy.mean((first.astype(float) - second.astype(float)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


class _Collector(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


@contextlib.contextmanager
def silence():
    """Nothing in it may warn: neither Python's warnings nor the loggers of the libraries."""
    collector = _Collector()
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "peft")]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
    said = collector.said + [str(warning.message) for warning in caught]
    if said:
        raise AssertionError("it warns: " + "; ".join(said))
