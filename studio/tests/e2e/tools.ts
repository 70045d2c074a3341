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

/// Drops files or a folder of them, {"images/00.png": bytes}, on an element.
export async function dropOn(page: Page, selector: string, files: Record<string, Buffer>, folder = '') {
  const data = Object.entries(files).map(([path, bytes]) => ({ path, bytes: [...bytes] }));
  await page.locator(selector).evaluate((element, { data, folder }) => {
    type Entry = { name: string; isFile: boolean; isDirectory: boolean; children: Entry[] } & Record<string, unknown>;
    const made = data.map(({ path, bytes }) => ({ path, file: new File([new Uint8Array(bytes)], path.split('/').pop()!, { type: path.endsWith('png') ? 'image/png' : '' }) }));
    const fileEntry = (name: string, file: File) => ({ name, isFile: true, isDirectory: false, children: [], file: (resolve: (file: File) => void) => resolve(file) }) as Entry;
    const folderEntry = (name: string): Entry => {
      const entry = { name, isFile: false, isDirectory: true, children: [] as Entry[] } as unknown as Entry;
      entry.createReader = () => {
        const rest = [...entry.children];
        return { readEntries: (resolve: (entries: Entry[]) => void) => resolve(rest.splice(0)) };
      };
      return entry;
    };
    const root = folderEntry(folder);
    for (const { path, file } of made) {
      let at = root;
      const parts = path.split('/');
      for (const part of parts.slice(0, -1)) {
        let next = at.children.find((child) => child.name === part);
        if (!next) at.children.push((next = folderEntry(part)));
        at = next;
      }
      at.children.push(fileEntry(parts.at(-1)!, file));
    }
    const entries = folder ? [root] : root.children;
    const event = new DragEvent('drop', { bubbles: true, cancelable: true });
    const items = entries.map((entry) => ({ webkitGetAsEntry: () => entry }));
    Object.defineProperty(event, 'dataTransfer', { value: { types: ['Files'], items, files: folder ? [] : made.map(({ file }) => file) } });
    element.dispatchEvent(event);
  }, { data, folder });
}
