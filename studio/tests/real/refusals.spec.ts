import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { learnNames, plain } from '../../src/api/plain';
import { expect, kProject, test } from './studio';

/// The stand-in refuses as the server does, word for word, and a page says none of it as a command.

interface Refusal {
  what: string;
  method: string;
  path: string;
  body?: unknown;
  status: number;
  error: { kind: string; message: string };
}

const kRefusals = JSON.parse(readFileSync(new URL('../mock/refusals.json', import.meta.url), 'utf8')) as Refusal[];
const kPicture = readFileSync(join(kProject, 'base/concepts/dawn/images/00.png'));

test('what the stand-in refuses is what the server says', async ({ request, studio }) => {
  const send = (method: string, path: string, body?: unknown) =>
    request.fetch(new URL(path, studio.address).href, {
      method,
      ...(body === undefined ? {} : typeof body === 'string' || Buffer.isBuffer(body)
        ? { data: body, headers: { 'Content-Type': 'application/octet-stream' } }
        : { data: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
    });
  await send('POST', '/mos/v1/concepts', { name: 'refused', words: ['<refused1>'] });
  await send('PUT', '/mos/v1/uploads/mask-beside.png', kPicture);
  learnNames(await (await send('GET', '/mos/v1/capabilities')).json());
  for (const { what, method, path, body, status, error } of kRefusals) {
    const reply = await send(method, path, body);
    const said = { status: reply.status(), error: (await reply.json()).error };
    if (process.env.MOS_TALK) console.log(JSON.stringify({ what, ...said }));
    expect.soft(said, what).toEqual({ status, error });
    expect.soft(plain(String(said.error?.message)), what).not.toMatch(/--[a-z]|\bmos [a-z]/);
  }
});
