"""webuiapi, the client of A1111's API on PyPI, with mos studio in A1111's place."""

import os
import unittest
import urllib.parse

import webuiapi
from PIL import Image

PLACE = urllib.parse.urlsplit(os.environ["MOS_STUDIO_ADDRESS"])
SMALL = {"steps": 2, "width": 64, "height": 64, "cfg_scale": 3}


class A1111(unittest.TestCase):
    def setUp(self):
        self.api = webuiapi.WebUIApi(host=PLACE.hostname, port=PLACE.port)

    def paint(self, **more):
        return self.api.txt2img(prompt="a bear", negative_prompt="blurry", **{"seed": 7, **SMALL, **more})

    def test_lists(self):
        self.assertIn("Euler a", [sampler["name"] for sampler in self.api.get_samplers()])
        self.assertIn("Karras", [scheduler["label"] for scheduler in self.api.get_schedulers()])
        self.assertEqual([model["title"] for model in self.api.get_sd_models()], ["models/tiny_sd"])
        self.assertEqual([lora["name"] for lora in self.api.get_loras()], ["edlora_0"])
        self.assertEqual(self.api.get_options()["sd_model_checkpoint"], "models/tiny_sd")
        self.assertEqual(self.api.get_progress()["state"]["sampling_step"], 0)

    def test_a_picture_as_the_client_asks_by_itself(self):
        made = self.paint()
        self.assertEqual(made.image.size, (64, 64))
        self.assertEqual(made.info["all_seeds"], [7])
        self.assertIn("Seed: 7", made.image.info["parameters"])
        self.assertEqual(self.paint().image.tobytes(), made.image.tobytes())

    def test_samplers_batches_and_a_second_pass(self):
        self.paint(sampler_name="DPM++ 2M", scheduler="Karras", eta=0.5)
        self.assertEqual(len(self.paint(batch_size=2, n_iter=2).images), 4)
        larger = self.paint(enable_hr=True, hr_scale=2, denoising_strength=0.6,
                            hr_upscaler=webuiapi.HiResUpscaler.Latent)
        self.assertEqual(larger.image.size, (128, 128))

    def test_from_a_picture_with_and_without_a_mask(self):
        first = self.paint().image
        given = {"images": [first], "prompt": "a cat", "seed": 3, "denoising_strength": 0.6, **SMALL}
        self.assertEqual(self.api.img2img(**given).image.size, (64, 64))
        mask, kept = Image.new("L", (64, 64), 0), (32, 0, 64, 64)
        mask.paste(255, (0, 0, 32, 64))
        made = self.api.img2img(mask_image=mask, mask_blur=0, inpaint_full_res=False, **given).image
        self.assertEqual(made.convert("RGB").crop(kept).tobytes(), first.convert("RGB").crop(kept).tobytes())

    def test_concepts_and_regions(self):
        self.api.txt2img(prompt="a <hina1> <hina2> <lora:edlora_0:0.8>", seed=3, **SMALL)
        scene = {"prompt": "sea", "regions": [{"prompt": "a bear", "box": [0, 0, 1, 0.5]}]}
        made = self.api.txt2img(prompt="", seed=3, alwayson_scripts={"mos": {"scene": scene}}, **SMALL)
        self.assertNotEqual(made.image.tobytes(), self.paint(seed=3).image.tobytes())

    def test_what_is_not_here_is_refused_in_a_sentence(self):
        with self.assertRaisesRegex(RuntimeError, "subseed"):
            self.paint(subseed=3, subseed_strength=0.5)
        with self.assertRaisesRegex(RuntimeError, "inpaint_full_res.*send false"):
            self.api.img2img(images=[self.paint().image], mask_image=Image.new("L", (64, 64)), **SMALL)
        with self.assertRaisesRegex(RuntimeError, "400.*multiples of 8"):
            self.paint(width=63)


if __name__ == "__main__":
    unittest.main()
