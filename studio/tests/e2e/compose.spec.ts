import { readFileSync } from 'node:fs';

import type { FileChooser } from '@playwright/test';

import { unzipped } from '../../src/ui/zip';
import { dragOnCanvas, dropOn, expect, jobsAskedFor, layer, mock, test } from './tools';

test('a scene of two boxes is drawn, painted and found in the gallery', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/compose');
  await page.getByLabel('Model', { exact: true }).selectOption('fused/3');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await page.getByRole('button', { name: 'Draw a box' }).click();
  await dragOnCanvas(page, [0.05, 0.1], [0.45, 0.95]);
  await page.getByRole('button', { name: 'wizard', exact: true }).click();
  await page.getByRole('button', { name: 'Draw a box' }).click();
  await dragOnCanvas(page, [0.55, 0.1], [0.95, 0.95]);
  await page.getByRole('button', { name: 'teddy', exact: true }).click();
  await page.getByLabel('Name of the region').fill('bear');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect(page.getByRole('button', { name: /Show gallery/ })).toBeVisible();

  expect(asked).toHaveLength(1);
  const { options, scene } = asked[0]!;
  expect(options).toMatchObject({ base: 'fused/3', seed: expect.any(Number) });
  expect(options.concept).toBeUndefined();
  expect(scene).toMatchObject({ prompt: 'a meadow', height: 128, width: 128 });
  const regions = scene!.regions as Record<string, unknown>[];
  expect(regions.map(({ name, prompt }) => [name, prompt])).toEqual([
    ['bear', 'a photo of a <teddy1> <teddy2>'],
    [undefined, 'a photo of a <wizard1> <wizard2>'],
  ]);
  for (const { box } of regions as { box: number[] }[]) expect(box.every((side) => side % 8 === 0)).toBe(true);

  await page.getByRole('link', { name: 'Gallery' }).click();
  await expect(page.getByRole('status').filter({ hasText: '241 pictures' })).toBeVisible();
});

test('a scene that a dropped picture took the place of comes back with undo', async ({ page }) => {
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('mine, not saved');
  await page.getByLabel('Steps', { exact: true }).fill('11');
  const bytes = readFileSync(new URL('../../../base/concepts/dawn/images/00.png', import.meta.url));
  for (const target of ['.compose', '.gallery']) {
    if (target === '.gallery') await page.getByRole('link', { name: 'Gallery' }).click();
    await dropOn(page, target, { 'other.png': bytes });
    await expect(page.getByLabel('Prompt', { exact: true })).toHaveValue('a meadow');
    await expect(page.getByLabel('Steps', { exact: true })).toHaveValue('30');
    await page.getByRole('button', { name: 'Undo' }).click();
    await expect(page.getByLabel('Prompt', { exact: true })).toHaveValue('mine, not saved');
    await expect(page.getByLabel('Steps', { exact: true })).toHaveValue('11');
  }
  await page.getByRole('button', { name: 'Redo' }).click();
  await expect(page.getByLabel('Prompt', { exact: true })).toHaveValue('a meadow');
  await expect(page.getByLabel('Steps', { exact: true })).toHaveValue('30');
});

test('what a picture was made with and is not here is said, and stays', async ({ page }) => {
  await page.route('**/mos/v1/pictures/read', (route) => route.fulfill({ json: {
    program: 'A1111', scene: { prompt: 'a <wizard1> <wizard2>' },
    options: { steps: 12, base: 'dreamshaper.safetensors', concept: ['lora/gone.safetensors=0.6', 'concept-files/teddy.safetensors', 'concept-files/wizard.safetensors'] },
    left_out: ['"Model hash" means nothing here'],
  } }));
  await page.goto('/#/compose');
  await expect(page.getByLabel('Canvas width')).toHaveValue('128');
  await dropOn(page, '.compose', { 'other.png': Buffer.from('any') });
  const report = page.getByRole('dialog', { name: 'The picture is open, but not all of what made it:' });
  await expect(report.getByRole('listitem')).toHaveText([
    '"Model hash" means nothing here', 'dreamshaper.safetensors is not among the models; models/base is chosen in its place',
    'lora/gone.safetensors is not among the concept files', /^concept-files\/teddy\.safetensors is not used: no prompt has its words/,
  ]);
  await expect(page.getByText(/Every field of the picture/)).toHaveCount(0);
});

