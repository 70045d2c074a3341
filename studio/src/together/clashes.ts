import type { ConceptFile } from '../api/types';
import { stem } from '../ui/format';

/// Words of chosen concepts that would mean two things, seen before anything runs.

export interface Clash {
  word: string;
  files: string[]; ///< Paths, in the order chosen; all but the first need another word.
}

export function clashesOf(chosen: ConceptFile[]): Clash[] {
  const users = new Map<string, string[]>();
  for (const file of chosen) {
    for (const word of new Set(file.words)) users.set(word, [...(users.get(word) ?? []), file.path]);
  }
  return [...users].filter(([, files]) => files.length > 1).map(([word, files]) => ({ word, files }));
}

/// New words for all but the first user of each: entries of `rename`, "2:<hero1>=<hero1b>".
export function renamesFor(chosen: ConceptFile[], clashes: Clash[]): string[] {
  const taken = new Set(chosen.flatMap((file) => file.words));
  return clashes.flatMap(({ word, files }) =>
    files.slice(1).map((path) => {
      const next = freeWord(word, taken);
      taken.add(next);
      return `${chosen.findIndex((file) => file.path === path) + 1}:${word}=${next}`;
    }),
  );
}

function freeWord(word: string, taken: Set<string>): string {
  const [, open = '', core = word, close = ''] = /^(<?)(.*?)(>?)$/.exec(word) ?? [];
  for (const letter of 'bcdefghijklmnopqrstuvwxyz') {
    const next = `${open}${core}${letter}${close}`;
    if (!taken.has(next)) return next;
  }
  return `${open}${core}-other${close}`;
}

/// What `concepts` of a fusion is given: PATH, or PATH=WORDS for one that has no words of its own.
export function entriesOf(chosen: ConceptFile[], phrases: Record<string, string>): string[] {
  return chosen.map(({ path, words }) => (words.length === 0 && phrases[path]?.trim() ? `${path}=${phrases[path]!.trim()}` : path));
}

/// What is wrong with how prompts are to call a concept; '' for nothing. One without words of its own is
/// called by plain words.
export function phraseProblem({ path, words }: ConceptFile, phrase = ''): string {
  if (words.length > 0) return '';
  if (!phrase.trim()) return `Say how prompts call ${stem(path)}.`;
  const unknown = phrase.split(/\s+/).find((word) => word.startsWith('<'));
  return unknown ? `${stem(path)} has no word ${unknown}: plain words call it, as those that it was trained with.` : '';
}

export function titleOf(chosen: ConceptFile[]): string {
  const names = chosen.map((file) => stem(file.path));
  return names.length < 3 ? names.join(' and ') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
