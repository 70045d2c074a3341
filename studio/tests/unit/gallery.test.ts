import { afterEach, expect, it, vi } from 'vitest';

import { api } from '../../src/api/client';
import type { Picture } from '../../src/api/types';
import { Shelf } from '../../src/gallery/pages';

const kTotal = 2200;
const waiting: (() => void)[] = [];

/// Pictures from the newest on, one answer whenever the test lets it go. Test files share modules,
/// so what is put in an object's place is put back.
function answerByHand() {
  vi.spyOn(api, 'gallery').mockImplementation(({ limit = kTotal, before = kTotal + 1 }) => {
    const count = Math.min(limit, before - 1);
    const pictures = Array.from({ length: count }, (_, at) => ({ id: before - 1 - at }) as Picture);
    return new Promise((resolve) => waiting.push(() => resolve({ pictures, total: kTotal })));
  });
}

afterEach(() => vi.restoreAllMocks());

async function answerAll() {
  for (let idle = 0; idle < 5; ++idle) {
    while (waiting.length > 0) {
      idle = 0;
      waiting.shift()!();
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
}

it('a shelf that is refreshed while somebody waits for its end gets there all the same', async () => {
  answerByHand();
  const shelf = new Shelf({ search: '', starred: false }, () => undefined);
  void shelf.refresh();
  await answerAll();
  expect(shelf.pictures).toHaveLength(500);
  void shelf.reach(kTotal - 1);
  void shelf.refresh(); // a picture came
  await answerAll();
  expect(shelf.pictures.map(({ id }) => id)).toEqual(Array.from({ length: kTotal }, (_, at) => kTotal - at));
});
