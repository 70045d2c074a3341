"""What mos writes, diffusers, transformers and PEFT read without a warning and paint the same with;
what they write, mos reads and paints the same with. The pictures come from one noise in float32, so
that they differ by rounding alone: a PSNR of 40 dB is the limit."""

import pathlib
import sys
import tempfile
import unittest

import torch
from diffusers import (ControlNetModel, StableDiffusionAdapterPipeline,
                       StableDiffusionControlNetPipeline, StableDiffusionPipeline, T2IAdapter)
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import save_file

from painting import MODELS, PROJECT, PROMPT, SIZES, here, mos, psnr, silence, there

SAME = 40.0  # dB
LORA_LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]


def load(folder, kind=StableDiffusionPipeline, **parts):
    return kind.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None,
                                requires_safety_checker=False, **parts)


def randomise(parameters, size, seed=5):
    """Gives these parameters values that a picture shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)


def ups(network):
    return [value for name, value in network.named_parameters() if "lora_B" in name]


class Client(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def each_model(self):
        for name, base in MODELS.items():
            with self.subTest(model=name):
                yield base, SIZES[name]

    def assert_same(self, ours, theirs):
        self.assertGreater(ours.std(), 5, "the picture is empty: it can show nothing")
        self.assertGreaterEqual(psnr(ours, theirs), SAME)

    def assert_other(self, ours, theirs):
        self.assertLess(psnr(ours, theirs), SAME, "the weights under test change nothing")


class Models(Client):
    def test_a_folder_that_we_wrote_paints_the_same_there(self):
        for base, size in self.each_model():
            mos("convert", base, "--out", self.folder / base.name)
            with silence():
                pipe = load(self.folder / base.name)
            self.assert_same(here(base, self.folder, size=size), there(pipe, size=size))

    def test_a_single_file_that_we_wrote_paints_the_same_there(self):
        for base, size in self.each_model():
            single = self.folder / f"{base.name}.safetensors"
            mos("convert", base, "--out", single)
            with silence():
                pipe = StableDiffusionPipeline.from_single_file(
                    single, config=str(base), torch_dtype=torch.float32, local_files_only=True,
                    safety_checker=None, requires_safety_checker=False)
            self.assert_same(here(base, self.folder, size=size), there(pipe, size=size))

    def test_a_folder_that_they_wrote_paints_the_same_here(self):
        for base, size in self.each_model():
            pipe = load(base)
            picture = there(pipe, size=size)
            for safe in (True, False):
                folder = self.folder / f"{base.name}-{safe}"
                pipe.save_pretrained(folder, safe_serialization=safe)
                self.assert_same(here(folder, self.folder, size=size), picture)


class Lora(Client):
    def their_lora(self, base, size):
        """A LoRA on both networks that diffusers wrote, and its picture."""
        pipe = load(base)
        pipe.unet.add_adapter(LoraConfig(r=4, lora_alpha=2, target_modules=LORA_LAYERS))
        pipe.text_encoder.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=[
            "q_proj", "k_proj", "v_proj", "out_proj"]))
        randomise(ups(pipe.unet) + ups(pipe.text_encoder), 0.15)
        folder = self.folder / f"{base.name}-lora"
        from peft.utils import get_peft_model_state_dict
        pipe.save_lora_weights(
            folder, unet_lora_layers=get_peft_model_state_dict(pipe.unet),
            text_encoder_lora_layers=get_peft_model_state_dict(pipe.text_encoder),
            unet_lora_adapter_metadata=pipe.unet.peft_config["default"].to_dict(),
            text_encoder_lora_adapter_metadata=pipe.text_encoder.peft_config["default"].to_dict())
        return folder / "pytorch_lora_weights.safetensors", there(pipe, size=size)

    def test_their_file_paints_the_same_here_and_every_dialect_of_it_there(self):
        for base, size in self.each_model():
            theirs, picture = self.their_lora(base, size)
            self.assert_other(here(base, self.folder, size=size), picture)
            self.assert_same(here(base, self.folder, "--concept", theirs, size=size), picture)
            for dialect in ("kohya", "peft", "diffusers"):
                with self.subTest(model=base.name, dialect=dialect):
                    ours = self.folder / f"{base.name}-{dialect}.safetensors"
                    mos("convert", theirs, "--to", dialect, "--out", ours)
                    with silence():
                        pipe = load(base)
                        pipe.load_lora_weights(self.folder, weight_name=ours.name)
                    self.assert_same(there(pipe, size=size), picture)

    def test_an_adapter_of_peft_with_patterns_paints_the_same_here(self):
        for base, size in self.each_model():
            pipe = load(base)
            model = get_peft_model(pipe.unet, LoraConfig(
                r=4, lora_alpha=8, target_modules=LORA_LAYERS,
                rank_pattern={"attn2.to_k": 2, "down_blocks.*.to_q": 3},
                alpha_pattern={"to_v": 1, r".*mid_block.*\.to_v": 16}))
            randomise(ups(model), 0.1)
            model.save_pretrained(self.folder / f"{base.name}-peft")
            file = self.folder / f"{base.name}-peft" / "adapter_model.safetensors"
            picture = there(pipe, size=size)
            self.assert_other(here(base, self.folder, size=size), picture)
            self.assert_same(here(base, self.folder, "--concept", file, size=size), picture)


class Embeddings(Client):
    PROMPT = "a photo of a <thing> on the beach"

    def test_their_embedding_paints_the_same_here_and_ours_there(self):
        for base, size in self.each_model():
            width = load(base).text_encoder.config.hidden_size
            rows = torch.randn([2, width], generator=torch.Generator().manual_seed(3)) * 0.3
            theirs = self.folder / "learned_embeds.safetensors"
            save_file({"<thing>": rows}, theirs)
            pictures = []
            for dialect in ("textual-inversion", "a1111"):
                suffix = ".pt" if dialect == "a1111" else ".safetensors"
                ours = self.folder / f"{base.name}-{dialect}{suffix}"
                mos("convert", theirs, "--to", dialect, "--out", ours)
                with silence():
                    pipe = load(base)
                    pipe.load_textual_inversion(ours, token="<thing>")
                pictures.append(there(pipe, prompt=self.PROMPT, size=size))
            ours = here(base, self.folder, "--concept", theirs, prompt=self.PROMPT, size=size)
            for picture in pictures:
                self.assert_same(ours, picture)


class Adapters(Client):
    def test_our_adapters_steer_the_same_there(self):
        base, size = MODELS["embedded"], SIZES["embedded"]
        condition = self.folder / "condition.png"
        Image.open(PROJECT / "examples/demo-sketch.png").convert("RGB").crop(
            (0, 0, 128, 128)).save(condition)
        for kind in ("keypose", "sketch"):
            with self.subTest(kind=kind):
                with silence():
                    adapter = T2IAdapter.from_pretrained(PROJECT / "base/adapters" / kind,
                                                         torch_dtype=torch.float32)
                    pipe = load(base, StableDiffusionAdapterPipeline, adapter=adapter)
                channels = adapter.config.in_channels
                picture = Image.open(condition).convert("RGB" if channels == 3 else "L")
                ours = here(base, self.folder, "--adapter", PROJECT / "base/adapters" / kind,
                            "--condition", condition, size=size)
                self.assert_other(here(base, self.folder, size=size), ours)
                self.assert_same(ours, there(pipe, size=size, image=picture))

    def test_their_controlnet_steers_the_same_here(self):
        for base, size in self.each_model():
            pipe = load(base)
            network = ControlNetModel.from_unet(pipe.unet)
            randomise([value for name, value in network.named_parameters()
                       if "controlnet_down_blocks" in name or "controlnet_mid_block" in name
                       or "conv_out" in name], 0.02)
            network.save_pretrained(self.folder / f"{base.name}-control")
            condition = self.folder / "condition.png"
            Image.effect_noise((size, size), 80).convert("RGB").save(condition)
            picture = there(StableDiffusionControlNetPipeline(**pipe.components,
                                                              controlnet=network,
                                                              requires_safety_checker=False),
                            size=size, image=Image.open(condition))
            ours = here(base, self.folder, "--adapter", self.folder / f"{base.name}-control",
                        "--condition", condition, size=size)
            self.assert_other(here(base, self.folder, size=size), ours)
            self.assert_same(ours, picture)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
