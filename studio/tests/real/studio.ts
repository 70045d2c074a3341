import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test as base, expect, type Page } from '@playwright/test';

export const kProject = fileURLToPath(new URL('../../../', import.meta.url));
const kMos = process.env.MOS ?? join(kProject, 'build/release/apps/mos/mos');
/// Of the page that is tested; empty: the one in the program.
const kPages = process.env.MOS_PAGES ?? '';

/// `mos studio` on the embedded base, in a folder of its own.
export class Studio {
  readonly folder = mkdtempSync(join(tmpdir(), 'mos-studio-'));
  address = '';
  talk = '';
  private process: ChildProcess | undefined;

  async start(...more: string[]) {
    const pages = kPages ? ['--ui-dir', kPages] : [];
    const port = this.address ? new URL(this.address).port : '0'; // the same one again after a kill
    const words = ['studio', '--port', port, '--folder', this.folder, '--base', join(kProject, 'base'), ...pages, ...more];
    const process = spawn(kMos, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.process = process;
    process.stderr.on('data', (text) => (this.talk += text));
    this.address = await new Promise<string>((resolve, reject) => {
      process.stdout.on('data', (text) => resolve(String(text).trim()));
      process.on('exit', () => reject(new Error(`mos studio ended: ${this.talk}`)));
    });
  }

  /// As the kernel does when memory is short: nothing is said before.
  async kill(signal: NodeJS.Signals = 'SIGKILL') {
    const gone = new Promise((resolve) => this.process?.once('exit', resolve));
    this.process?.kill(signal);
    await gone;
  }

  async end() {
    const jobs = await fetch(`${this.address}mos/v1/queue`).then((answer) => answer.json()).catch(() => ({ queue: [] }));
    for (const { id } of jobs.queue as { id: number }[]) {
      for (const _ of [1, 2]) await fetch(`${this.address}mos/v1/jobs/${id}/cancel`, { method: 'POST' });
    }
    await this.kill('SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/// A test fails on an error in the page's console, and on what its policy has stopped.
export const test = base.extend<{ quiet: void }, { studio: Studio }>({
  studio: [
    async ({}, use) => {
      const studio = new Studio();
      await studio.start();
      await use(studio);
      await studio.end();
    },
    { scope: 'worker' },
  ],
  quiet: [
    async ({ page }, use) => {
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error' && !message.text().includes('Failed to load resource')) errors.push(message.text());
      });
      if (process.env.MOS_TALK) page.on('response', (reply) => console.log(Math.round(performance.now()), reply.request().method(), reply.status(), reply.url()));
      if (process.env.MOS_TALK) page.on('requestfailed', (failed) => console.log('failed', failed.method(), failed.url(), failed.failure()?.errorText));
      await use();
      expect(errors).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/// With MOS_SHOTS=FOLDER pictures of the way are kept there, without what the page says in passing.
export async function shot(page: Page, name: string) {
  if (!process.env.MOS_SHOTS) return;
  for (const toast of await page.getByRole('button', { name: 'Dismiss' }).all()) await toast.click();
  await page.waitForFunction(() => [...document.images].every((image) => image.complete));
  await page.screenshot({ path: join(process.env.MOS_SHOTS, `${name}.png`) });
}

export function picturesOf(concept: string): string[] {
  const folder = join(kProject, 'base/concepts', concept, 'images');
  return readdirSync(folder).sort().map((name) => join(folder, name));
}

/// Sets an option that stands behind the search.
export async function setOption(page: Page, search: string, label: string, value: string) {
  const details = page.locator('details').filter({ hasText: 'All options' });
  if ((await details.getAttribute('open')) === null) await details.locator('summary').click();
  await page.getByLabel('Search options').fill(search);
  await details.getByLabel(label, { exact: true }).fill(value);
}
