"""Adapters that PEFT itself writes: patterns, names, LoHa, LoKr, DoRA."""

import unittest

import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model

from client import Client, on_each_model, randomise
from lora_test import ATTENTION, CONVOLUTIONS, TEXT_ATTENTION
from painting import here, load, there


class PeftAdapters(Client):
    def assert_same_here(self, model, config, *, noise=(), size=0.1, network="unet",
                         name="default"):
        """An adapter of this configuration, with noise on some parameters, paints the same here."""
        torch.manual_seed(17)
        pipe = load(model.folder)
        adapted = get_peft_model(getattr(pipe, network), config, adapter_name=name)
        if noise:
            randomise(adapted, noise, size)
        folder = self.folder / f"{model.name}-peft"
        adapted.save_pretrained(folder)
        adapted.merge_adapter()
        picture = there(model, pipe)
        file = folder / ("" if name == "default" else name) / "adapter_model.safetensors"
        self.assert_shown(model, picture)
        self.assert_same(here(model, self.folder, "--concept", file), picture)

    @on_each_model
    def test_patterns_of_ranks_and_alphas(self, model):
        self.assert_same_here(model, LoraConfig(
            r=4, lora_alpha=8, target_modules=ATTENTION,
            rank_pattern={"attn2.to_k": 2, "down_blocks.*.to_q": 3, "to_q": 5},
            alpha_pattern={r".*mid_block.*\.to_v": 16, "to_v": 1, r"up_blocks\.\d+\..*to_q": 3,
                           "attn1.to_k": 0.5}), noise=["lora_B"])

    @on_each_model
    def test_a_text_encoder_alone(self, model):
        self.assert_same_here(model, LoraConfig(
            r=4, lora_alpha=8, target_modules=[*TEXT_ATTENTION, "fc1", "fc2"],
            rank_pattern={"layers.1.*": 2}), noise=["lora_B"], size=0.3, network="text_encoder")

    @on_each_model
    def test_an_adapter_with_a_name(self, model):
        self.assert_same_here(model, LoraConfig(r=4, lora_alpha=8, target_modules=ATTENTION),
                              noise=["lora_B"], name="style")

    @on_each_model
    def test_dora(self, model):
        self.assert_same_here(model, LoraConfig(
            r=4, lora_alpha=8, target_modules=[*ATTENTION, *CONVOLUTIONS], use_dora=True),
            noise=["lora_B", "lora_magnitude_vector"])

    @on_each_model
    def test_loha(self, model):
        for effective in (False, True):
            with self.subTest(model=model.name, use_effective_conv2d=effective):
                self.assert_same_here(model, LoHaConfig(
                    r=3, alpha=6, target_modules=[*ATTENTION, *CONVOLUTIONS],
                    use_effective_conv2d=effective, rank_pattern={"attn2.to_k": 2},
                    alpha_pattern={"to_v": 3}), noise=["hada_"], size=0.3)

    @on_each_model
    def test_lokr(self, model):
        for both in (False, True):
            for effective in (False, True):
                with self.subTest(model=model.name, decompose_both=both,
                                  use_effective_conv2d=effective):
                    self.assert_same_here(model, LoKrConfig(
                        r=2, alpha=1, target_modules=[*ATTENTION, *CONVOLUTIONS],
                        decompose_both=both, use_effective_conv2d=effective,
                        rank_pattern={"attn2.to_k": 20}, alpha_pattern={"to_v": 0.5},
                        init_weights=False))


if __name__ == "__main__":
    unittest.main()
