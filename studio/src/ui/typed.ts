import type { TargetedEvent } from 'preact';
import { useState } from 'preact/hooks';

import { say } from '../state';
import { refusalOf } from './format';

/// Numbers as they are typed. What a field cannot hold is never put back or cut without a word.

export interface Limits {
  least?: number;
  most?: number;
  isWhole?: boolean;
}

/// What a field that holds `before` becomes by a number, and why that is not the number itself ('').
export function taken(typed: number, before: number, { least, most, isWhole }: Limits): { value: number; reason: string } {
  if (!Number.isFinite(typed)) return { value: before, reason: 'this is not a number' };
  if (isWhole && !Number.isInteger(typed)) return { value: before, reason: 'whole numbers only' };
  if (least !== undefined && typed < least) return { value: least, reason: `at least ${least}` };
  if (most !== undefined && typed > most) return { value: most, reason: `at most ${most}` };
  return { value: typed, reason: '' };
}

/// The attributes of an `<input type="number">` that holds `value`, and what it did not take the last
/// time (''). `take` says what becomes of what is typed.
export function useTyped(label: string, value: number, take: (typed: number) => ReturnType<typeof taken>, onChange: (value: number) => void) {
  const [draft, setDraft] = useState<string | null>(null); // stays while the page is drawn again
  const [refusal, setRefusal] = useState<{ text: string; now: number } | null>(null);
  const change = ({ currentTarget: field }: TargetedEvent<HTMLInputElement>) => {
    const typed = field.validity.badInput ? undefined : field.value;
    const { value: next, reason } = take(field.valueAsNumber);
    const text = reason && refusalOf(typed, reason, String(next));
    setDraft(null);
    setRefusal(text ? { text, now: next } : null); // a new one each time, so that the field is drawn again
    if (text) say(`${label}: ${text}`, 'error');
    if (next !== value) onChange(next);
  };
  return {
    refusal: refusal?.now === value ? refusal.text : '',
    field: {
      type: 'number' as const, value: draft ?? value, onChange: change,
      onInput: (event: TargetedEvent<HTMLInputElement>) => { setDraft(event.currentTarget.value); setRefusal(null); },
    },
  };
}
