"""LoRA: what diffusers writes here, every dialect that we write and what we fuse there."""

import unittest

from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from client import Client, on_each_model, randomise
from painting import here, load, mos, silence, there

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT_ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]
CONVOLUTIONS = ["conv1", "conv2", "proj_in", "conv_shortcut"]
DIALECTS = ("kohya", "peft", "diffusers")


def write_lora(model, folder, seed=5, layers=(), **config):
    """A LoRA on both networks as diffusers' training scripts write it; the file and its picture."""
    pipe = load(model.folder)
    pipe.unet.add_adapter(LoraConfig(r=4, lora_alpha=2, target_modules=[*ATTENTION, *layers],
                                     **config))
    pipe.text_encoder.add_adapter(LoraConfig(r=3, lora_alpha=3, target_modules=TEXT_ATTENTION,
                                             **config))
    for network in (pipe.unet, pipe.text_encoder):
        randomise(network, ["lora_B"], 0.1, seed)
        if config.get("use_dora"):
            randomise(network, ["lora_magnitude_vector"], 0.1, seed)
    pipe.save_lora_weights(
        folder, unet_lora_layers=get_peft_model_state_dict(pipe.unet),
        text_encoder_lora_layers=get_peft_model_state_dict(pipe.text_encoder),
        unet_lora_adapter_metadata=pipe.unet.peft_config["default"].to_dict(),
        text_encoder_lora_adapter_metadata=pipe.text_encoder.peft_config["default"].to_dict())
    return folder / "pytorch_lora_weights.safetensors", there(model, pipe)


class Lora(Client):
    def assert_dialects(self, model, theirs, picture, dialects=DIALECTS):
        """Their file paints their picture here, and so does each dialect of it there."""
        self.assert_shown(model, picture)
        self.assert_same(here(model, self.folder, "--concept", theirs), picture)
        for dialect in dialects:
            with self.subTest(model=model.name, dialect=dialect):
                ours = self.folder / f"{model.name}-{dialect}.safetensors"
                mos("convert", theirs, "--to", dialect, "--out", ours)
                pipe = load(model.folder)
                with silence():
                    pipe.load_lora_weights(self.folder, weight_name=ours.name)
                self.assert_same(there(model, pipe), picture)

    @on_each_model
    def test_their_lora_paints_the_same_here_and_every_dialect_of_it_there(self, model):
        self.assert_dialects(model, *write_lora(model, self.folder / model.name))

    @on_each_model
    def test_their_lora_of_convolutions_does_so_too(self, model):
        theirs = write_lora(model, self.folder / model.name, layers=CONVOLUTIONS)
        self.assert_dialects(model, *theirs)

    @on_each_model
    def test_their_lora_with_a_scale_by_the_root_of_the_rank_does_so_too(self, model):
        theirs = write_lora(model, self.folder / model.name, use_rslora=True)
        self.assert_dialects(model, *theirs)

    @on_each_model
    def test_their_dora_paints_the_same_here_and_ours_there(self, model):
        theirs = write_lora(model, self.folder / model.name, use_dora=True)
        self.assert_dialects(model, *theirs, dialects=["peft"])

    @on_each_model
    def test_what_we_fuse_paints_the_same_there(self, model):
        files = [write_lora(model, self.folder / name, seed)[0]
                 for seed, name in enumerate(("first", "second"))]
        concepts = [f"{files[0]}=lion", f"{files[1]}=beach"]
        for dialect in DIALECTS:
            with self.subTest(model=model.name, dialect=dialect):
                folder = self.folder / f"fused-{model.name}-{dialect}"
                lora = self.folder / f"fused-{model.name}-{dialect}.safetensors"
                mos("fuse", *concepts, "--base", model.folder, "--method", "sum", "--out", folder,
                    "--lora", lora, "--lora-format", dialect)
                ours = here(model, self.folder, base=folder)
                self.assert_shown(model, ours)
                with silence():
                    pipe = load(folder)
                self.assert_same(ours, there(model, pipe))
                pipe = load(model.folder)
                with silence():
                    pipe.load_lora_weights(self.folder, weight_name=lora.name)
                self.assert_same(ours, there(model, pipe))


if __name__ == "__main__":
    unittest.main()
