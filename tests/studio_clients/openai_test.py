"""OpenAI's client on PyPI, with mos studio in OpenAI's place."""

import base64
import io
import os
import unittest

import openai
from PIL import Image


class OpenAI(unittest.TestCase):
    def setUp(self):
        address = os.environ["MOS_STUDIO_ADDRESS"] + "/v1"
        self.client = openai.OpenAI(base_url=address, api_key="none", max_retries=0)

    def sizes(self, **more):
        made = self.client.images.generate(prompt="a dog", size="64x64", **more)
        return [Image.open(io.BytesIO(base64.b64decode(one.b64_json))).size for one in made.data]

    def test_pictures(self):
        self.assertEqual(self.sizes(), [(64, 64)])
        self.assertEqual(self.sizes(n=2, model="models/tiny_sd", quality="auto"), 2 * [(64, 64)])

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["models/tiny_sd"])

    def test_what_is_not_here_is_refused_in_a_sentence(self):
        with self.assertRaisesRegex(openai.BadRequestError, "b64_json"):
            self.sizes(response_format="url")
        with self.assertRaisesRegex(openai.NotFoundError, "gpt-image-1"):
            self.sizes(model="gpt-image-1")
        with self.assertRaisesRegex(openai.BadRequestError, "multiples of 8"):
            self.client.images.generate(prompt="a dog", size="63x64")


if __name__ == "__main__":
    unittest.main()
