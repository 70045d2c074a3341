import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { defineConfig } from '@playwright/test';

const kDebian = '/usr/bin/chromium';

/// One that nobody listens on, so that two runs on a machine have a stand-in each.
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

process.env.MOS_MOCK_PORT ??= String(await freePort()); // processes of its own read this file again
const kPort = Number(process.env.MOS_MOCK_PORT);

/// The pages against the stand-in server; `npm run build` comes first. MOS_STUDIO=http://… runs
/// against another one, such as `mos studio --ui-dir studio/dist`.
export default defineConfig({
  testDir: 'tests/e2e',
  workers: 1,
  timeout: 300_000, // a machine that tests other things at the same time
  expect: { timeout: 60_000 },
  reporter: 'list',
  use: {
    baseURL: process.env.MOS_STUDIO ?? `http://127.0.0.1:${kPort}`,
    viewport: { width: 1440, height: 900 },
    launchOptions: {
      args: ['--no-sandbox', '--disable-gpu'],
      ...(existsSync(kDebian) ? { executablePath: kDebian } : {}),
    },
  },
  ...(process.env.MOS_STUDIO
    ? {}
    : { webServer: { command: `node tests/mock/server.mjs ${kPort}`, port: kPort, reuseExistingServer: false } }),
});
