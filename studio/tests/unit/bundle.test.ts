import { describe, expect, it } from 'vitest';

import { picturesIn, withPictures } from '../../src/compose/bundle';
import { unzipped, zipOf } from '../../src/ui/zip';

const bytesOf = (text: string) => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/// By another program, deflated, with a folder.
const kTheirs = Uint8Array.from(atob('UEsDBBQAAAAIADtPe10AAAAAAgAAAAAAAAAHAAAAZm9sZGVyLwMAUEsDBBQAAAAIADtPe12Ue7JLGQAAAJoAAAARAAAAZm9sZGVyL3NjZW5lLmpzb26rViooys8tKFGyUlBKVMjIzMlRGBSUUi0AUEsBAhQDFAAAAAgAO097XQAAAAACAAAAAAAAAAcAAAAAAAAAAAAQAP1BAAAAAGZvbGRlci9QSwECFAMUAAAACAA7T3tdlHuySxkAAACaAAAAEQAAAAAAAAAAAAAAgAEnAAAAZm9sZGVyL3NjZW5lLmpzb25QSwUGAAAAAAIAAgB0AAAAbwAAAAAA'), (c) => c.charCodeAt(0));

describe('archives', () => {
  const entries = [{ name: 'scene.json', bytes: bytesOf('{}') }, { name: 'mäsk-ü.png', bytes: bytesOf('x'.repeat(1000)) }, { name: 'empty', bytes: bytesOf('') }];

  it('come back as they were', async () => {
    expect(await unzipped(zipOf(entries))).toEqual(entries);
    expect(await unzipped(zipOf([]))).toEqual([]);
  });

  it('of other programs are read', async () => {
    const [entry, ...rest] = await unzipped(kTheirs);
    expect(entry!.name).toBe('folder/scene.json');
    expect(JSON.parse(textOf(entry!.bytes)).prompt).toMatch(/^(a hill ){20}$/);
    expect(rest).toEqual([]);
  });

  it('that are none, or broken, are refused in a sentence', async () => {
    await expect(unzipped(bytesOf('no archive'))).rejects.toThrow('This is not a ZIP archive.');
    for (let at = 0; at < kTheirs.length; ++at) {
      const broken = kTheirs.slice();
      broken[at] = broken[at]! ^ 0xff;
      await unzipped(broken).catch((error: Error) => expect(error.message, String(at)).toMatch(/^This (is not a ZIP archive|archive .*)\.$/));
    }
    for (let length = 0; length < kTheirs.length; ++length) await expect(unzipped(kTheirs.slice(0, length))).rejects.toThrow(/^This /);
  });
});

describe('the pictures of a scene', () => {
  const scene = {
    prompt: 'a', mask: 'of nothing', regions: [{ mask: 'uploads/a.png', name: 'x' }, { box: [0, 0, 1, 1] }, { mask: '' }, null],
    conditions: [{ picture: 'uploads/a.png', adapter: 'models/keypose' }, { picture: 'gallery/b.png' }],
  };

  it('are those of regions and conditions, each once', () => {
    expect(picturesIn(scene)).toEqual(['uploads/a.png', 'gallery/b.png']);
    for (const none of [null, 3, 'a', [], { regions: 3 }, { regions: { mask: 'a' } }]) expect(picturesIn(none)).toEqual([]);
  });

  it('can be others, and nothing else changes', () => {
    const changed = withPictures(scene, (path) => path.toUpperCase());
    expect(changed).toEqual({
      ...scene, regions: [{ mask: 'UPLOADS/A.PNG', name: 'x' }, ...scene.regions.slice(1)],
      conditions: [{ picture: 'UPLOADS/A.PNG', adapter: 'models/keypose' }, { picture: 'GALLERY/B.PNG' }],
    });
    expect(scene.regions[0]).toEqual({ mask: 'uploads/a.png', name: 'x' });
  });
});
