import { readFileSync } from 'node:fs';

import { dropOn, expect, jobsAskedFor, mock, test } from './tools';

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

test('a mask is painted by keyboard', async ({ page }) => {
  await page.goto('/#/concepts/wizard');
  await page.getByRole('button', { name: 'Paint the mask of 00' }).click();
  const save = page.getByRole('button', { name: 'Save the mask' });
  await expect(save).toBeDisabled();
  await page.getByLabel('Mask', { exact: true }).focus();
  for (const key of ['ArrowLeft', 'Space', 'ArrowDown', 'Shift+ArrowRight', 'Space']) await page.keyboard.press(key);
  await expect(save).toBeEnabled();
  await page.keyboard.press('Control+z');
  await expect(save).toBeDisabled();
  await page.keyboard.press('Control+Shift+z');
  const answered = page.waitForResponse((reply) => reply.request().method() === 'PUT' && reply.url().endsWith('/masks/00'));
  await save.click();
  expect((await answered).status()).toBe(200);
  await expect(page.getByRole('dialog')).toHaveCount(0);
});

test('a painted mask is not lost to a slip', async ({ page }) => {
  await page.goto('/#/concepts/wizard');
  await page.getByRole('button', { name: 'Paint the mask of 00' }).click();
  const dialog = page.getByRole('dialog', { name: 'Mask of 00' });
  const paper = (await page.getByLabel('Mask', { exact: true }).boundingBox())!;
  await page.mouse.move(paper.x + 60, paper.y + 60);
  await page.mouse.down();
  await page.mouse.move(2, 2, { steps: 4 }); // ends beside the dialog
  await page.mouse.up();
  for (const slip of [() => page.mouse.click(2, 2), () => page.keyboard.press('Escape'), () => page.getByRole('button', { name: 'Close' }).click()]) {
    await slip();
    await expect(dialog.getByText('What was painted is not saved.')).toBeVisible();
    await dialog.getByRole('button', { name: 'Go on', exact: true }).click();
    await expect(dialog.getByRole('button', { name: 'Save the mask' })).toBeEnabled();
  }
  await page.keyboard.press('Alt+4');
  await expect(page).toHaveURL(/#\/concepts\/wizard$/);
  await page.evaluate(() => { location.hash = '#/gallery'; }); // as Back, or an address that was typed
  await expect(dialog.getByText('What was painted is not saved.')).toBeVisible();
  await expect(page).toHaveURL(/#\/concepts\/wizard$/);
  await dialog.getByRole('button', { name: 'Go on', exact: true }).click();
  await expect(dialog.getByRole('button', { name: 'Save the mask' })).toBeEnabled();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Discard' }).click();
  await expect(dialog).toBeHidden();
  await page.keyboard.press('Alt+4');
  await expect(page).toHaveURL(/#\/gallery$/);
});

test('Back asks before strokes are lost, and leaves once they are given up', async ({ page }) => {
  await page.goto('/#/gallery');
  await expect(page.locator('.tile').first()).toBeVisible();
  await page.getByRole('link', { name: 'Concepts' }).click();
  await page.getByRole('button', { name: 'Paint the mask of 00' }).click();
  await page.getByLabel('Mask', { exact: true }).focus();
  for (const key of ['ArrowLeft', 'Space', 'ArrowDown', 'Space']) await page.keyboard.press(key);
  const dialog = page.getByRole('dialog', { name: 'Mask of 00' });
  await page.goBack();
  await expect(dialog.getByText('What was painted is not saved.')).toBeVisible();
  await expect(page).toHaveURL(/#\/concepts$/);
  await dialog.getByRole('button', { name: 'Discard' }).click();
  await page.goBack();
  await expect(page).toHaveURL(/#\/gallery$/);
  await expect(page.locator('.tile').first()).toBeVisible();
});

test('captions that are not saved wait for who comes back, and their tab says so', async ({ page }) => {
  const tab = (name: string) => page.getByRole('radiogroup', { name: 'What to see' }).getByRole('radio', { name });
  await page.goto('/#/concepts/wizard/captions');
  const own = await page.getByLabel('Caption of 01').inputValue();
  await page.getByLabel('Caption of 00').fill('a <TOK> in a boat');
  await page.getByText('All at once').click();
  await page.getByLabel('Replace', { exact: true }).fill(own.slice(-4));
  await page.getByLabel('Replace with').fill('night');
  await page.getByRole('button', { name: 'Replace', exact: true }).click();
  const edited = page.getByText(/^\d captions are changed$/);
  const count = (await edited.textContent())!.charAt(0);
  for (const away of [() => tab('Pictures').click(), () => page.getByRole('link', { name: /^racer/ }).click(), () => page.goto('/#/gallery'), () => page.reload()]) {
    await away();
    await page.goto('/#/concepts/wizard');
    await tab(`Captions , ${count} not saved`).click();
    await expect(page.getByLabel('Caption of 00')).toHaveValue('a <TOK> in a boat');
    await expect(page.getByLabel('Caption of 01')).toHaveValue(`${own.slice(0, -4)}night`);
    await expect(edited).toBeVisible();
  }
  await page.getByRole('link', { name: /^racer/ }).click();
  await expect(tab('Captions')).toHaveAccessibleName('Captions'); // each concept has its own
  await page.goto('/#/concepts/wizard/captions');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(tab('Captions')).toHaveAccessibleName('Captions');
  await page.getByLabel('Caption of 02').fill('gone');
  await page.getByRole('button', { name: 'Discard' }).click();
  await page.reload();
  await expect(page.getByLabel('Caption of 02')).not.toHaveValue('gone');
  await expect(page.getByLabel('Caption of 00')).toHaveValue('a <TOK> in a boat');
});

test('the folder of a concept brings masks, captions and concept.json along, and says what it could not', async ({ page, request }) => {
  await page.goto('/#/concepts/wizard');
  await dropOn(page, '.concepts', {
    'images/00.png': kPicture, 'images/01.png': kPicture, 'images/broken.png': Buffer.from('no picture'), 'masks/00.png': kPicture,
    'captions/01.txt': Buffer.from('a <TOK> at sea'), 'notes.pdf': Buffer.from('x'),
    'concept.json': Buffer.from('{"words": ["<sun1>", "<sun2>"], "class_word": "hills"}'),
  }, 'dawn');
  const dialog = page.getByRole('dialog', { name: 'New concept' });
  await expect(dialog.getByText('3 pictures are waiting, 1 with a mask, 1 with a caption.')).toBeVisible();
  await expect(dialog.getByText('<sun1> <sun2>')).toBeVisible();
  await expect(dialog.getByLabel('What it is one of')).toHaveValue('hills');
  await dialog.getByRole('button', { name: 'Make it' }).click();
  const report = page.getByRole('dialog', { name: '2 pictures, 1 mask and 1 caption are in dawn. Left out:' });
  await expect(report.getByRole('listitem')).toHaveText([/^broken\.png is not a picture we can read/, /^dawn\/notes\.pdf is neither/]);
  const { pictures } = await (await request.get('/mos/v1/concepts/dawn')).json();
  expect(pictures.map(({ mask, caption }: Record<string, string>) => [!!mask, caption])).toEqual([[true, ''], [false, 'a <TOK> at sea']]);
});

test('small places show thumbnails, and no page loads a picture in full for a tile', async ({ page }) => {
  const full: string[] = [];
  page.on('request', (sent) => { if (/\/mos\/v1\/(files|gallery\/\d+\/picture)/.test(sent.url())) full.push(sent.url()); });
  const shown = async (locator: string) => {
    const sources = await page.locator(locator).evaluateAll((images) => images.map((image) => image.getAttribute('src')));
    expect(sources.length, locator).toBeGreaterThan(0);
    for (const source of sources) expect(source, locator).toMatch(/^\/mos\/v1\/(thumbnails\/|gallery\/\d+\/thumbnail)/);
  };
  await page.goto('/#/concepts/wizard');
  await page.getByText('Masks', { exact: true }).click();
  await expect(page.locator('.card-mask').first()).toBeVisible();
  for (const place of ['.card-picture > img', '.concept-entry img']) await shown(place);
  await page.getByText('Captions', { exact: true }).click();
  await expect(page.getByLabel('Caption of 00')).toBeVisible();
  await shown('.caption-list img');
  await page.goto('/#/gallery');
  await expect(page.locator('.tile img').first()).toBeVisible();
  await shown('.tile img');
  expect(full).toEqual([]);
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect(page.getByRole('button', { name: /Show gallery/ })).toBeVisible();
  await shown('.results img');
});

test('each of several files that are refused is named, and stays named', async ({ page }) => {
  await page.goto('/#/concepts/wizard');
  const files = ['a', 'b', 'c', 'd'].map((name) => ({ name: `${name}.png`, mimeType: 'image/png', buffer: Buffer.from('no picture') }));
  await page.locator('input[type=file][multiple]').setInputFiles([...files, { name: 'good.png', mimeType: 'image/png', buffer: kPicture }]);
  const report = page.getByRole('dialog', { name: '1 picture is in wizard. Left out:' });
  await expect(report.getByRole('listitem')).toHaveText([/^a\.png /, /^b\.png /, /^c\.png /, /^d\.png /]);
});

test('a picture with something wrong says so below it', async ({ page }) => {
  await page.goto('/#/concepts/racer');
  await expect(page.locator('.card.bad')).toHaveCount(1);
  await expect(page.getByText('neither <TOK> nor the words').first()).toBeVisible();
  await page.getByText('Tuning', { exact: true }).click();
  await expect(page.getByRole('button', { name: 'Start tuning' })).toBeDisabled();
});

test('a stopped run is gone on with by its own settings, or given up, before anything is queued', async ({ page }) => {
  const asked = jobsAskedFor(page);
  const repeated: unknown[] = [];
  page.on('request', (sent) => { if (sent.url().endsWith('/repeat')) repeated.push(sent.postDataJSON()); });
  await page.goto('/#/concepts/wizard/tuning');
  await page.getByLabel('Steps', { exact: true }).fill('300');
  await page.getByRole('button', { name: 'Start tuning' }).click();
  await expect(page.getByText(/^tuning \d+/).first()).toBeVisible();
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await expect(page.getByText(/Run 2 was stopped, \d+ of 600 steps are kept\.$/)).toBeVisible();
  await page.getByLabel('Steps', { exact: true }).fill('400');
  await expect(page.getByText('It had Steps 300 instead of 400: it can only go on with its own settings.')).toBeVisible();
  await page.getByRole('button', { name: 'Go on with its settings' }).click();
  await expect(page.getByRole('heading', { name: 'Run 3' })).toBeVisible();
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.getByRole('button', { name: 'Start anew with these settings' }).click();
  await expect.poll(() => asked.length).toBe(2);
  expect(repeated).toEqual([{ options: { fresh: false } }]);
  expect(asked.map(({ options }) => [options.steps, options.fresh])).toEqual([[300, undefined], [400, true]]);
});

test('a run that another one lies in the way of says so, and can begin anew', async ({ page, request }) => {
  await mock(request, 'fail', { message: 'the checkpoint concept-files/wizard-2.checkpoint is of a run with "steps" 40 instead of 24; run that again, or start anew with --fresh' });
  await page.goto('/#/concepts/wizard/tuning');
  await page.getByRole('button', { name: 'Start tuning' }).click();
  await expect(page.getByText('It had “Steps” 40 instead of 24.')).toBeVisible();
  const again = page.waitForRequest((sent) => sent.url().endsWith('/repeat'));
  await page.getByRole('button', { name: 'Start anew', exact: true }).click();
  expect((await again).postDataJSON()).toEqual({ options: { fresh: true } });
});

test('a checkpoint that only the server sees is said before anything is queued', async ({ page }) => {
  const asked = jobsAskedFor(page);
  const message = 'the checkpoint wizard.checkpoint is of a run with other pictures, masks or captions; go on with it as it was, or start anew with "fresh", which gives it up';
  await page.route('**/mos/v1/jobs', (route) => {
    const isRefused = route.request().method() === 'POST' && !route.request().postDataJSON().options.fresh;
    return isRefused ? route.fulfill({ status: 400, json: { error: { kind: 'usage', message } } }) : route.fallback();
  });
  await page.goto('/#/concepts/wizard/tuning');
  await page.getByRole('button', { name: 'Start tuning' }).click();
  await expect(page.getByText('It had other pictures, masks or captions.')).toBeVisible();
  await page.getByRole('button', { name: 'Start anew' }).click();
  await expect.poll(() => asked.map(({ options }) => options.fresh)).toEqual([undefined, true]);
  await expect(page.getByRole('region', { name: 'Run 2' })).toBeVisible();
});

test('a reload leaves the tab and what was typed as they are', async ({ page }) => {
  await page.goto('/#/concepts/wizard');
  await page.getByText('Tuning', { exact: true }).click();
  await expect(page).toHaveURL(/#\/concepts\/wizard\/tuning$/);
  await page.getByLabel('Rank', { exact: true }).fill('9');
  await page.reload();
  await expect(page.getByLabel('Rank', { exact: true })).toHaveValue('9');
  await page.goto('/#/together');
  await page.getByRole('button', { name: /^wizard </ }).click();
  await page.reload();
  await expect(page.getByRole('button', { name: /^wizard </ })).toHaveAttribute('aria-pressed', 'true');
  await page.goto('/#/gallery');
  await page.getByLabel('Search prompts').fill('beach');
  await expect(page.getByText(/^\d+ pictures$/)).not.toHaveText('240 pictures');
  await page.reload();
  await expect(page.getByLabel('Search prompts')).toHaveValue('beach');
});

test('options stand in groups, and a method is told in a sentence', async ({ page }) => {
  await page.goto('/#/concepts/wizard/tuning');
  await expect(page.getByText('A row for each layer and word, LoRA on attention (Mix-of-Show).')).toBeVisible();
  await page.getByLabel('Method', { exact: true }).selectOption('lora');
  await expect(page.getByText('One row for each word, and LoRA on attention (LoRA).')).toBeVisible();
  await page.getByText('All options').click();
  await expect(page.getByRole('region', { name: 'Options: Captions' }).getByLabel('Keep', { exact: true })).toBeVisible();
  await page.getByLabel('Search options').fill('flip');
  await expect(page.locator('.option-group h3')).toHaveText(['Pictures']);
});

test('a rank that was given to one method is not asked of another one', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.route('**/mos/v1/models', async (route) => {
    const { models } = await (await route.fetch()).json();
    const defaults = { steps: 340, methods: { lora: { steps: 210 } } };
    await route.fulfill({ json: { models: models.map((model: { kind: string }) => (model.kind === 'base' ? { ...model, defaults } : model)) } });
  });
  await page.goto('/#/concepts/wizard/tuning');
  await expect(page.getByLabel('Steps', { exact: true })).toHaveValue('340');
  await page.getByLabel('Rank', { exact: true }).fill('8');
  await page.getByLabel('Batch', { exact: true }).evaluate((field: HTMLElement) => field.closest('details')!.open = true);
  await page.getByLabel('Batch', { exact: true }).fill('2');
  await page.getByLabel('Method', { exact: true }).selectOption('lora');
  await expect(page.getByLabel('Steps', { exact: true })).toHaveValue('210');
  await page.getByRole('button', { name: 'Start tuning' }).click();
  await expect.poll(() => asked.map(({ options }) => [options.method, options.rank, options.batch])).toEqual([['lora', undefined, 2]]);
});

test('a tuning that paints its samples says so', async ({ page, request }) => {
  await page.goto('/#/concepts/wizard/tuning');
  await page.getByLabel('Preview every', { exact: true }).fill('6');
  await page.getByRole('button', { name: 'Start tuning' }).click();
  await expect(page.getByText(/^tuning 6\/600|painting samples after step \d+/).first()).toBeVisible();
  await mock(request, 'hold', { held: true });
  await expect(page.getByRole('region', { name: 'Run 2' }).getByText(/^painting samples after step \d+$/)).toBeVisible();
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
  for (const { options } of evaluated) expect(options.base ?? '').not.toMatch(/^fused/); // which has no eyes
});

test('a fusion is asked for what its form shows, and its LoRA gets a name that is free', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.route('**/mos/v1/capabilities', async (route) => {
    const answer = await (await route.fetch()).json();
    await route.fulfill({ json: { ...answer, methods: { ...answer.methods, fuse: { gradient: ['text_ridge'], ties: ['density'] } } } });
  });
  await page.goto('/#/together');
  for (const name of [/^wizard </, /^racer </]) await page.getByRole('button', { name }).click();
  const form = page.getByRole('region', { name: 'Fuse' });
  const method = form.getByLabel('Method', { exact: true });
  await method.selectOption('ties');
  await form.getByText('All options').click();
  await form.getByLabel('Density', { exact: true }).fill('0.4');
  await method.selectOption('gradient');
  await expect(form.getByLabel('Density', { exact: true })).toHaveCount(0);
  await form.getByText('One LoRA file').click();
  for (const count of [1, 2]) {
    await form.getByRole('button', { name: 'Fuse 2' }).click();
    await expect.poll(() => asked.length).toBe(count);
    await expect(page.getByRole('button', { name: /^wizard-racer/ })).toHaveCount(count);
  }
  expect(asked.map(({ options }) => [options.lora, options.method, options.density])).toEqual([
    ['concept-files/wizard-racer.safetensors', 'gradient', undefined], ['concept-files/wizard-racer-2.safetensors', 'gradient', undefined],
  ]);
});

test('what a fusion lacks is said before it is asked for, and what is refused beside its button', async ({ page }) => {
  await page.route('**/mos/v1/concept-files', async (route) => {
    const answer = await (await route.fetch()).json();
    await route.fulfill({ json: { files: answer.files.map((file: { path: string }) => (file.path.includes('teddy') ? { ...file, words: [], made_by: 'kohya' } : file)) } });
  });
  await page.route('**/mos/v1/jobs', (route) => {
    const isFusion = route.request().method() === 'POST';
    return isFusion ? route.fulfill({ status: 400, json: { error: { kind: 'usage', message: 'the weights are -1, 0; for 2 concepts they must be 2 numbers, none negative' } } }) : route.fallback();
  });
  const form = page.getByRole('region', { name: 'Fuse' });
  await page.goto('/#/together');
  await expect(form.getByText('Choose concepts first.')).toBeVisible();
  await page.getByRole('button', { name: /^wizard </ }).click();
  await page.getByRole('button', { name: /^teddy no words/ }).click();
  const fuse = form.getByRole('button', { name: 'Fuse 2' });
  const phrase = form.getByLabel('How prompts call teddy');
  await expect(fuse).toBeDisabled();
  await expect(form.getByText('Say how prompts call teddy.')).toBeVisible();
  await expect(form.getByText(/^needed: /)).toBeVisible();
  await phrase.fill('<wizard1> <wizard2>');
  await expect(form.locator('.form-foot').getByText(/^teddy has no word <wizard1>: plain words call it/)).toBeVisible();
  await expect(phrase).toHaveAttribute('aria-invalid', 'true');
  await expect(fuse).toBeDisabled();
  await phrase.fill('sks bear');
  await form.getByRole('textbox', { name: 'Weights' }).fill('-1, 0');
  await fuse.click();
  const refused = form.getByText('the weights are -1, 0; for 2 concepts they must be 2 numbers');
  await expect(refused).toBeVisible();
  await form.getByRole('textbox', { name: 'Weights' }).fill('1, 2');
  await expect(refused).toHaveCount(0);
});

test('a value that was typed wrong and left is said to be the old one again', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/concepts/wizard/tuning');
  const steps = page.getByLabel('Steps', { exact: true });
  await steps.fill('40');
  await page.keyboard.press('Tab');
  for (const [given, why] of [['-5', 'at least 1'], ['abc', 'this is not a number'], ['12.5', 'whole numbers only'], ['', 'this is not a number']] as const) {
    await steps.fill('');
    await steps.pressSequentially(given); // what it begins with may be a value, and is not the one that was meant
    await page.keyboard.press('Tab');
    await expect(steps).toHaveValue('40');
    const said = `${given ? `“${given}”` : 'An empty field'} was not taken: ${why}. It is 40 now.`;
    await expect(page.getByRole('region', { name: 'Tuning' }).getByText(said)).toBeVisible();
    await expect(page.getByRole('alert').getByText(`Steps: ${said}`).first()).toBeVisible();
  }
  const rank = page.getByLabel('Rank', { exact: true });
  const usual = await rank.inputValue();
  await rank.fill('x');
  await page.getByRole('button', { name: 'Start tuning' }).click();
  await expect(rank).toHaveValue(usual);
  await expect(page.getByRole('alert').getByText(`Rank: “x” was not taken: this is not a number. It is ${usual} now.`)).toBeVisible();
  await expect.poll(() => asked.map(({ options }) => [options.steps, options.rank])).toEqual([[40, undefined]]);
  await steps.fill('41');
  await expect(page.getByRole('region', { name: 'Tuning' }).getByText(/^“.*was not taken/)).toHaveCount(1); // that of the rank
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
  for (const at of [0, 1]) await tiles.nth(at).getByRole('checkbox').check(); // and it shows
  await page.getByRole('button', { name: 'Compare' }).click();
  await expect(page.getByRole('dialog', { name: 'Two pictures' })).toBeVisible();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Delete the chosen pictures' }).click();
  await page.getByLabel('Search prompts').fill('');
  await expect(page.getByText('238 pictures')).toBeVisible();
  await tiles.nth(2).hover();
  await tiles.nth(2).getByRole('button', { name: /^Star picture 3, / }).click();
  await page.getByRole('button', { name: 'Only starred ones' }).click();
  await expect(tiles.first().getByRole('button', { name: /^Take the star away from picture 1, / })).toBeVisible();
});

test('whatever is deleted is said to be, and comes back', async ({ page }) => {
  const undo = async (text: string | RegExp) => {
    const toast = page.locator('.toast').filter({ hasText: text });
    await expect(toast).toBeVisible();
    await toast.getByRole('button', { name: 'Undo' }).click();
    await expect(toast).toBeHidden();
  };
  const missing: string[] = [];
  page.on('response', (reply) => { if (reply.status() === 404 && !reply.url().endsWith('/concepts/wizard')) missing.push(reply.url()); });
  await page.goto('/#/gallery');
  const tiles = page.locator('.tile:not(.blank)');
  for (const at of [0, 1]) {
    await tiles.nth(at).hover();
    await tiles.nth(at).getByRole('checkbox').click();
  }
  await page.getByRole('button', { name: 'Delete the chosen pictures' }).click();
  await expect(page.getByText('238 pictures')).toBeVisible();
  await undo('2 pictures are in the trash');
  await expect(page.getByText('240 pictures')).toBeVisible();

  await page.goto('/#/concepts/wizard');
  const cards = page.getByRole('list', { name: 'Pictures of wizard' }).locator('.card');
  await expect(cards.first()).toBeVisible();
  const count = await cards.count();
  await page.getByRole('button', { name: 'Remove 00' }).click();
  await expect(cards).toHaveCount(count - 1);
  await undo('00 is in the trash');
  await expect(cards).toHaveCount(count);
  await page.getByRole('button', { name: 'More for wizard' }).click();
  await page.getByRole('menuitem', { name: 'Delete the concept' }).click();
  await expect(page.getByRole('link', { name: /^wizard/ })).toHaveCount(0);
  await undo('wizard is in the trash');
  await expect(page.getByRole('link', { name: /^wizard/ })).toBeVisible();
  await expect(page.getByText('there is no concept wizard')).toHaveCount(0);

  await page.goto('/#/together');
  await page.getByRole('button', { name: 'Delete wizard' }).click();
  await expect(page.getByRole('button', { name: /^wizard </ })).toHaveCount(0);
  await undo('wizard is in the trash');
  await expect(page.getByRole('button', { name: /^wizard </ })).toBeVisible();

  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await page.getByRole('button', { name: 'Scene', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Save as…' }).click();
  await page.getByLabel('Title').fill('friends');
  await page.keyboard.press('Enter');
  const openList = async () => {
    await page.getByRole('button', { name: 'Scene', exact: true }).click();
    await page.getByRole('menuitem', { name: 'Open…' }).click();
  };
  await expect(page.getByText('“friends” is saved.')).toBeVisible();
  await openList();
  await page.getByRole('button', { name: 'Delete friends' }).click();
  await expect(page.getByText('Nothing is saved yet.')).toBeVisible();
  await page.keyboard.press('Escape');
  await undo('“friends” is deleted.');
  await openList();
  await expect(page.getByRole('dialog').getByText('friends')).toBeVisible();
  expect(missing).toEqual([]);
});

test('a picture that is open stays open while a search comes in, and closes once', async ({ page }) => {
  await page.goto('/#/gallery');
  const answered = page.waitForResponse((reply) => reply.url().includes('search=beach'));
  await page.getByLabel('Search prompts').fill('beach');
  await page.locator('.tile:not(.blank)').first().click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toBeVisible();
  await answered;
  await expect(page.getByText(/^\d+ pictures$/)).not.toHaveText('240 pictures');
  await expect(dialog).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);
});

test('a picture has every field back, however late the list of models is', async ({ page }) => {
  let first = true;
  await page.route('**/mos/v1/models', async (route) => {
    if (first) await new Promise((resolve) => setTimeout(resolve, 4000));
    first = false;
    await route.continue();
  });
  await page.goto('/#/gallery');
  await page.locator('[data-index="3"]').click();
  await page.getByRole('button', { name: 'Open in Compose' }).click();
  await expect(page.getByLabel('Model', { exact: true })).toHaveValue('fused/3');
});

test('a picture whose file is gone says so, and is not offered to Compose', async ({ page }) => {
  await page.route(/gallery\/237\/(picture|thumbnail)/, (route) => route.fulfill({ status: 404, json: {} }));
  await page.goto('/#/gallery');
  await expect(page.locator('[data-index="3"]')).toHaveText('its file is gone');
  await page.locator('[data-index="3"]').click();
  await expect(page.getByText(/is not in the studio’s folder any more/)).toBeVisible();
  await expect(page.getByRole('button', { name: 'Open in Compose' })).toBeDisabled();
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

test('a picture that is opened in Compose is the one that is shown and painted again', async ({ page }) => {
  const asked = jobsAskedFor(page);
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  const newest = page.getByRole('button', { name: /^Show gallery/ });
  await expect(newest).toHaveAttribute('aria-pressed', 'true');
  for (const reloads of [false, true]) { // which shows the newest one, where nothing else was opened
    await page.getByRole('link', { name: 'Gallery' }).click();
    if (reloads) await page.reload();
    await page.locator('[data-index="3"]').click();
    await page.getByRole('button', { name: 'Open in Compose' }).click();
    await expect(newest).toHaveAttribute('aria-pressed', 'false');
    await page.locator('.layer-main', { hasText: 'wizard' }).click();
    const sent = asked.length;
    await mock(page.request, 'hold', { held: true });
    await page.getByRole('button', { name: 'Paint only wizard again' }).click();
    await expect.poll(() => asked.length).toBe(sent + 1);
    expect(asked.at(-1)!.options).toMatchObject({ redo_region: 'wizard', from: expect.stringMatching(/-238\.png$/) });
    await page.getByRole('button', { name: /^Cancel wizard again/ }).click();
  }
});

test('a picture that comes while another page is open is the one that is shown then', async ({ page }) => {
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  for (const count of [1, 2]) {
    await page.getByRole('button', { name: 'Paint', exact: true }).click();
    if (count === 2) await page.getByRole('link', { name: 'Gallery' }).click();
    else await expect(page.getByRole('button', { name: /^Show gallery/ })).toHaveCount(1);
  }
  await expect(page.getByText('242 pictures')).toBeVisible();
  await page.getByRole('link', { name: 'Compose' }).click();
  await expect(page.getByRole('button', { name: /^Show gallery/ }).first()).toHaveAttribute('aria-pressed', 'true');
});

test('a command is copied also where the browser has no clipboard for the page', async ({ page }) => {
  await page.addInitScript(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }));
  await page.goto('/#/gallery');
  await page.locator('[data-index="3"]').click();
  const command = await page.locator('.copyable code').textContent();
  const copied = page.evaluate(() => new Promise((resolve) => document.addEventListener('copy', () => resolve(String(getSelection())), { once: true })));
  await page.getByRole('button', { name: 'Copy the command' }).click();
  await expect(page.getByRole('button', { name: 'Copied' })).toBeVisible();
  expect(await copied).toBe(command);
});
