"""T2I-Adapters of both sides and ControlNets of theirs."""

import unittest

import torch
from diffusers import (ControlNetModel, StableDiffusionAdapterPipeline,
                       StableDiffusionControlNetPipeline, T2IAdapter)
from PIL import Image

from client import Client, on_each_model, randomise
from painting import EMBEDDED, PROJECT, TINY, here, load, silence, there


class Conditions(Client):
    def write_condition(self, model):
        """Coarse coloured noise."""
        file = self.folder / "condition.png"
        Image.effect_noise((8, 8), 80).convert("RGB").resize((model.size, model.size)).save(file)
        return file

    def assert_steers(self, model, adapter, condition, picture):
        self.assert_shown(model, picture)
        ours = here(model, self.folder, "--adapter", adapter, "--condition", condition)
        self.assert_same(ours, picture)


class Adapters(Conditions):
    def picture_there(self, model, adapter, condition):
        pipe = load(model.folder, StableDiffusionAdapterPipeline, adapter=adapter)
        mode = "RGB" if adapter.config.in_channels == 3 else "L"
        return there(model, pipe, image=Image.open(condition).convert(mode))

    def test_our_adapters_steer_the_same_there(self):
        condition = self.folder / "condition.png"
        Image.open(PROJECT / "examples/demo-sketch.png").convert("RGB").crop(
            (0, 0, EMBEDDED.size, EMBEDDED.size)).save(condition)
        for kind in ("keypose", "sketch"):
            with self.subTest(kind=kind):
                folder = PROJECT / "base/adapters" / kind
                with silence():
                    adapter = T2IAdapter.from_pretrained(folder, torch_dtype=torch.float32)
                self.assert_steers(EMBEDDED, folder, condition,
                                   self.picture_there(EMBEDDED, adapter, condition))

    def assert_theirs_steers(self, model, kind, channels, widths):
        condition = self.write_condition(model)
        with self.subTest(model=model.name, kind=kind, in_channels=channels):
            torch.manual_seed(9)
            adapter = T2IAdapter(in_channels=channels, channels=widths, num_res_blocks=2,
                                 adapter_type=kind)
            folder = self.folder / f"{model.name}-{kind}-{channels}"
            adapter.save_pretrained(folder)
            self.assert_steers(model, folder, condition,
                               self.picture_there(model, adapter, condition))

    @on_each_model
    def test_their_adapters_steer_the_same_here(self, model):
        widths = list(load(model.folder).unet.config.block_out_channels)
        for channels in (3, 1):
            self.assert_theirs_steers(model, "full_adapter", channels, widths)

    def test_their_light_adapters_steer_the_same_here(self):
        # The last level is as wide as the one before, which the embedded base's is not.
        widths = list(load(TINY.folder).unet.config.block_out_channels)
        for channels in (3, 1):
            self.assert_theirs_steers(TINY, "light_adapter", channels, widths[:-1])


class ControlNets(Conditions):
    @on_each_model
    def test_their_controlnets_steer_the_same_here(self, model):
        condition = self.write_condition(model)
        for order in ("rgb", "bgr"):
            with self.subTest(model=model.name, order=order):
                pipe = load(model.folder)
                network = ControlNetModel.from_unet(
                    pipe.unet, controlnet_conditioning_channel_order=order)
                randomise(network, ["controlnet_down_blocks", "controlnet_mid_block",
                                    "controlnet_cond_embedding.conv_out"], 0.05)
                folder = self.folder / f"{model.name}-{order}"
                network.save_pretrained(folder)
                pipe = StableDiffusionControlNetPipeline(
                    **pipe.components, controlnet=network, requires_safety_checker=False)
                picture = there(model, pipe, image=Image.open(condition))
                self.assert_steers(model, folder, condition, picture)


if __name__ == "__main__":
    unittest.main()
