"""One picture painted by mos and by diffusers: same prompt, same noise, float32."""

import contextlib
import dataclasses
import logging
import math
import os
import pathlib
import subprocess
import warnings

import numpy
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.utils.logging import disable_progress_bar
from PIL import Image

disable_progress_bar()

MOS = os.environ["MOS_BINARY"]
PROJECT = pathlib.Path(os.environ["MOS_PROJECT"])
PROMPT = "a photo of a lion on the beach"
STEPS, GUIDANCE, SEED = 4, 3.5, 7

# What is said whatever the file: transformers, of every row that is added to a vocabulary.
OF_ALL_FILES = ("The new embeddings will be initialized from a multivariate normal",)


@dataclasses.dataclass(frozen=True)
class Model:
    """A base model and the side of the pictures that it is asked for."""
    name: str
    folder: pathlib.Path
    size: int


# The embedded base paints something; the other has the vocabulary, the layers and the key names of
# Stable Diffusion 1.x, and random weights.
EMBEDDED = Model("embedded", PROJECT / "base", 128)
TINY = Model("tiny", PROJECT / "tests/golden/data/tiny_sd", 64)


def mos(*arguments):
    """Runs mos; its complaint is the failure's text."""
    done = subprocess.run([MOS, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"mos {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def here(model, scratch, *options, base=None, prompt=PROMPT):
    """The picture of `mos sample`, uint8 [H,W,3]."""
    out = scratch / "here.png"
    mos("sample", "--base", base or model.folder, "--prompt", prompt, "--out", out,
        "--dtype", "float32", "--scheduler", "ddim", "--steps", STEPS,
        "--guidance-scale", GUIDANCE, "--seed", SEED, "--height", model.size,
        "--width", model.size, *options)
    return numpy.asarray(Image.open(out).convert("RGB"))


def load(folder, kind=StableDiffusionPipeline, **parts):
    """The model as a pipeline of diffusers."""
    return kind.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None,
                                requires_safety_checker=False, **parts)


def there(model, pipe, *, prompt=PROMPT, **inputs):
    """The picture of a pipeline of diffusers from the same noise, uint8 [H,W,3]."""
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        picture = pipe(prompt, height=model.size, width=model.size, num_inference_steps=STEPS,
                       guidance_scale=GUIDANCE, output_type="np",
                       generator=torch.Generator("cpu").manual_seed(SEED), **inputs).images[0]
    return (picture * 255).round().astype("uint8")


def psnr(first, second):
    """In dB; infinite for equal pictures."""
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
    """Nothing in it may warn: neither Python's warnings nor the loggers of the libraries; but for
    OF_ALL_FILES."""
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
    said = [text for text in collector.said + [str(warning.message) for warning in caught]
            if not text.startswith(OF_ALL_FILES)]
    if said:
        raise AssertionError("it warns: " + "; ".join(said))
