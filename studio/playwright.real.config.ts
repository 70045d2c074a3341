import { existsSync } from 'node:fs';
import { defineConfig } from '@playwright/test';

const kDebian = '/usr/bin/chromium';

/// The pages on the real server, which each test starts for itself: MOS=build/release/apps/mos/mos.
export default defineConfig({
  testDir: 'tests/real',
  workers: 1,
  timeout: 3_600_000,
  expect: { timeout: 60_000 },
  reporter: 'list',
  use: {
    viewport: { width: 1440, height: 900 },
    launchOptions: {
      args: ['--no-sandbox', '--disable-gpu'],
      ...(existsSync(kDebian) ? { executablePath: kDebian } : {}),
    },
  },
});
