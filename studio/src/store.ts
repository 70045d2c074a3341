import { useEffect, useReducer } from 'preact/hooks';

/// A value that pages watch. Values are replaced, never changed in place.
export interface Store<T> {
  get(): T;
  set(value: T | ((old: T) => T)): void;
  watch(listener: () => void): () => void;
}

export function newStore<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      const replaced = typeof next === 'function' ? (next as (old: T) => T)(value) : next;
      if (replaced === value) return;
      value = replaced;
      for (const listener of [...listeners]) listener();
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/// The value of `store`, or what `pick` takes of it; the component is drawn again when that changes.
export function useStore<T, P = T>(store: Store<T>, pick?: (value: T) => P): P {
  const take = pick ?? ((value: T) => value as unknown as P);
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const value = take(store.get());
  useEffect(() => {
    let last = take(store.get());
    if (last !== value) redraw(undefined);
    return store.watch(() => {
      const next = take(store.get());
      if (next === last) return;
      last = next;
      redraw(undefined);
    });
  }, [store]);
  return value;
}
