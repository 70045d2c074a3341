"""Words: embeddings of both sides, and a concept that we tuned."""

import unittest

import torch
from safetensors.torch import save_file

from client import Client, on_each_model
from painting import EMBEDDED, PROJECT, here, load, mos, silence, there

WORD = "<thing>"
PROMPT = f"a photo of a {WORD} on the beach"


def rows_for(pipe, count):
    """Rows as large as those of the pipeline's own words."""
    table = pipe.text_encoder.get_input_embeddings().weight
    noise = torch.randn([count, table.shape[1]], generator=torch.Generator().manual_seed(3))
    return noise * table.std().item() * 3


class Embeddings(Client):
    def write_theirs(self, rows):
        """As the training scripts of diffusers write it, in both ways."""
        save_file({WORD: rows}, self.folder / "learned_embeds.safetensors",
                  metadata={"format": "pt"})
        torch.save({WORD: rows}, self.folder / "learned_embeds.bin")
        return [self.folder / "learned_embeds.safetensors", self.folder / "learned_embeds.bin"]

    @on_each_model
    def test_an_embedding_that_they_wrote_paints_the_same_here(self, model):
        for rows in (rows_for(load(model.folder), 2), rows_for(load(model.folder), 1)[0]):
            for file in self.write_theirs(rows):
                pipe = load(model.folder)
                pipe.load_textual_inversion(file)
                self.assert_same(here(model, self.folder, "--concept", file, prompt=PROMPT),
                                 there(model, pipe, prompt=PROMPT))

    @on_each_model
    def test_an_embedding_that_we_wrote_paints_the_same_there(self, model):
        theirs = self.write_theirs(rows_for(load(model.folder), 2))[0]
        ours = here(model, self.folder, "--concept", theirs, prompt=PROMPT)
        self.assert_shown(model, ours)
        for dialect, suffix in (("textual-inversion", "safetensors"), ("textual-inversion", "bin"),
                                ("a1111", "pt"), ("a1111", "safetensors")):
            with self.subTest(model=model.name, dialect=dialect, suffix=suffix):
                file = self.folder / f"{model.name}-{dialect}.{suffix}"
                mos("convert", theirs, "--to", dialect, "--out", file)
                pipe = load(model.folder)
                with silence():
                    pipe.load_textual_inversion(file, token=WORD)
                self.assert_same(ours, there(model, pipe, prompt=PROMPT))


class OurConcept(Client):
    def test_words_and_lora_that_we_tuned_paint_the_same_there(self):
        tuned = self.folder / "azure.safetensors"
        mos("tune", "--data", PROJECT / "base/concepts/azure", "--base", EMBEDDED.folder,
            "--out", tuned, "--method", "lora", "--rows", "shared", "--steps", 3, "--batch", 1,
            "--decay", "none", "--embedding-rate", 0.1, "--text-rate", 0.03, "--unet-rate", 0.03,
            "--norm-threshold", 0, "--preview-pictures", 0)
        words, pipe = ["<azure1>", "<azure2>"], load(EMBEDDED.folder)
        for word in words:
            file = self.folder / f"{word[1:-1]}.safetensors"
            mos("convert", tuned, "--to", "textual-inversion", "--only", "words", "--word", word,
                "--out", file)
            with silence():
                pipe.load_textual_inversion(file)
        both = self.folder / "both.safetensors"
        mos("convert", tuned, "--to", "kohya", "--out", both)
        with self.assertRaisesRegex(ValueError, "Invalid LoRA checkpoint"):
            pipe.load_lora_weights(self.folder, weight_name=both.name)
        lora = self.folder / "lora.safetensors"
        mos("convert", tuned, "--to", "kohya", "--only", "lora", "--out", lora)
        with silence():
            pipe.load_lora_weights(self.folder, weight_name=lora.name)
        prompt = f"a photo of a {' '.join(words)} on the beach"
        ours = here(EMBEDDED, self.folder, "--concept", tuned, prompt=prompt)
        self.assert_shown(EMBEDDED, ours)
        self.assert_same(ours, there(EMBEDDED, pipe, prompt=prompt))


if __name__ == "__main__":
    unittest.main()
