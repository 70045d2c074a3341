import { readFileSync } from 'node:fs';

import { expect, jobsAskedFor, mock, test } from './tools';

const kPicture = readFileSync(new URL('../../../base/concepts/dawn/images/00.png', import.meta.url));

test('a concept is made of pictures, given a mask and captions, and tuned', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/concepts');
  await page.getByRole('button', { name: 'New', exact: true }).click();
  await page.getByLabel('Name').fill('Dawn');
  await page.getByLabel('What it is one of').fill('valley');
  await page.getByRole('button', { name: 'Make it' }).click();
  await expect(page.getByRole('heading', { name: 'dawn', level: 1 })).toBeVisible();
  await expect(page.getByLabel('Words', { exact: true })).toHaveValue('<dawn1> <dawn2>');
  const files = ['a.png', 'b.png'].map((name) => ({ name, mimeType: 'image/png', buffer: kPicture }));
  await page.locator('input[type=file][multiple]').setInputFiles(files);
  await expect(page.getByRole('list', { name: 'Pictures of dawn' }).getByRole('img')).toHaveCount(2);

  await page.getByRole('button', { name: 'Paint the mask of a' }).click();
  const paper = (await page.getByLabel('Mask', { exact: true }).boundingBox())!;
  await page.mouse.move(paper.x + 60, paper.y + 60);
  await page.mouse.down();
  await page.mouse.move(paper.x + 200, paper.y + 160, { steps: 4 });
  await page.mouse.up();
  await page.getByRole('button', { name: 'Save the mask' }).click();
  await page.getByText('Masks', { exact: true }).click();
  await expect(page.locator('.card-mask')).toHaveCount(1);

  await page.getByText('Captions', { exact: true }).click();
  await page.getByText('All at once').click();
  await page.getByRole('button', { name: 'Fill in' }).click();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(page.getByLabel('Caption of a')).toHaveValue('a photo of a <TOK>');

  await page.getByText('Tuning', { exact: true }).click();
  await page.getByRole('button', { name: 'How long, how much memory?' }).click();
  await expect(page.getByText(/2 min.*1\.9 GB/)).toBeVisible();
  await page.getByLabel('Steps', { exact: true }).fill('300');
  await page.getByRole('button', { name: 'Start tuning' }).click();
  await expect(page.getByRole('img', { name: /^Loss over/ })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Samples after step 150' })).toBeVisible();
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await expect(page.getByRole('button', { name: 'Go on', exact: true })).toBeVisible();
  expect(asked.map(({ kind, options }) => [kind, options.data, options.steps])).toEqual([
    ['tune', 'concepts/dawn', undefined], ['tune', 'concepts/dawn', 300],
  ]);
});

test('a picture with something wrong says so below it', async ({ page }) => {
  await page.goto('/#/concepts/racer');
  await expect(page.locator('.card.bad')).toHaveCount(1);
  await expect(page.getByText('neither <TOK> nor the words').first()).toBeVisible();
  await page.getByText('Tuning', { exact: true }).click();
  await expect(page.getByRole('button', { name: 'Start tuning' })).toBeDisabled();
});

test('two concepts are fused, and the identity report is made', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/together');
  await page.getByRole('button', { name: /^wizard </ }).click();
  await page.getByRole('button', { name: /^racer </ }).click();
  await page.getByRole('button', { name: 'Fuse 2' }).click();
  await expect(page.getByRole('button', { name: /^wizard and racer/ })).toBeVisible();
  expect(asked[0]).toMatchObject({ kind: 'fuse', options: { base: 'models/base', concepts: ['concept-files/wizard.safetensors', 'concept-files/racer.safetensors'] } });
  await page.getByRole('button', { name: /^wizard and teddy/ }).click();
  await expect(page.getByText('70 %').first()).toBeVisible();
  await page.getByRole('button', { name: 'Make the identity report' }).click();
  await expect(page.getByText('like its own pictures')).toHaveCount(6, { timeout: 90_000 });
  await expect(page.locator('.cell-picture')).toHaveCount(6 * 4);
  const evaluated = asked.filter(({ kind }) => kind === 'evaluate');
  expect(evaluated.map(({ options }) => options.references).sort()).toEqual([
    ...Array(3).fill('concepts/teddy'), ...Array(3).fill('concepts/wizard'),
  ]);
});

test('ten thousand pictures scroll to their end', async ({ page, request }) => {
  await mock(request, 'reset', { pictures: 10_000 });
  await page.goto('/#/gallery');
  await expect(page.getByText('10,000 pictures')).toBeVisible();
  await page.locator('.wall').evaluate((wall) => (wall.scrollTop = wall.scrollHeight));
  await expect(page.locator('[data-index="9999"]')).toBeVisible({ timeout: 60_000 });
  expect(await page.locator('.tile').count()).toBeLessThan(150);
});

test('pictures are searched, starred, compared and deleted', async ({ page }) => {
  await page.goto('/#/gallery');
  await page.getByLabel('Search prompts').fill('beach');
  await expect(page.getByText(/^\d+ pictures$/)).not.toHaveText('240 pictures');
  const tiles = page.locator('.tile:not(.blank)');
  await tiles.nth(0).hover();
  await tiles.nth(0).getByRole('checkbox').click();
  await tiles.nth(1).getByRole('checkbox').click();
  await page.getByRole('button', { name: 'Compare' }).click();
  await expect(page.getByRole('dialog', { name: 'Two pictures' })).toBeVisible();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Delete the chosen pictures' }).click();
  await page.getByLabel('Search prompts').fill('');
  await expect(page.getByText('238 pictures')).toBeVisible();
  await tiles.nth(2).hover();
  await tiles.nth(2).getByRole('button', { name: 'Star', exact: true }).click();
  await page.getByRole('button', { name: 'Only starred ones' }).click();
  await expect(tiles.first().getByRole('button', { name: 'Take the star away' })).toBeVisible();
});

test('a picture has every field back in Compose', async ({ page }) => {
  await page.goto('/#/gallery');
  await page.locator('[data-index="3"]').click();
  await expect(page.getByText('mos sample --rerun')).toBeVisible();
  await page.getByRole('button', { name: 'Open in Compose' }).click();
  await expect(page.locator('.layer-list .layer-name')).toHaveText(['wizard', 'teddy']);
  await expect(page.getByLabel('Steps', { exact: true })).toHaveValue('30');
  await expect(page.getByLabel('Seed', { exact: true })).toHaveValue('7');
  await expect(page.getByLabel('Model', { exact: true })).toHaveValue('fused/3');
});
