import { test as base, expect, type APIRequestContext, type Page } from '@playwright/test';

/// Every test begins with fresh sample data, and fails on an error in the page's console.

export const test = base.extend<{ fresh: void; quiet: void }>({
  fresh: [
    async ({ request }, use) => {
      await mock(request, 'reset', {});
      await use();
    },
    { auto: true },
  ],
  quiet: [
    async ({ page }, use) => {
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      await use();
      expect(errors).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export async function mock(request: APIRequestContext, what: string, body: object) {
  await request.post(`/mock/${what}`, { data: body });
}

/// What the page asked the server to do, in its own words.
export function jobsAskedFor(page: Page): { kind: string; options: Record<string, unknown>; scene?: Record<string, unknown> }[] {
  const asked: ReturnType<typeof jobsAskedFor> = [];
  page.on('request', (sent) => {
    if (sent.method() === 'POST' && sent.url().endsWith('/mos/v1/jobs')) asked.push(sent.postDataJSON());
  });
  return asked;
}

/// A drag on the canvas, in shares of its middle part where the picture lies.
export async function dragOnCanvas(page: Page, from: [number, number], to: [number, number]) {
  const box = (await page.locator('[data-canvas]').boundingBox())!;
  const side = Math.min(box.width - 72, box.height - 96);
  const left = box.x + (box.width - side) / 2;
  const top = box.y + 60 + (box.height - 96 - side) / 2;
  const place = ([x, y]: [number, number]) => [left + x * side, top + y * side] as const;
  await page.mouse.move(...place(from));
  await page.mouse.down();
  await page.mouse.move(...place([(from[0] + to[0]) / 2, (from[1] + to[1]) / 2]), { steps: 4 });
  await page.mouse.move(...place(to), { steps: 4 });
  await page.mouse.up();
}

/// The entry of a region in the list of layers.
export function layer(page: Page, name: string) {
  return page.locator('.layer-main').filter({ has: page.locator('.layer-name', { hasText: new RegExp(`^${name}$`) }) });
}
