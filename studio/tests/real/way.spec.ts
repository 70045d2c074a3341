import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, picturesOf, setOption, shot, test } from './studio';

/// From two folders of pictures to a scene with both, and back from the picture to the same file.

/// MOS_STEPS=150 learns something, for pictures to look at; a test is done with less.
const kSteps = process.env.MOS_STEPS ?? '3';
const kLong = Number(kSteps) > 10;
const kPatience = { timeout: kLong ? 3_000_000 : 300_000 };

test('two concepts are learned, fused, painted in their regions and found again', async ({ page, studio }) => {
  for (const [name, one] of [['teddy', 'cat'], ['wizard', 'man']] as const) {
    await page.goto(`${studio.address}#/concepts`);
    await page.getByRole('button', { name: 'New', exact: true }).click();
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('What it is one of').fill(one);
    await page.getByRole('button', { name: 'Make it' }).click();
    await expect(page.getByRole('heading', { name, level: 1 })).toBeVisible();
    await page.locator('input[type=file][multiple]').setInputFiles(picturesOf(name));
    await expect(page.getByRole('list', { name: `Pictures of ${name}` }).getByRole('img')).toHaveCount(8);
    await shot(page, `concepts-${name}`);
    await page.getByText('Tuning', { exact: true }).click();
    await page.getByLabel('Steps', { exact: true }).fill(kSteps);
    await setOption(page, 'preview', 'Preview prompts', 'a <TOK> on the beach');
    await setOption(page, 'preview', 'Preview steps', kLong ? '20' : '3');
    await setOption(page, 'preview', 'Preview pictures', kLong ? '4' : '1');
    await page.getByRole('button', { name: 'Start tuning' }).click();
    await shot(page, `tuning-${name}`);
    await expect(page.getByText('it is ready on the pages')).toBeVisible(kPatience);
    await shot(page, `tuned-${name}`);
  }

  await page.getByRole('link', { name: 'Together' }).click();
  await page.getByRole('button', { name: /^teddy/ }).click();
  await page.getByRole('button', { name: /^wizard/ }).click();
  await setOption(page, 'steps', 'Steps', kLong ? '20' : '3');
  await page.getByRole('button', { name: 'Fuse 2' }).click();
  await expect(page.getByText('of its own change is kept').first()).toBeVisible(kPatience);
  await shot(page, 'together');

  await page.getByRole('link', { name: 'Compose' }).click();
  await page.getByLabel('Model', { exact: true }).selectOption({ index: 1 });
  await page.getByRole('button', { name: 'Layout: Side by side' }).click();
  await page.getByLabel('Steps', { exact: true }).fill(kLong ? '30' : '6');
  for (const [region, concept] of [['left', 'teddy'], ['right', 'wizard']] as const) {
    await page.locator('.layer-main').filter({ hasText: region }).click();
    await page.getByRole('button', { name: concept, exact: true }).click();
  }
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect(page.getByRole('button', { name: /Show gallery/ })).toBeVisible(kPatience);
  await shot(page, 'compose');

  await page.getByRole('link', { name: 'Gallery' }).click();
  await page.getByLabel('Search prompts').fill('teddy1');
  await page.locator('.tile:not(.blank)').first().click();
  await expect(page.getByText('mos sample --rerun')).toBeVisible();
  await shot(page, 'detail');
  await page.keyboard.press('Escape');

  // Dropped back in, with the seed that it has: the same file again.
  const before = readFileSync(join(studio.folder, 'gallery/4.png'));
  const copy = join(studio.folder, 'dropped.png');
  writeFileSync(copy, before);
  await page.getByRole('link', { name: 'Compose' }).click();
  await page.getByRole('button', { name: 'Scene', exact: true }).click();
  const chooser = page.waitForEvent('filechooser');
  await page.getByRole('menuitem', { name: 'From a scene file or a picture…' }).click();
  await (await chooser).setFiles(copy);
  await expect(page.getByText('Every field of the picture is here')).toBeVisible();
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect.poll(() => fetch(`${studio.address}mos/v1/gallery`).then((answer) => answer.json()).then(({ total }) => total), kPatience).toBe(2);
  const [newest] = (await (await fetch(`${studio.address}mos/v1/gallery`)).json()).pictures;
  expect(readFileSync(join(studio.folder, newest.path)).equals(before)).toBe(true);
});
