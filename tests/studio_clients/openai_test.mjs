// OpenAI's client on npm, with mos studio in OpenAI's place.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';

const client = new OpenAI({ baseURL: `${process.env.MOS_STUDIO_ADDRESS}/v1`, apiKey: 'none', maxRetries: 0 });
const kPng = Buffer.from('\x89PNG', 'latin1');

test('pictures are PNG files', async () => {
  const { data } = await client.images.generate({ prompt: 'a dog', size: '64x64', n: 2 });
  assert.equal(data.length, 2);
  for (const { b64_json } of data) assert.deepEqual(Buffer.from(b64_json, 'base64').subarray(0, 4), kPng);
});

test('models are listed', async () => {
  const { data } = await client.models.list();
  assert.deepEqual(data.map(({ id }) => id), ['models/tiny_sd']);
});

test('what is not here is refused in a sentence', async () => {
  await assert.rejects(client.images.generate({ prompt: 'a dog', size: 'big' }), /400.*WIDTHxHEIGHT/);
});
