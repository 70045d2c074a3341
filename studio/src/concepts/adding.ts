import { api, Failure } from '../api/client';
import type { Concept } from '../api/types';
import { attempt, say, tell, type Line } from '../state';
import type { Found } from './dropped';
import { stemOf, type Dropped } from './sorting';

/// Brings pictures with their masks and captions into a concept. What is refused is named with the
/// reason, and the others are there.

/// A name whose stem no picture has yet: masks and captions go by stems.
export function freeName(wanted: string, taken: Set<string>): string {
  const dot = wanted.lastIndexOf('.');
  const [stem, ending] = dot > 0 ? [wanted.slice(0, dot), wanted.slice(dot)] : [wanted, ''];
  let name = stem;
  for (let count = 2; taken.has(name); ++count) name = `${stem}-${count}`;
  taken.add(name);
  return name + ending;
}

/// A caption as it is to be: kohya's name of the concept becomes `<TOK>` where nothing else calls it.
export function captionFor(text: string, phrase: string, words: string[]): string {
  const calls = text.includes('<TOK>') || (words.length > 0 && words.every((word) => text.includes(word)));
  if (calls || !phrase) return text;
  const literal = phrase.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return text.replace(new RegExp(`(?<![\\w<])${literal}(?![\\w>])`, 'g'), '<TOK>');
}

class Adding {
  readonly refused: Line[] = [];
  readonly count = { picture: 0, mask: 0, caption: 0 };
  private readonly captions: Record<string, string> = {};

  constructor(
    private readonly concept: Concept,
    private readonly phrase: string,
  ) {}

  /// Whether it was taken.
  async one(found: Found, work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (error instanceof Failure && error.kind === 'offline') throw error;
      this.refused.push({ name: found.path, text: error instanceof Error ? error.message : String(error) });
      return false;
    }
  }

  async mask(found: Found, picture: string) {
    if (await this.one(found, () => api.putMask(this.concept.name, picture, found.file))) ++this.count.mask;
  }

  async caption(found: Found, picture: string) {
    await this.one(found, async () => {
      const text = textOf(await found.file.arrayBuffer());
      this.captions[picture] = captionFor(text, this.phrase, this.concept.words);
    });
  }

  async saveCaptions() {
    const names = Object.keys(this.captions);
    if (names.length === 0) return;
    await api.setCaptions(this.concept.name, this.captions);
    this.count.caption = names.length;
  }
}

function textOf(bytes: ArrayBuffer): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r\n?/g, '\n').trim();
  } catch {
    throw new Error('is no UTF-8 text; save it as UTF-8');
  }
  if (!text) throw new Error('is empty');
  return text;
}

export async function addDropped(name: string, dropped: Dropped) {
  await attempt(async () => {
    const concept = await api.concept(name);
    const taken = new Set(concept.pictures.map((picture) => picture.name));
    const known = new Set(taken);
    const adding = new Adding(concept, dropped.phrase);
    for (const picture of dropped.pictures) {
      const file = freeName(picture.path.split('/').pop()!, taken);
      if (!(await adding.one(picture, () => api.putPicture(name, file, picture.file)))) continue;
      ++adding.count.picture;
      if (picture.mask) await adding.mask(picture.mask, stemOf(file));
      if (picture.caption) await adding.caption(picture.caption, stemOf(file));
    }
    for (const { stem, kind, found } of dropped.loose) {
      if (known.has(stem)) await adding[kind](found, stem);
      else adding.refused.push({ name: found.path, text: 'belongs to no picture' });
    }
    await adding.saveCaptions();
    const summary = summaryOf(name, adding.count);
    const lines = [...adding.refused, ...dropped.leftOut];
    if (lines.length > 0) tell({ title: `${summary} Left out:`, lines });
    else say(summary);
  });
}

function summaryOf(name: string, count: Adding['count']): string {
  const parts = (['picture', 'mask', 'caption'] as const)
    .filter((what) => count[what] > 0)
    .map((what) => `${count[what]} ${what}${count[what] === 1 ? '' : 's'}`);
  if (parts.length === 0) return `No picture, mask or caption came into ${name}.`;
  const list = parts.length > 1 ? `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}` : parts[0]!;
  return `${list} ${list.startsWith('1 ') && parts.length === 1 ? 'is' : 'are'} in ${name}.`;
}