test('a region is painted with the brush, undone and redone by keyboard', async ({ page, request }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/compose');
  await expect(page.getByLabel('Canvas width')).toHaveValue('128');
  await page.keyboard.press('m');
  await dragOnCanvas(page, [0.2, 0.5], [0.8, 0.5]);
  await page.keyboard.press('Escape');
  await page.getByLabel('Prompt', { exact: true }).fill('a pond');
  await page.locator('[data-canvas]').focus();
  await page.keyboard.press('Control+z');
  await page.keyboard.press('Control+z');
  await expect(page.getByText('Nothing is painted in Region 1.').first()).toBeAttached();
  await page.keyboard.press('Control+Shift+z');
  await page.keyboard.press('Control+y');
  await expect(page.getByLabel('Prompt', { exact: true })).toHaveValue('a pond');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect.poll(() => asked.length).toBe(1);
  const [{ mask }] = asked[0]!.scene!.regions as [{ mask: string }];
  expect(mask).toMatch(/^uploads\/mask-/);
  const png = await (await request.get(`/mos/v1/files/${mask}`)).body();
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  expect([png.readUInt32BE(16), png.readUInt32BE(20), png[25]]).toEqual([128, 128, 0]);
});

test('arrow keys move a region, layers change their sequence', async ({ page }) => {
  await page.goto('/#/compose');
  await page.getByRole('button', { name: 'Layout: Side by side' }).click();
  await layer(page, 'right').click();
  const left = page.getByRole('group', { name: 'Place in pixels' }).getByLabel('Left');
  const before = Number(await left.inputValue());
  await page.locator('[data-canvas]').focus();
  await page.keyboard.press('ArrowLeft');
  await expect(left).toHaveValue(String(before - 8));
  await page.keyboard.press('PageUp');
  const names = page.locator('.layer-list .layer-name');
  await expect(names).toHaveText(['right', 'left']);
  await page.keyboard.press('Delete');
  await expect(names).toHaveText(['left']);
  await page.keyboard.press('Control+z');
  await expect(names).toHaveText(['right', 'left']);
});

