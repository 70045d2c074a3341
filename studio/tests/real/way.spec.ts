import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Page } from '@playwright/test';

import { expect, picturesOf, setOption, shot, test } from './studio';

/// From two folders of pictures to a scene with both, and back from the picture to the same file.

/// MOS_STEPS=150 learns something, for pictures to look at; a test is done with less.
const kSteps = process.env.MOS_STEPS ?? '3';
const kLong = Number(kSteps) > 10;
const kPatience = { timeout: kLong ? 3_000_000 : 300_000 };

async function maskAndCaption(page: Page, name: string) {
  await page.getByRole('button', { name: 'Paint the mask of 00' }).click();
  const paper = (await page.getByLabel('Mask', { exact: true }).boundingBox())!;
  const at = (x: number, y: number) => page.mouse.move(paper.x + x * paper.width, paper.y + y * paper.height, { steps: 4 });
  await at(0.55, 0.35);
  await page.mouse.down();
  for (const [x, y] of [[0.6, 0.5], [0.45, 0.65], [0.7, 0.7], [0.6, 0.8], [0.5, 0.8]] as const) await at(x, y);
  await page.mouse.up();
  await shot(page, `mask-${name}`);
  await page.getByRole('button', { name: 'Save the mask' }).click();
  await page.getByText('Captions', { exact: true }).click();
  await page.getByText('All at once').click();
  await page.getByRole('button', { name: 'Fill in' }).click();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(page.getByLabel('Caption of 00')).toHaveValue('a photo of a <TOK>');
  await shot(page, `captions-${name}`);
}

async function score(page: Page, name: string) {
  await page.getByRole('button', { name: /^Score/ }).click();
  await expect(page.locator('.scores .best')).toBeVisible(kPatience);
  await expect(page.locator('.scores')).not.toContainText('…', kPatience);
  await page.locator('.tuning').evaluate((tuning) => tuning.closest('.scroll')!.scrollTo(0, 150));
  await shot(page, `tuned-${name}`);
}

async function identity(page: Page) {
  await page.getByRole('button', { name: 'Make the identity report' }).click();
  await expect(page.getByText('like its own pictures')).toHaveCount(6, { timeout: Math.max(kPatience.timeout, 1_200_000) });
  await page.getByRole('heading', { name: 'What is left of each' }).scrollIntoViewIfNeeded();
  await page.locator('.page-body').evaluate((body) => body.closest('.scroll')!.scrollTo(0, 10_000));
  await shot(page, 'identity');
}

test('two concepts are learned, fused, painted in their regions and found again', async ({ page, studio }) => {
  for (const [name, one] of [['teddy', 'bear'], ['wizard', 'man']] as const) {
    await page.goto(`${studio.address}#/concepts`);
    await page.getByRole('button', { name: 'New', exact: true }).click();
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('What it is one of').fill(one);
    await page.getByRole('button', { name: 'Make it' }).click();
    await expect(page.getByRole('heading', { name, level: 1 })).toBeVisible();
    await page.locator('input[type=file][multiple]').setInputFiles(picturesOf(name));
    await expect(page.getByRole('list', { name: `Pictures of ${name}` }).getByRole('img')).toHaveCount(8);
    await shot(page, `pictures-${name}`);
    await maskAndCaption(page, name);
    await page.getByText('Tuning', { exact: true }).click();
    await page.getByLabel('Steps', { exact: true }).fill(kSteps);
    await setOption(page, 'preview', 'Preview prompts', 'a <TOK> on the beach');
    await setOption(page, 'preview', 'Preview steps', kLong ? '20' : '3');
    await setOption(page, 'preview', 'Preview pictures', kLong ? '4' : '1');
    if (kLong) await page.getByLabel('Preview every', { exact: true }).fill('50');
    await page.getByRole('button', { name: 'Start tuning' }).click();
    await shot(page, `tuning-${name}`);
    await expect(page.getByText('it is ready on the pages')).toBeVisible(kPatience);
    if (kLong) await score(page, name);
  }

  await page.getByRole('navigation').getByRole('link', { name: 'Together' }).click();
  await page.getByRole('button', { name: /^teddy/ }).click();
  await page.getByRole('button', { name: /^wizard/ }).click();
  await setOption(page, 'steps', 'Steps', kLong ? '20' : '3');
  await page.getByRole('button', { name: 'Fuse 2' }).click();
  await shot(page, 'together');
  await expect(page.getByText('of its own change is kept').first()).toBeVisible(kPatience);
  await expect(page.getByRole('region', { name: 'Who takes from whom' }).getByTitle(/^wizard adds \d+ % of teddy/)).toBeVisible();
  await identity(page);

  await page.getByRole('navigation').getByRole('link', { name: 'Compose' }).click();
  await page.getByLabel('Model', { exact: true }).selectOption({ index: 1 });
  await page.getByLabel('Canvas width').fill('256');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await page.getByRole('button', { name: 'Layout: Side by side' }).click();
  await page.getByLabel('Steps', { exact: true }).fill(kLong ? '30' : '6');
  for (const [region, concept] of [['left', 'teddy'], ['right', 'wizard']] as const) {
    await page.locator('.layer-main').filter({ hasText: region }).click();
    await page.getByRole('button', { name: concept, exact: true }).click();
    await page.getByLabel('Prompt', { exact: true }).fill(`a photo of a big <${concept}1> <${concept}2> on the ${region} in a meadow`);
  }
  await shot(page, 'compose');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect(page.getByRole('button', { name: /Show gallery/ })).toBeVisible(kPatience);
  await shot(page, 'painted');

  await page.getByRole('navigation').getByRole('link', { name: 'Gallery' }).click();
  await shot(page, 'gallery');
  await page.getByLabel('Search prompts').fill('<teddy1> <teddy2> <wizard1>');
  await page.locator('.tile:not(.blank)').first().click();
  await expect(page.getByText('mos sample --rerun')).toBeVisible();
  await shot(page, 'detail');
  await page.keyboard.press('Escape');

  // Dropped back in, with the seed that it has: the same file again.
  const gallery = async () => (await fetch(`${studio.address}mos/v1/gallery`)).json();
  const { total, pictures } = await gallery();
  const before = readFileSync(join(studio.folder, pictures[0].path));
  const copy = join(studio.folder, 'dropped.png');
  writeFileSync(copy, before);
  await page.getByRole('navigation').getByRole('link', { name: 'Compose' }).click();
  await page.getByRole('button', { name: 'Scene', exact: true }).click();
  const chooser = page.waitForEvent('filechooser');
  await page.getByRole('menuitem', { name: 'From a scene file or a picture…' }).click();
  await (await chooser).setFiles(copy);
  await expect(page.getByText('Every field of the picture is here')).toBeVisible();
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect.poll(async () => (await gallery()).total, kPatience).toBe(total + 1);
  const [newest] = (await gallery()).pictures;
  expect(readFileSync(join(studio.folder, newest.path)).equals(before)).toBe(true);
});
