/// A document with what can be undone and redone. Values are never changed in place.
export interface History<T> {
  past: T[];
  present: T;
  future: T[];
  /// What the last change was; the same one again, as when a word is typed, is one step.
  step: string;
}

const kMostSteps = 200;

export function newHistory<T>(present: T): History<T> {
  return { past: [], present, future: [], step: '' };
}

/// `step` names a change that goes on, "prompt of abc"; empty: a step of its own.
export function changed<T>(history: History<T>, present: T, step = ''): History<T> {
  if (present === history.present) return history;
  if (step && step === history.step) return { ...history, present, future: [] };
  const past = [...history.past, history.present].slice(-kMostSteps);
  return { past, present, future: [], step };
}

/// The next change is a step of its own, whatever its name.
export function settled<T>(history: History<T>): History<T> {
  return history.step ? { ...history, step: '' } : history;
}

export function undone<T>(history: History<T>): History<T> {
  const { past, present, future } = history;
  if (past.length === 0) return history;
  const before = past[past.length - 1] as T;
  return { past: past.slice(0, -1), present: before, future: [present, ...future], step: '' };
}

export function redone<T>(history: History<T>): History<T> {
  const { past, present, future } = history;
  if (future.length === 0) return history;
  return { past: [...past, present], present: future[0] as T, future: future.slice(1), step: '' };
}
