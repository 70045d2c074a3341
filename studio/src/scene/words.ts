import type { ConceptFile, Model } from '../api/types';
import type { Scene } from './model';

/// Concepts by the words that call them in prompts. A region's concept is the one whose words stand
/// in its prompt: there is no second place that could say otherwise.

export interface KnownConcept {
  name: string;
  words: string[];
  path: string; ///< Its file; empty: the base model brings it.
  others: string[]; ///< Files that have some of its words too and are not used beside this one.
}

/// What can be called on `base`: what it brings itself, and the files. Of files that share a word one
/// alone can be used: one of `preferred`, else the one with more concepts, since that was fused from
/// the others, else the newest by its name.
export function knownConcepts(files: ConceptFile[], base: Model | undefined, preferred: string[] = []): KnownConcept[] {
  const own = conceptsOfWords(base?.words ?? []).map((concept) => ({ ...concept, path: '', others: [] }));
  const taken = new Set(own.flatMap((concept) => concept.words));
  const rank = ({ path }: ConceptFile) => (preferred.includes(path) ? preferred.indexOf(path) : preferred.length);
  const usable = files
    .filter((file) => !file.problem && !file.words.some((word) => taken.has(word)))
    .map((file) => ({ file, concepts: conceptsOfFile(file) }))
    .sort((a, b) => rank(a.file) - rank(b.file) || b.concepts.length - a.concepts.length || nameOf(b.file.path).localeCompare(nameOf(a.file.path), 'en', { numeric: true }));
  const used = usable.filter(({ file }) => {
    if (file.words.some((word) => taken.has(word))) return false;
    file.words.forEach((word) => taken.add(word));
    return true;
  });
  const found = used.flatMap(({ file, concepts }) => {
    const others = files.filter((other) => other !== file && !other.problem && other.words.some((word) => file.words.includes(word)));
    return concepts.map((concept) => ({ ...concept, path: file.path, others: others.map(({ path }) => path) }));
  });
  const placeOf = ({ path }: KnownConcept) => files.findIndex((file) => file.path === path);
  return [...own, ...found.sort((a, b) => placeOf(a) - placeOf(b))];
}

/// A file of several concepts has words of several names; one of one is called as its file.
function conceptsOfFile(file: ConceptFile): { name: string; words: string[] }[] {
  const concepts = file.words.every((word) => /^<[^<>]+>$/.test(word)) ? conceptsOfWords(file.words) : [];
  return concepts.length > 1 ? concepts : [{ name: nameOf(file.path), words: file.words }];
}

/// "<racer1>", "<racer2>", "<teddy1>" → racer, teddy.
function conceptsOfWords(words: string[]): { name: string; words: string[] }[] {
  const byName = new Map<string, string[]>();
  for (const word of words.flatMap((entry) => entry.split(/\s+/))) {
    const name = word.replace(/[<>]/g, '').replace(/\d+$/, '') || word;
    byName.set(name, [...(byName.get(name) ?? []), word]);
  }
  return [...byName].map(([name, own]) => ({ name, words: own }));
}

function nameOf(path: string): string {
  return (path.split('/').pop() ?? path).replace(/\.[^.]+$/, '');
}

export function phraseOf(concept: KnownConcept): string {
  return concept.words.join(' ');
}

function holds(prompt: string, word: string): boolean {
  if (word.startsWith('<')) return prompt.includes(word);
  return new RegExp(`(^|[^\\w])${escaped(word)}($|[^\\w])`).test(prompt);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

export function isCalled(prompt: string, concept: KnownConcept): boolean {
  return concept.words.length > 0 && concept.words.every((word) => holds(prompt, word));
}

export function conceptIn(prompt: string, known: KnownConcept[]): KnownConcept | undefined {
  return known.find((concept) => isCalled(prompt, concept));
}

/// `prompt` with `concept` in place of the one that it calls; undefined: with none.
export function withConcept(
  prompt: string,
  concept: KnownConcept | undefined,
  known: KnownConcept[],
): string {
  const before = conceptIn(prompt, known);
  const phrase = concept ? phraseOf(concept) : '';
  if (before === concept) return prompt;
  if (before && prompt.includes(phraseOf(before))) {
    return prompt.replace(phraseOf(before), phrase).replace(/ {2,}/g, ' ').trimEnd();
  }
  if (!phrase) return prompt;
  if (prompt.trim() === '') return `a photo of a ${phrase}`;
  return `${prompt.replace(/[\s,]+$/, '')}, ${phrase}`;
}

export function promptsOf(scene: Scene): string[] {
  const regions = scene.regions.filter((region) => region.visible);
  return [
    scene.rootPrompt,
    scene.prompt,
    scene.rootNegative,
    scene.negative,
    ...regions.flatMap((region) => [region.prompt, region.negative]),
  ];
}

export interface CalledFile {
  name: string;
  path: string;
  others: string[]; ///< As of KnownConcept.
}

/// The files that some prompt calls, which the base model does not bring.
export function calledFiles(scene: Scene, known: KnownConcept[]): CalledFile[] {
  const prompts = promptsOf(scene);
  const called = known.filter((concept) => concept.path && prompts.some((prompt) => isCalled(prompt, concept)));
  const byPath = new Map(called.map(({ path, others }) => [path, { name: nameOf(path), path, others }]));
  return [...byPath.values()];
}

/// Words in angle brackets, but for <lora:…> and its like.
export function angleWords(prompt: string): string[] {
  return [...prompt.matchAll(/<[^<>:\s]+>/g)].map((match) => match[0]);
}