test('what cannot work is said before it is started', async ({ page }) => {
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a <nobody1> in the snow');
  await expect(page.getByText('No concept here brings the word <nobody1>.')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Paint', exact: true })).toBeDisabled();
});

test('what the server cannot paint is said beside the button, until something is changed', async ({ page }) => {
  const message = 'a prompt names <lora:x>, but there is no file x.safetensors; name its folder with --lora-folder, or take brackets for plain text with --plain-text';
  await page.route('**/mos/v1/jobs', (route) => (route.request().method() === 'POST' ? route.fulfill({ status: 400, json: { error: { kind: 'usage', message } } }) : route.fallback()));
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a dog <lora:x:1>');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  const said = page.getByRole('alert').filter({ hasText: 'name its folder with “LoRA folder”, or take brackets for plain text with “Plain text”' });
  await expect(said).toBeVisible();
  await page.getByLabel('Prompt', { exact: true }).fill('a dog');
  await expect(said).toHaveCount(0);
});

test('an address opens a project, also one that has a scene alone', async ({ page, request }) => {
  const scene = { prompt: 'a meadow', height: 128, width: 256, regions: [{ name: 'here', prompt: 'a dog', box: [0, 0, 1, 0.5] }] };
  const { id } = await (await request.post('/mos/v1/projects', { data: { title: 'meadow', content: { scene } } })).json();
  await page.goto(`/#/compose/${id}`);
  await expect(layer(page, 'here')).toBeVisible();
  await expect(page.getByLabel('Canvas width')).toHaveValue('256');
  await expect(page.getByRole('button', { name: 'Scene', exact: true })).toHaveText('meadow');
  await expect(page).toHaveURL(/#\/compose$/); // so that a reload keeps what is changed from now on
});

test('at 1280 pixels the tools are one line, also with a brush', async ({ page }) => {
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto('/#/compose');
  await expect(page.getByLabel('Canvas width')).toHaveValue('128');
  const height = async () => (await page.getByRole('toolbar').boundingBox())!.height;
  expect(await height()).toBeLessThan(60);
  await page.keyboard.press('m');
  await expect(page.getByText('Brush size in pixels')).toBeAttached();
  expect(await height()).toBeLessThan(60);
});

test('a scene survives a reload, and the page finds its job again', async ({ page, request }) => {
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow at noon');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect(page.getByRole('region', { name: 'Queue' }).getByText(/a meadow at noon/)).toBeVisible();
  await mock(request, 'hold', { held: true });
  await page.reload();
  await expect(page.getByLabel('Prompt', { exact: true })).toHaveValue('a meadow at noon');
  await expect(page.getByRole('region', { name: 'Queue' }).getByText(/a meadow at noon/)).toBeVisible();
  await mock(request, 'hold', { held: false });
  await expect(page.getByRole('button', { name: /Show gallery/ })).toBeVisible();
});

test('a scene file comes in and goes out as it was', async ({ page }) => {
  await page.goto('/#/compose');
  const file = { prompt: 'a hill', height: 128, width: 256, regions: [{ name: 'sun', prompt: 'the sun', box: [0, 0, 64, 64], weight: 0.5 }] };
  await page.getByRole('button', { name: 'Scene', exact: true }).click();
  const chooser = page.waitForEvent('filechooser');
  await page.getByRole('menuitem', { name: 'From a scene file or a picture…' }).click();
  await (await chooser).setFiles({ name: 'hill.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(file)) });
  await expect(page.locator('.layer-list .layer-name')).toHaveText(['sun']);
  await page.getByRole('button', { name: 'Scene', exact: true }).click();
  const download = page.waitForEvent('download');
  await page.getByRole('menuitem', { name: 'Download the scene file' }).click();
  expect(JSON.parse(readFileSync(await (await download).path(), 'utf8'))).toEqual(file);
});

test('a scene file brings the pictures that it names along, out and in', async ({ page }) => {
  await page.goto('/#/compose');
  await expect(page.getByLabel('Canvas width')).toHaveValue('128');
  await page.getByLabel('Prompt', { exact: true }).fill('a hill');
  await page.locator('[data-canvas]').focus();
  await page.keyboard.press('m');
  await dragOnCanvas(page, [0.2, 0.3], [0.6, 0.7]);
  await page.getByLabel('Name of the region').fill('sun');
  const menu = async (name: string) => {
    await page.getByRole('button', { name: 'Scene', exact: true }).click();
    await page.getByRole('menuitem', { name }).click();
  };
  const download = page.waitForEvent('download');
  await menu('Download the scene file');
  expect((await download).suggestedFilename()).toBe('scene.zip');
  await expect(page.getByText('scene.zip holds the scene file and the picture that it names.')).toBeVisible();
  const archive = readFileSync(await (await download).path());
  const [file, mask, ...rest] = await unzipped(new Uint8Array(archive));
  const written = JSON.parse(Buffer.from(file!.bytes).toString());
  expect(written.regions).toMatchObject([{ name: 'sun', mask: mask!.name }]);
  expect(mask!.bytes[0]).toBe(0x89);
  expect(rest).toEqual([]);

  const sent: string[] = [];
  page.on('request', (one) => { if (one.method() === 'PUT') sent.push(new URL(one.url()).pathname); });
  const open = async (files: Parameters<FileChooser['setFiles']>[0]) => {
    const chooser = page.waitForEvent('filechooser');
    await menu('From a scene file or a picture…');
    await (await chooser).setFiles(files);
  };
  await menu('New');
  await open({ name: 'scene.zip', mimeType: 'application/zip', buffer: archive });
  await expect(page.locator('.layer-list .layer-name')).toHaveText(['sun']);
  expect(sent).toEqual([`/mos/v1/uploads/${mask!.name}`]);

  const other = { ...written, regions: [{ ...written.regions[0], name: 'moon' }] };
  const json = { name: 'moon.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(other)) };
  const png = (name: string) => ({ name, mimeType: 'image/png', buffer: Buffer.from(mask!.bytes) });
  await open([png('beside.png'), json, png(mask!.name)]); // unpacked, with one that is none of it
  await expect(page.locator('.layer-list .layer-name')).toHaveText(['moon']);
  const report = page.getByRole('dialog', { name: 'moon.json is open, but not all that was given:' });
  await expect(report.getByRole('listitem')).toHaveText(['beside.png was not opened: one scene at a time']);
  await report.getByRole('button', { name: 'Close' }).click();
  await page.route('**/mos/v1/files/**', (route) => (route.request().method() === 'HEAD' ? route.fulfill({ status: 404 }) : route.fallback()));
  await open(json);
  await expect(report.getByRole('listitem')).toHaveText([/is named in the scene and not here/]);
});

test('of several files that are dropped the others are named', async ({ page }) => {
  await page.goto('/#/gallery');
  await expect(page.locator('.tile').first()).toBeVisible();
  const png = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  await dropOn(page, '.gallery', { 'ours.png': png, 'photo.png': png, 'broken.safetensors': Buffer.from('x') });
  const report = page.getByRole('dialog', { name: /^The picture is open, but/ });
  await expect(report.getByRole('listitem').filter({ hasText: 'was not opened: one scene at a time' })).toHaveText([/^photo\.png/, /^broken\.safetensors/]);
  await report.getByRole('button', { name: 'Close' }).click();
  await dropOn(page, '.compose', {}, 'empty');
  await expect(page.getByText('There is no file in what was dropped.')).toBeVisible();
});

test('one region of a picture is painted again', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/compose');
  await page.getByRole('button', { name: 'Layout: Side by side' }).click();
  for (const name of ['left', 'right']) {
    await layer(page, name).click();
    await page.getByLabel('Prompt', { exact: true }).fill(`a house on the ${name}`);
  }
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await page.getByRole('button', { name: 'Paint only right again' }).click();
  await expect.poll(() => asked.length).toBe(2);
  expect(asked[1]!.options).toMatchObject({ redo_region: 'right', from: expect.stringMatching(/^gallery\//) });
});

test('a box never leaves the canvas, wherever the pointer goes', async ({ page }) => {
  await page.goto('/#/compose');
  await expect(page.getByLabel('Canvas width')).toHaveValue('128');
  await page.getByRole('button', { name: 'Draw a box' }).click();
  const canvas = (await page.locator('[data-canvas]').boundingBox())!;
  await page.mouse.move(canvas.x + canvas.width / 2, canvas.y + canvas.height / 2);
  await page.mouse.down();
  await page.mouse.move(canvas.x + canvas.width + 60, canvas.y + canvas.height / 2 + 40, { steps: 4 }); // over the panel
  await page.mouse.up();
  const place = page.getByRole('group', { name: 'Place in pixels' });
  const sides = async () => Object.fromEntries(await Promise.all(['Left', 'Top', 'Width', 'Height'].map(async (name) => [name, Number(await place.getByLabel(name).inputValue())])));
  await expect(place).toBeVisible();
  const drawn = await sides();
  expect(drawn.Left + drawn.Width).toBe(128);

  await dragOnCanvas(page, [0.75, 0.52], [3, 0.52]); // the whole box
  expect(await sides()).toEqual(drawn);
  await dragOnCanvas(page, [0.5, 0.5], [-3, -3]); // by its corner
  expect(await sides()).toMatchObject({ Left: 0, Top: 0, Width: 128 });
  await place.getByLabel('Width').fill('500');
  await page.keyboard.press('Tab');
  expect(await sides()).toMatchObject({ Left: 0, Width: 128 });
});

test('a canvas that cannot be is said to be none', async ({ page }) => {
  await page.goto('/#/compose');
  const width = page.getByLabel('Canvas width');
  await expect(width).toHaveValue('128');
  for (const [given, taken] of [['100', '104'], ['-5', '64'], ['1000000', '4096']] as const) {
    await width.fill(given);
    await page.keyboard.press('Tab');
    await expect(width).toHaveValue(taken);
    await expect(page.getByText(`“${given}” was not taken: sides are multiples of 8, from 64 to 4096. It is ${taken} now.`).first()).toBeVisible();
  }
  await width.fill('256');
  await page.keyboard.press('Tab');
  await expect(page.getByRole('group', { name: 'Canvas' }).getByText(/was not taken/)).toHaveCount(0);
});

test('a number that cannot be is never put back or cut in silence', async ({ page }) => {
  await page.goto('/#/compose');
  await expect(page.getByLabel('Canvas width')).toHaveValue('128');
  await page.getByRole('button', { name: 'Draw a box' }).click();
  await dragOnCanvas(page, [0.1, 0.2], [0.4, 0.9]);
  await expect(page.getByRole('group', { name: 'Place in pixels' })).toBeVisible();
  const region = page.locator('.panel-section').filter({ has: page.getByLabel('Name of the region') });
  const slider = region.locator('.slider').filter({ has: page.getByText('Strength', { exact: true }) });
  const strength = slider.getByRole('spinbutton');
  const refusals: [string, string, RegExp][] = [['5', '1', /“5” was not taken: at most 1\. It is 1 now\./], ['', '1', /An empty field was not taken: .* It is 1 now\./], ['', '1', /An empty field was not taken/]];
  for (const [given, taken, said] of refusals) {
    await strength.fill(given);
    await page.keyboard.press('Tab');
    await expect(strength).toHaveValue(taken);
    await expect(slider.getByText(said)).toBeVisible();
  }
  const place = page.getByRole('group', { name: 'Place in pixels' });
  await place.getByLabel('Left').fill('500');
  await page.keyboard.press('Tab');
  await expect(place.getByText(/^Left: “500” was not taken: a box lies on the canvas/)).toBeVisible();
  await place.getByLabel('Left').fill('8');
  await page.keyboard.press('Tab');
  await expect(place.getByText(/was not taken/)).toHaveCount(0);
  await page.keyboard.press('Escape');
  await page.getByRole('switch', { name: 'Another seed each time' }).uncheck();
  await expect(page.getByLabel('Seed', { exact: true })).not.toHaveValue('0'); // one that was drawn
  await page.getByLabel('Seed', { exact: true }).fill('-7');
  await page.keyboard.press('Tab');
  await expect(page.getByLabel('Seed', { exact: true })).toHaveValue('0');
  await expect(page.locator('.seed').getByText('“-7” was not taken: at least 0. It is 0 now.')).toBeVisible();
});

test('a seed that stays is the one that the field shows, and can be 0', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  const paint = async () => {
    const sent = asked.length;
    await page.getByRole('button', { name: 'Paint', exact: true }).click();
    await expect.poll(() => asked.length).toBe(sent + 1);
    return String(asked.at(-1)!.options.seed);
  };
  const first = await paint();
  await expect(page.getByRole('button', { name: /^Show gallery/ })).toBeVisible();
  await page.getByRole('switch', { name: 'Another seed each time' }).uncheck();
  const seed = page.getByLabel('Seed', { exact: true });
  await expect(seed).toHaveValue(first);
  expect(await paint()).toBe(first);
  await seed.fill('0');
  await page.keyboard.press('Tab');
  expect(await paint()).toBe('0');
  await page.reload();
  await expect(seed).toHaveValue('0');
});

test('a scene is saved into its own project, and never into that of another folder', async ({ page }) => {
  const written: string[] = [];
  page.on('request', (sent) => { if (/\/projects/.test(sent.url()) && sent.method() !== 'GET') written.push(sent.method()); });
  await page.goto('/#/compose');
  const prompt = page.getByLabel('Prompt', { exact: true });
  await prompt.fill('a meadow');
  await page.keyboard.press('Control+s');
  await page.getByLabel('Title').fill('friends');
  await page.keyboard.press('Enter');
  await expect(page.getByText('“friends” is saved.')).toBeVisible();
  await page.reload();
  await expect(prompt).toHaveValue('a meadow');
  await page.keyboard.press('Control+s');
  await expect(page.getByText('“friends” is saved.')).toBeVisible();
  expect(written).toEqual(['POST', 'PUT']);
  await page.route('**/mos/v1/info', async (route) => {
    const answer = await (await route.fetch()).json();
    await route.fulfill({ json: { ...answer, folder: '/home/me/others' } });
  });
  for (const comes of [() => page.reload(), () => page.reload()]) { // and stays another one
    await comes();
    await expect(prompt).toHaveValue('a meadow');
    await page.keyboard.press('Control+s');
    await expect(page.getByRole('dialog', { name: 'Save the scene' })).toBeVisible();
  }
  expect(written).toEqual(['POST', 'PUT']);
});

test('a studio that comes back with another folder while the page is open gets a project of its own', async ({ page, request }) => {
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await page.keyboard.press('Control+s');
  await page.getByLabel('Title').fill('friends');
  await page.keyboard.press('Enter');
  await expect(page.getByText('“friends” is saved.')).toBeVisible();
  const told = page.waitForResponse((reply) => reply.url().endsWith('/mos/v1/info'));
  await page.route('**/mos/v1/info', async (route) => {
    const answer = await (await route.fetch()).json();
    await route.fulfill({ json: { ...answer, folder: '/home/me/others' } });
  });
  await mock(request, 'cut', {});
  await told;
  await page.getByLabel('Prompt', { exact: true }).press('Control+s');
  await expect(page.getByRole('dialog', { name: 'Save the scene' })).toBeVisible();
});

test('nothing is painted behind a dialog', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await page.getByRole('button', { name: 'Scene', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Open…' }).click();
  await expect(page.getByRole('dialog', { name: 'Open a scene' })).toBeVisible();
  await page.keyboard.press('Control+Enter');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  expect(asked).toEqual([]);
  await page.keyboard.press('Control+Enter');
  await expect.poll(() => asked.length).toBe(1);
});

test('the edges of a picture take its place in the condition, and undo brings it back', async ({ page }) => {
  await page.goto('/#/compose');
  await expect(page.getByLabel('Canvas width')).toHaveValue('128');
  await page.getByRole('button', { name: 'A condition picture', exact: true }).click();
  const bytes = readFileSync(new URL('../../../base/concepts/dawn/images/00.png', import.meta.url));
  await page.locator('.condition input[type=file]').setInputFiles({ name: 'photo.png', mimeType: 'image/png', buffer: bytes });
  const picture = page.getByRole('img', { name: 'Condition picture' });
  await expect(picture).toHaveAttribute('src', /uploads\/photo\.png$/);
  await page.getByRole('button', { name: 'Make edges of it' }).click();
  await page.getByRole('button', { name: 'Layout: Side by side' }).click();
  await layer(page, 'right').click(); // something else is looked at meanwhile
  await expect(picture).toHaveCount(0);
  await page.getByRole('button', { name: /^Everywhere/ }).click();
  await expect(picture).toHaveAttribute('src', /uploads\/\d+\.png$/);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(picture).toHaveAttribute('src', /uploads\/photo\.png$/);
});
