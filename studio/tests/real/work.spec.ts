import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { dragOnCanvas, layer } from '../e2e/tools';
import { expect, picturesOf, setOption, shot, test } from './studio';

/// Long work: it outlives the server, is paused, taken up again, cancelled, and seen while it goes on.

test('a tuning outlives its server, is saved, paused, taken up again and stopped', async ({ page, studio }) => {
  for (const file of picturesOf('dawn')) {
    const name = file.split('/').pop()!;
    await fetch(`${studio.address}mos/v1/concepts`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"name":"dawn","words":["<dawn1>","<dawn2>"],"class_word":"valley"}' });
    await fetch(`${studio.address}mos/v1/concepts/dawn/pictures/${name}`, { method: 'PUT', headers: { 'Content-Type': 'image/png' }, body: readFileSync(file) });
  }
  await page.goto(`${studio.address}#/concepts/dawn`);
  await page.getByText('Tuning', { exact: true }).click();
  await page.getByLabel('Steps', { exact: true }).fill('5000');
  await setOption(page, 'preview', 'Preview pictures', '0');
  await page.getByRole('button', { name: 'Start tuning' }).click();
  const run = page.getByRole('region', { name: /^Run \d+$/ });
  await expect(run.getByText(/tuning/)).toBeVisible();
  await run.getByRole('button', { name: 'Save now' }).click();
  const { jobs: [{ id }] } = await (await fetch(`${studio.address}mos/v1/jobs?kind=tune&limit=1`)).json();
  const log = () => readFileSync(join(studio.folder, `jobs/${id}/events.jsonl`), 'utf8');
  await expect.poll(log).toContain('saved step');

  await studio.kill();
  await expect(page.getByRole('status').getByText('No connection')).toBeVisible();
  await studio.start();
  await expect.poll(() => studio.talk).toContain('went on while the studio was away');
  await expect(page.getByRole('status').getByText('Connected', { exact: true })).toBeVisible();
  await run.getByRole('button', { name: 'Pause' }).click();
  await run.getByRole('button', { name: 'Go on' }).click();
  await expect.poll(log).toContain('going on from step');
  await run.getByRole('button', { name: 'Stop' }).click();
  await expect(run.getByText('cancelled')).toBeVisible();
});

test('a masked region is painted with previews, cancelled, and painted again alone', async ({ page, studio }) => {
  await page.goto(`${studio.address}#/compose`);
  await expect(page.getByLabel('Canvas width')).toHaveValue('128');
  await page.getByLabel('Prompt', { exact: true }).fill('the beach');
  await page.keyboard.press('Escape');
  await page.locator('[data-canvas]').focus();
  await page.keyboard.press('m');
  await dragOnCanvas(page, [0.2, 0.6], [0.8, 0.6]);
  await page.keyboard.press('Escape');
  await page.getByLabel('Prompt', { exact: true }).fill('a dog on the beach');
  await page.getByLabel('Steps', { exact: true }).fill('900');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  const preview = page.waitForResponse((reply) => reply.url().includes('.preview.png') && reply.status() === 200);
  await preview;
  await shot(page, 'preview');
  await page.getByRole('button', { name: /^Cancel/ }).first().click();
  await expect(page.getByText('Nothing is waiting')).toBeVisible();

  await page.getByLabel('Steps', { exact: true }).fill('4');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect(page.getByRole('button', { name: /Show gallery/ })).toHaveCount(1);
  await layer(page, 'Region 1').click();
  await page.getByRole('button', { name: /Paint only .* again/ }).click();
  await expect(page.getByRole('button', { name: /Show gallery/ })).toHaveCount(2);
});
