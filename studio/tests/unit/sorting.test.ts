import { describe, expect, it } from 'vitest';

import { captionFor, freeName } from '../../src/concepts/adding';
import { sorted } from '../../src/concepts/sorting';

const fileAt = (path: string, text = '') => ({ path, file: new File([text], path.split('/').pop()!) });
const sort = (...files: (string | [string, string])[]) =>
  sorted({ found: files.map((entry) => (typeof entry === 'string' ? fileAt(entry) : fileAt(...entry))), beyond: [] });

/// Pictures with what belongs to them: "00.png+mask+caption".
const brief = (dropped: Awaited<ReturnType<typeof sort>>) =>
  dropped.pictures.map(({ path, mask, caption }) => [path, mask?.path, caption?.path].filter(Boolean).join(' + '));

describe('dropped files', () => {
  it('of a folder of ours bring masks, captions and concept.json along', async () => {
    const dropped = await sort(
      'hina/images/00.png', 'hina/images/01.jpg', 'hina/masks/00.png', 'hina/captions/01.txt',
      ['hina/concept.json', '{"words": "<hina1> <hina2>", "class_word": "girl", "style": "noto", "colour": 1}'],
    );
    expect(dropped.name).toBe('hina');
    expect(brief(dropped)).toEqual(['hina/images/00.png + hina/masks/00.png', 'hina/images/01.jpg + hina/captions/01.txt']);
    expect(dropped.settings).toEqual({ words: ['<hina1>', '<hina2>'], class_word: 'girl' });
    expect(dropped.leftOut).toEqual([{ name: 'hina/concept.json', text: 'has keys that mean nothing: colour' }]);
  });

  it('of kohya have their captions beside them, and one name for the concept', async () => {
    const dropped = await sort('dog/10_sks dog/00.png', 'dog/10_sks dog/00.caption', 'dog/10_sks dog/00.txt', 'dog/5_sks dog/00.png', 'dog/0_old/07.png', 'dog/reg/1_dog/00.png');
    expect(brief(dropped)).toEqual(['dog/10_sks dog/00.png + dog/10_sks dog/00.txt', 'dog/5_sks dog/00.png']);
    expect(dropped.leftOut.map(({ name }) => name)).toEqual(['dog/0_old/07.png', 'dog/reg/1_dog/00.png', '10_…, 5_…', 'dog/10_sks dog/00.caption']);
    expect(captionFor('sks dog in the snow', 'sks dog', ['<d1>'])).toBe('<TOK> in the snow');
    expect(captionFor('a <d1> like an sks dog', 'sks dog', ['<d1>'])).toBe('a <d1> like an sks dog');
  });

  it('that are no part of a concept are named, but for what systems leave behind', async () => {
    const dropped = await sort('a/images/00.png', 'a/images/.DS_Store', 'a/__MACOSX/00.png', 'a/images/01.bmp', 'a/notes.pdf', 'a/old/02.png', 'a/masks/00.txt', 'a/masks/09.png');
    expect(brief(dropped)).toEqual(['a/images/00.png']);
    expect(dropped.leftOut.map(({ name }) => name)).toEqual(['a/images/01.bmp', 'a/notes.pdf', 'a/old/02.png', 'a/masks/00.txt']);
    expect(dropped.loose.map(({ stem, kind }) => [stem, kind])).toEqual([['09', 'mask']]);
  });

  it('of OneTrainer have a mask beside each picture', async () => {
    const dropped = await sort('00.png', '00-masklabel.png', '00.txt', '00-masklabel1.png');
    expect(dropped.name).toBe('');
    expect(brief(dropped)).toEqual(['00.png + 00-masklabel.png + 00.txt']);
    expect(dropped.leftOut.map(({ name }) => name)).toEqual(['00-masklabel1.png']);
  });

  it('get names that no other picture has', () => {
    const taken = new Set(['00']);
    expect([freeName('00.png', taken), freeName('00.jpg', taken), freeName('a.b.png', taken)]).toEqual(['00-2.png', '00-3.jpg', 'a.b.png']);
  });
});
