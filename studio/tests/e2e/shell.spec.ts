import { expect, mock, test } from './tools';

test('the queue is in sight on every page, and jobs are moved and cancelled', async ({ page, request }) => {
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('first');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  const queue = page.getByRole('region', { name: 'Queue' });
  await expect(queue.getByText('first')).toBeVisible();
  await mock(request, 'hold', { held: true });
  for (const prompt of ['second', 'third']) {
    await page.getByLabel('Prompt', { exact: true }).fill(prompt);
    await page.getByRole('button', { name: 'Paint', exact: true }).click();
    await expect(queue.getByText(/waiting/)).toHaveText(prompt === 'second' ? '1 waiting' : '2 waiting');
  }
  await page.getByRole('link', { name: 'Gallery' }).click();
  await page.getByRole('button', { name: 'Open the queue' }).click();
  await page.getByRole('button', { name: 'Move third up' }).click();
  await expect(queue.locator('.job-title').nth(1)).toContainText('third');
  await queue.getByRole('listitem').getByRole('button', { name: 'Cancel first' }).click();
  await expect(queue.locator('.job-title').first()).toContainText('third');
});

test('a job that failed says why', async ({ page, request }) => {
  await mock(request, 'fail', { message: 'The adapter is for another model: 1024 numbers, expected 768.' });
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect(page.getByRole('alert')).toContainText('1024 numbers, expected 768');
});

test('without a stream the page asks, and sees the same', async ({ page, request }) => {
  await mock(request, 'reset', { refuseStreams: true });
  await page.goto('/#/compose');
  await page.getByLabel('Prompt', { exact: true }).fill('a meadow');
  await expect(page.getByText('Connected, asking')).toBeVisible();
  await expect(page.getByLabel('Model', { exact: true })).toHaveValue('models/base'); // the lists are there
  await page.getByRole('button', { name: 'Paint', exact: true }).click();
  await expect(page.getByRole('button', { name: /Show gallery/ })).toBeVisible();
});

test('with nothing in the folder every page says what to do', async ({ page, request }) => {
  await mock(request, 'reset', { empty: true });
  await page.goto('/#/concepts');
  await expect(page.getByText('Nobody is here yet')).toBeVisible();
  await page.goto('/#/together');
  await expect(page.getByText('No concept files yet')).toBeVisible();
  await page.goto('/#/gallery');
  await expect(page.getByText('No pictures yet')).toBeVisible();
  await page.goto('/#/compose');
  await expect(page.getByText('Put a base model into models/')).toBeVisible();
});

test('the page runs nothing but itself', async ({ page }) => {
  await page.goto('/#/compose');
  await expect(page.getByText('Connected')).toBeAttached();
  const ran = await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.intruder = true';
    document.body.append(script);
    return (window as unknown as { intruder?: boolean }).intruder === true;
  });
  expect(ran).toBe(false);
});

test('every control has a name, and the gallery and the queue fit a phone', async ({ page, request }) => {
  for (const name of ['compose', 'gallery', 'together', 'concepts/wizard']) {
    await page.goto(`/#/${name}`);
    await expect(page.locator('.page').locator('button, a, input').first()).toBeAttached();
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>('button, a[href], input, select, textarea')]
        .filter((one) => {
          const labels = (one as HTMLInputElement).labels;
          const text = one.getAttribute('aria-label') ?? one.textContent ?? '';
          return !text.trim() && !labels?.length;
        })
        .map((one) => one.outerHTML.slice(0, 120)),
    );
    expect(nameless).toEqual([]);
  }
  await page.setViewportSize({ width: 390, height: 844 });
  await request.post('/mos/v1/jobs', { data: { kind: 'fuse', title: 'wizard and teddy and a third of a long name', options: { concepts: ['concept-files/wizard.safetensors'] } } });
  for (const name of ['gallery', 'compose']) {
    await page.goto(`/#/${name}`);
    await expect(page.getByRole('button', { name: /^Cancel wizard and teddy/ })).toBeVisible();
    await page.getByRole('button', { name: 'Open the queue' }).click();
    const wide = await page.evaluate(() =>
      [document.documentElement, ...document.querySelectorAll('.shell > *, .dock-strip, .dock-list')].filter(
        (box) => box.scrollWidth > box.clientWidth || box.getBoundingClientRect().right > window.innerWidth,
      ).map((box) => box.className),
    );
    expect(wide).toEqual([]);
    await page.getByRole('button', { name: 'Close the queue' }).click();
  }
});

test('on a phone no part of a menu or a dialog is cut off', async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto('/#/compose');
  await page.getByRole('button', { name: 'Layout: Side by side' }).click();
  await page.getByRole('button', { name: 'Add a region' }).click();
  for (const item of await page.getByRole('menuitem').all()) await item.click({ trial: true });
  await page.goto('/#/concepts/wizard');
  await page.getByRole('button', { name: 'Paint the mask of 00' }).click();
  for (const name of ['Remove the mask', 'Cancel']) await expect(page.getByRole('button', { name })).toBeInViewport({ ratio: 1 });
  await page.keyboard.press('Escape');
  await page.goto('/#/gallery');
  for (const at of [0, 1, 2]) await page.locator('.tile:not(.blank)').nth(at).getByRole('checkbox').click();
  expect((await page.getByLabel('Search prompts').boundingBox())!.width).toBeGreaterThan(120);
});

