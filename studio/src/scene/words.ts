import type { ConceptFile, Model } from '../api/types';
import type { Scene } from './model';

/// Concepts by the words that call them in prompts. A region's concept is the one whose words stand
/// in its prompt: there is no second place that could say otherwise.

export interface KnownConcept {
  name: string;
  words: string[];
  path: string; ///< Its file; empty: the base model brings it.
}

/// What can be called on `base`: what it brings itself, and the files.
export function knownConcepts(files: ConceptFile[], base: Model | undefined): KnownConcept[] {
  const own = conceptsOfWords(base?.words ?? []);
  const brought = new Set(own.flatMap((concept) => concept.words));
  const others = files
    .filter((file) => !file.problem && !file.words.some((word) => brought.has(word)))
    .map((file) => ({ name: nameOf(file.path), words: file.words, path: file.path }));
  return [...own, ...others];
}

/// "<racer1>", "<racer2>", "<teddy1>" → racer, teddy.
function conceptsOfWords(words: string[]): KnownConcept[] {
  const byName = new Map<string, string[]>();
  for (const word of words.flatMap((entry) => entry.split(/\s+/))) {
    const name = word.replace(/[<>]/g, '').replace(/\d+$/, '') || word;
    byName.set(name, [...(byName.get(name) ?? []), word]);
  }
  return [...byName].map(([name, own]) => ({ name, words: own, path: '' }));
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

/// The files that some prompt calls, which the base model does not bring.
export function calledFiles(scene: Scene, known: KnownConcept[]): KnownConcept[] {
  const prompts = promptsOf(scene);
  return known.filter(
    (concept) => concept.path && prompts.some((prompt) => isCalled(prompt, concept)),
  );
}

/// Words in angle brackets, but for <lora:…> and its like.
export function angleWords(prompt: string): string[] {
  return [...prompt.matchAll(/<[^<>:\s]+>/g)].map((match) => match[0]);
}
