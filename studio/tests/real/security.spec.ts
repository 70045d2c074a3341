import { request as ask } from 'node:http';

import { expect, Studio, test } from './studio';

/// What other pages, other names and other paths get of a studio.

interface Answer {
  status: number;
  body: string;
  headers: Record<string, string | string[] | undefined>;
}

function send(address: string, method: string, path: string, headers: Record<string, string>, body = ''): Promise<Answer> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    const sent = ask({ hostname, port, method, path, headers }, (reply) => {
      let text = '';
      reply.on('data', (piece) => (text += piece));
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, body: text, headers: reply.headers }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const kJson = { 'Content-Type': 'application/json' };

test('foreign pages, foreign names and paths out of the folder get nothing', async ({ studio }) => {
  const { address } = studio;
  const host = new URL(address).host;
  const foreign = await send(address, 'POST', '/mos/v1/concepts', { ...kJson, Origin: 'http://evil.example' }, '{"name":"x"}');
  expect(foreign.status).toBe(403);
  expect(foreign.headers['access-control-allow-origin']).toBeUndefined();
  expect((await send(address, 'GET', '/mos/v1/info', { Host: `evil.example:${new URL(address).port}` })).status).toBe(403);
  expect((await send(address, 'GET', '/mos/v1/info', { Host: host, 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403);
  expect((await send(address, 'POST', '/mos/v1/concepts', { 'Content-Type': 'text/plain' }, '{"name":"x"}')).status).toBe(415);
  for (const path of ['../studio.sqlite', '..%2fstudio.sqlite', '%2e%2e/%2e%2e/etc/passwd', '/etc/passwd', 'models/base/model_index.json']) {
    const answer = await send(address, 'GET', `/mos/v1/files/${path}`, {});
    expect([400, 404], path).toContain(answer.status);
    expect(answer.body).not.toContain('root:');
  }
});

test('a studio for other machines asks for its token', async ({ page }) => {
  const studio = new Studio();
  await studio.start('--host', '0.0.0.0');
  try {
    const url = new URL(studio.address);
    const token = url.searchParams.get('token') ?? '';
    expect(token).toMatch(/^[0-9a-f]{32}$/);
    expect((await send(studio.address, 'GET', '/mos/v1/info', {})).status).toBe(401);
    expect((await send(studio.address, 'GET', '/mos/v1/info', { Authorization: `Bearer ${token.slice(1)}0` })).status).toBe(401);
    expect((await send(studio.address, 'GET', '/mos/v1/info', { Authorization: `Bearer ${token}` })).status).toBe(200);
    await page.goto(url.origin);
    await page.getByLabel('Token').fill(token);
    await page.keyboard.press('Enter');
    await expect(page.getByRole('link', { name: 'Compose' })).toBeVisible();
    await page.goto(studio.address); // with the token in the address
    await expect(page).toHaveURL(`${url.origin}/#/concepts`); // the first page of a new folder, without it
  } finally {
    await studio.kill('SIGTERM');
  }
});
