// Says how large the page is on the wire, and fails above the limit.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const kMostBytes = 300_000;
const page = new URL('../dist/index.html', import.meta.url);
const bytes = gzipSync(readFileSync(page), { level: 9 }).length;
console.log(`dist/index.html: ${(bytes / 1000).toFixed(1)} kB gzipped of ${kMostBytes / 1000} kB`);
if (bytes > kMostBytes) process.exit(1);
