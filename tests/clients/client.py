"""What the tests of other people's programs share."""

import functools
import pathlib
import tempfile
import unittest

import torch

from painting import EMBEDDED, TINY, here, psnr

SAME = 40.0  # dB: one noise in float32, so pictures differ by rounding alone
SHOWN = 34.0  # dB: a change that is smaller than this would not tell right weights from wrong ones


def on_each_model(test):
    """The test is given both models, one after the other."""
    @functools.wraps(test)
    def run(self):
        for model in (TINY, EMBEDDED):
            with self.subTest(model=model.name):
                test(self, model)
    return run


def randomise(network, wanted, size, seed=5):
    """Adds noise that a picture shows to the parameters in whose names one of `wanted` is."""
    generator = torch.Generator().manual_seed(seed)
    found = [value for name, value in network.named_parameters()
             if any(part in name for part in wanted)]
    assert found, f"no parameter is called {wanted}"
    with torch.no_grad():
        for parameter in found:
            parameter += torch.randn(parameter.shape, generator=generator) * size


@functools.cache
def plain_picture(model):
    """What mos paints with the model alone."""
    with tempfile.TemporaryDirectory() as scratch:
        return here(model, pathlib.Path(scratch))


class Client(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def assert_same(self, ours, theirs):
        self.assertGreater(theirs.std(), 5, "the picture is empty: it can show nothing")
        self.assertGreaterEqual(psnr(ours, theirs), SAME)

    def assert_shown(self, model, picture):
        """The picture must not be what the model alone paints."""
        self.assertLess(psnr(plain_picture(model), picture), SHOWN,
                        "the weights under test change nothing")
