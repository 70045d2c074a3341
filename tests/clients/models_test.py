"""Models: folders and single files, ours there and theirs here."""

import unittest

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from client import Client, on_each_model, plain_picture
from painting import TINY, here, load, mos, silence, there


def load_single(file, config):
    return StableDiffusionPipeline.from_single_file(
        file, config=str(config), torch_dtype=torch.float32, local_files_only=True,
        safety_checker=None, requires_safety_checker=False)


def family_2(folder):
    """A small Stable Diffusion 2.x: linear projections, velocity, GELU, heads by width. Diffusers
    writes it and reads it again."""
    torch.manual_seed(11)
    pipe = load(TINY.folder)
    text = {**pipe.text_encoder.config.to_dict(), "hidden_act": "gelu"}
    pipe.register_modules(
        text_encoder=CLIPTextModel(CLIPTextConfig(**text)),
        unet=UNet2DConditionModel.from_config({**pipe.unet.config, "use_linear_projection": True,
                                               "attention_head_dim": [2, 3, 4, 4]}))
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    pipe.save_pretrained(folder)
    return load(folder)


class OurModels(Client):
    @on_each_model
    def test_a_folder_that_we_wrote_paints_the_same_there(self, model):
        folder = self.folder / model.name
        mos("convert", model.folder, "--out", folder)
        with silence():
            pipe = load(folder)
        self.assert_same(plain_picture(model), there(model, pipe))

    @on_each_model
    def test_a_single_file_that_we_wrote_paints_the_same_there(self, model):
        single = self.folder / f"{model.name}.safetensors"
        mos("convert", model.folder, "--out", single)
        with silence():
            pipe = load_single(single, model.folder)
        self.assert_same(plain_picture(model), there(model, pipe))

    def test_both_kinds_of_files_of_a_2_x_model_that_we_wrote_paint_the_same_there(self):
        theirs, single = self.folder / "theirs", self.folder / "ours.safetensors"
        picture = there(TINY, family_2(theirs))
        mos("convert", theirs, "--out", single)
        with silence():
            self.assert_same(there(TINY, load_single(single, theirs)), picture)
        mos("convert", single, "--out", self.folder / "ours")
        with silence():
            self.assert_same(there(TINY, load(self.folder / "ours")), picture)


class TheirModels(Client):
    @on_each_model
    def test_a_folder_that_they_wrote_paints_the_same_here(self, model):
        pipe = load(model.folder)
        picture = there(model, pipe)
        for options in ({}, {"safe_serialization": False}, {"max_shard_size": "500KB"}):
            with self.subTest(model=model.name, **options):
                folder = self.folder / f"{model.name}-{'-'.join(options)}"
                pipe.save_pretrained(folder, **options)
                self.assert_same(here(model, self.folder, base=folder), picture)

    @on_each_model
    def test_a_variant_that_they_wrote_paints_the_same_here(self, model):
        folder = self.folder / model.name
        load(model.folder).to(torch.float16).save_pretrained(folder, variant="fp16")
        picture = there(model, load(folder, variant="fp16"))
        for options in ([], ["--variant", "fp16"]):
            self.assert_same(here(model, self.folder, *options, base=folder), picture)

    def test_a_2_x_model_that_they_wrote_paints_the_same_here(self):
        picture = there(TINY, family_2(self.folder / "theirs"))
        self.assert_same(here(TINY, self.folder, base=self.folder / "theirs"), picture)


if __name__ == "__main__":
    unittest.main()
