import { describe, expect, it } from 'vitest';

import { refusalOf } from '../../src/ui/format';
import { taken } from '../../src/ui/typed';

describe('a number that is typed', () => {
  it('is taken, or it is said why not and what is there then', () => {
    const limits = { least: 0, most: 10 };
    expect(taken(7.5, 3, limits)).toEqual({ value: 7.5, reason: '' });
    expect(taken(NaN, 3, limits)).toEqual({ value: 3, reason: 'this is not a number' });
    expect(taken(-1, 3, limits)).toEqual({ value: 0, reason: 'at least 0' });
    expect(taken(11, 3, limits)).toEqual({ value: 10, reason: 'at most 10' });
    expect(taken(7.5, 3, { ...limits, isWhole: true })).toEqual({ value: 3, reason: 'whole numbers only' });
  });

  it('is refused with what it was, why, and what is there now', () => {
    expect(refusalOf('-5', 'At least 1.', '50')).toBe('“-5” was not taken: at least 1. It is 50 now.');
    expect(refusalOf('', 'This is not a number.', '')).toBe('An empty field was not taken: this is not a number. It is empty now.');
    expect(refusalOf(undefined, 'this is not a number', '3')).toBe('What was typed was not taken: this is not a number. It is 3 now.');
  });
});
