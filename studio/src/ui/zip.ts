import { crc32 } from '../scene/png';

/// ZIP archives, for a scene file with the pictures that it names. Written without compression, since
/// pictures have their own.

export interface Entry {
  name: string;
  bytes: Uint8Array<ArrayBuffer>;
}

class ArchiveError extends Error {}

const kLocal = 0x04034b50;
const kCentral = 0x02014b50;
const kEnd = 0x06054b50;
const kEndBytes = 22;
const kUtf8 = 0x800;
const kFirstDay = 0x21; // 1980-01-01: equal entries make equal archives
const kMostBytes = 256e6; ///< Of all that is in an archive.

export function zipOf(entries: Entry[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const list: Uint8Array[] = [];
  let at = 0;
  for (const { name, bytes } of entries) {
    const text = new TextEncoder().encode(name);
    const facts: (number | [number])[] = [20, kUtf8, 0, 0, kFirstDay, [crc32(bytes)], [bytes.length], [bytes.length], text.length, 0];
    list.push(fields([kCentral], 20, ...facts, 0, 0, 0, [0], [at]), text);
    const head = fields([kLocal], ...facts);
    parts.push(head, text, bytes);
    at += head.length + text.length + bytes.length;
  }
  const size = list.reduce((sum, part) => sum + part.length, 0);
  return joined([...parts, ...list, fields([kEnd], 0, 0, entries.length, entries.length, [size], [at], 0)]);
}

/// Two bytes for a number, four for one in brackets.
function fields(...values: (number | [number])[]): Uint8Array {
  const bytes = new Uint8Array(values.reduce<number>((sum, value) => sum + (Array.isArray(value) ? 4 : 2), 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const value of values) {
    if (Array.isArray(value)) view.setUint32(at, value[0], true);
    else view.setUint16(at, value, true);
    at += Array.isArray(value) ? 4 : 2;
  }
  return bytes;
}

function joined(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/// The files of an archive, stored or deflated. Throws an Error that says what is wrong.
export async function unzipped(bytes: Uint8Array<ArrayBuffer>): Promise<Entry[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  try {
    return await entriesOf(bytes, view);
  } catch (error) {
    throw error instanceof ArchiveError ? error : new ArchiveError('This archive is damaged.');
  }
}

async function entriesOf(bytes: Uint8Array<ArrayBuffer>, view: DataView): Promise<Entry[]> {
  let end = bytes.length - kEndBytes;
  while (end >= 0 && view.getUint32(end, true) !== kEnd) --end;
  if (end < 0) throw new ArchiveError('This is not a ZIP archive.');
  const entries: Entry[] = [];
  let total = 0;
  for (let at = view.getUint32(end + 16, true), left = view.getUint16(end + 10, true); left > 0; --left) {
    if (view.getUint32(at, true) !== kCentral) throw new ArchiveError('This archive is damaged.');
    const method = view.getUint16(at + 10, true);
    const [crc, size, length] = [16, 20, 24].map((place) => view.getUint32(at + place, true)) as [number, number, number];
    const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true)) as [number, number, number];
    const title = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name));
    total += length;
    if (total > kMostBytes) throw new ArchiveError('This archive holds more than 256 MB.');
    const local = view.getUint32(at + 42, true);
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const content = await contentOf(bytes.slice(begin, begin + size), method, length);
    if (crc32(content) !== crc) throw new ArchiveError('This archive is damaged.');
    if (!title.endsWith('/')) entries.push({ name: title, bytes: content });
    at += 46 + name + extra + comment;
  }
  return entries;
}

async function contentOf(packed: Uint8Array<ArrayBuffer>, method: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  if (method !== 0 && method !== 8) throw new ArchiveError('This archive is packed in a way that is not read here.');
  const reader = new Blob([packed]).stream().pipeThrough(method === 8 ? new DecompressionStream('deflate-raw') : new TransformStream<Uint8Array, Uint8Array>()).getReader();
  const parts: Uint8Array[] = [];
  for (let got = 0; ;) {
    const { done, value } = await reader.read();
    if (done) break;
    got += value.length;
    if (got > length) throw new ArchiveError('This archive is damaged.'); // or made to fill the memory
    parts.push(value);
  }
  const content = joined(parts);
  if (content.length !== length) throw new ArchiveError('This archive is damaged.');
  return content;
}
