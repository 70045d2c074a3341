import { useState } from 'preact/hooks';

/// State that a reload of the page leaves as it is; each tab of the browser has its own. `name` says
/// whose it is, and another name has another value.
export function useKept<T>(name: string, initial: T): [T, (next: T | ((old: T) => T)) => void] {
  const [held, setHeld] = useState<{ name: string; value: T }>(() => ({ name, value: recalled(name, initial) }));
  const valueIn = (of: typeof held) => (of.name === name ? of.value : recalled(name, initial));
  const value = valueIn(held);
  const set = (next: T | ((old: T) => T)) =>
    setHeld((old) => {
      const replaced = typeof next === 'function' ? (next as (old: T) => T)(valueIn(old)) : next;
      keep(name, replaced);
      return { name, value: replaced };
    });
  return [value, set];
}

/// What was kept under this name was of something that is not there any more.
export function forget(name: string) {
  try {
    sessionStorage.removeItem(keyOf(name));
  } catch {
    // Forbidden: nothing was kept.
  }
}

const keyOf = (name: string) => `mos-kept ${name}`;

function recalled<T>(name: string, initial: T): T {
  try {
    const text = sessionStorage.getItem(keyOf(name));
    return text === null ? initial : (JSON.parse(text) as T);
  } catch {
    return initial;
  }
}

function keep(name: string, value: unknown) {
  try {
    sessionStorage.setItem(keyOf(name), JSON.stringify(value));
  } catch {
    // Full or forbidden: it is as it was before pages remembered anything.
  }
}
