import { describe, expect, it } from 'vitest';

import { changed, newHistory, redone, settled, undone } from '../../src/scene/history';

describe('history', () => {
  it('undoes and redoes in sequence', () => {
    let history = newHistory(1);
    history = changed(history, 2);
    history = changed(history, 3);
    history = undone(history);
    expect(history.present).toBe(2);
    history = undone(history);
    expect(history.present).toBe(1);
    expect(undone(history)).toBe(history);
    expect(redone(redone(history)).present).toBe(3);
  });

  it('takes a word that is typed as one step', () => {
    let history = newHistory('');
    for (const text of ['a', 'a m', 'a meadow']) history = changed(history, text, 'prompt');
    expect(history.past).toEqual(['']);
    history = undone(history);
    expect(history.present).toBe('');
    expect(redone(history).present).toBe('a meadow');
  });

  it('begins a new step after a pause', () => {
    let history = changed(newHistory(''), 'a', 'prompt');
    history = changed(settled(history), 'a b', 'prompt');
    expect(history.past).toEqual(['', 'a']);
  });

  it('forgets what was undone once something else is done', () => {
    const history = changed(undone(changed(newHistory(1), 2)), 3);
    expect(history.future).toEqual([]);
    expect(redone(history).present).toBe(3);
  });

  it('is no change where the value is the same', () => {
    const history = newHistory({ a: 1 });
    expect(changed(history, history.present)).toBe(history);
  });

  it('keeps a bounded number of steps', () => {
    let history = newHistory(0);
    for (let value = 1; value <= 500; ++value) history = changed(history, value);
    expect(history.past.length).toBe(200);
    expect(history.past[0]).toBe(300);
  });
});