test('the queue closes when somebody turns to the page again', async ({ page }) => {
  await page.goto('/#/concepts/wizard');
  for (const leave of [() => page.getByRole('heading', { name: 'wizard' }).click(), () => page.keyboard.press('Escape'), () => page.getByRole('link', { name: 'Gallery' }).click()]) {
    await page.getByRole('button', { name: 'Open the queue' }).click();
    await leave();
    await expect(page.getByRole('button', { name: 'Open the queue' })).toBeVisible();
  }
});

test('a key that follows a press at once is heard', async ({ page }) => {
  await page.goto('/#/concepts/wizard');
  const escapeAfter = (name: string) => page.getByRole('button', { name }).evaluate(async (button: HTMLElement) => {
    button.click();
    for (let drawn = 0; drawn < 20; ++drawn) await Promise.resolve(); // and no frame was shown yet
    const focused = document.activeElement ?? document.body;
    focused.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }));
  });
  await escapeAfter('Open the queue');
  await expect(page.getByRole('button', { name: 'Open the queue' })).toBeVisible({ timeout: 5_000 });
  await page.goto('/#/compose');
  await escapeAfter('Add a region');
  await expect(page.getByRole('menu')).toHaveCount(0, { timeout: 5_000 });
});

test('what the server has to say since it started is said once', async ({ page }) => {
  await page.route('**/mos/v1/capabilities', async (route) => {
    const answer = await (await route.fetch()).json();
    await route.fulfill({ json: { ...answer, notices: ['the tuning of racer was interrupted'] } });
  });
  await page.goto('/#/concepts');
  await expect(page.getByText('the tuning of racer was interrupted')).toBeVisible();
  await page.reload();
  await expect(page.getByRole('list', { name: 'Pictures of wizard' })).toBeVisible();
  await page.waitForTimeout(300);
  await expect(page.getByText('the tuning of racer was interrupted')).toHaveCount(0);
});

test('long names leave the page as wide as the window', async ({ page }) => {
  const long = `${'a'.repeat(112)}.png`;
  await page.goto('/#/concepts/wizard');
  const input = page.locator('input[type=file][multiple]');
  const file = Buffer.from(await (await page.request.get('/mos/v1/files/concepts/wizard/images/00.png')).body());
  await input.setInputFiles([{ name: long, mimeType: 'image/png', buffer: file }, { name: `x${long}`, mimeType: 'image/png', buffer: Buffer.from('none') }]);
  await expect(page.getByRole('dialog')).toBeVisible();
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 800 });
    const overflow = await page.evaluate(() => [...document.querySelectorAll('body, .page, .scroll, .concepts, .dialog, .dialog-body')].map((box) => box.scrollWidth - box.clientWidth));
    expect(Math.max(...overflow)).toBeLessThanOrEqual(0);
  }
});

test('what was tuned, fused or stopped is known however much was painted since', async ({ page, request }) => {
  await mock(request, 'reset', { later: 120 });
  await page.goto('/#/concepts/wizard/tuning');
  await expect(page.getByRole('heading', { name: 'Run 1' })).toBeVisible();
  await expect(page.getByText('Idle, 1 stopped half-way')).toBeVisible();
  await page.goto('/#/together');
  await expect(page.getByRole('button', { name: /^wizard and teddy/ })).toBeVisible();
});

const kLocked = { status: 401, json: { error: { kind: 'usage', message: 'this studio asks for its token' } } };

test('a wrong token is said to be one, and the right one opens', async ({ page }) => {
  let isOpen = false;
  await page.route('**/mos/v1/info', (route) => (isOpen ? route.fallback() : route.fulfill(kLocked)));
  await page.route('**/mos/v1/login', (route) => {
    isOpen = route.request().postDataJSON().token === 'right';
    const message = 'this is not the token that mos studio printed at its start';
    return route.fulfill(isOpen ? { json: { done: true } } : { status: 401, json: { error: { kind: 'usage', message } } });
  });
  await page.goto('/#/gallery');
  await page.getByLabel('Token').fill('wrong');
  await page.getByRole('button', { name: 'Open', exact: true }).click();
  const said = page.getByRole('alert').filter({ hasText: 'this is not the token' });
  await expect(said).toBeVisible();
  await page.getByLabel('Token').fill('right');
  await expect(said).toHaveCount(0);
  await page.getByRole('button', { name: 'Open', exact: true }).click();
  await expect(page.getByText('240 pictures')).toBeVisible();
});

test('a studio that asks for a token since its restart says so on the page that is open', async ({ page, request }) => {
  await page.goto('/#/gallery');
  await expect(page.getByText('240 pictures')).toBeVisible();
  await page.route('**/mos/v1/**', (route) => route.fulfill(kLocked));
  await mock(request, 'cut', {});
  await expect(page.getByLabel('Token')).toBeVisible();
  await expect(page.getByText('Waiting for the token')).toBeVisible();
});
