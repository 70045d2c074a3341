import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

import { learnNames, nameOf, plain, plainly } from '../../src/api/plain';

const kProject = fileURLToPath(new URL('../../../', import.meta.url));
const schemaOf = (kind: string) => JSON.parse(readFileSync(new URL(`../mock/schemas/${kind}.json`, import.meta.url), 'utf8'));
learnNames({ jobs: Object.fromEntries(['sample', 'tune', 'fuse', 'condition', 'convert', 'evaluate'].map((kind) => [kind, schemaOf(kind)])) });

/// Programs of their own, and what the server prints for who starts it.
const kElsewhere = /^(study|demo|pretrain|world|studio)\//;

/// Every text of the program's sources that names an option or a command, {} where a value stands.
function textsOfProgram(): string[] {
  const folder = join(kProject, 'mos');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(cpp|h)$/.test(name) && !kElsewhere.test(name));
  return files.flatMap((name) => {
    const source = readFileSync(join(folder, name), 'utf8').replace(/^\s*(\/\/|#).*$/gm, '');
    const literals = source.match(/(?:"(?:[^"\\\n]|\\.)*"\s*)+/g) ?? [];
    const joined = literals.map((literal) => [...literal.matchAll(/"((?:[^"\\\n]|\\.)*)"/g)].map(([, text]) => text).join(''));
    return joined.map((text) => text.replaceAll('\\"', '"')).filter((text) => /--[a-z]|\bmos [a-z]+\b|\.safetensors=[a-z]/.test(text));
  });
}

describe('sentences of the program', () => {
  it('speak of fields, never of options or commands', () => {
    const texts = textsOfProgram();
    expect(texts.length).toBeGreaterThan(100);
    for (const text of texts) expect(plain(text)).not.toMatch(/--[a-z]|\bmos (tune|fuse|sample|evaluate|condition|convert|inspect|init-random)\b|FILE\b.*\.png|\.safetensors=[a-z]/);
  });

  it.each([
    ['mos sample needs --prompt or --scene; see mos sample --help', 'painting needs “Prompt” or the scene'],
    ['--hires 2 of 128 x 128 pixels (width x height) is that size again: take a larger one', '“Hires” 2 of 128 x 128 pixels (width x height) is that size again: take a larger one'],
    ['--mask-feather softens the edge of a mask, and there is none', '“Mask feather” softens the edge of a mask, and there is none'],
    ['--guess-mode is of a ControlNet: give one with --adapter and --condition', '“Guess mode” is of a ControlNet: give one with a condition and a condition picture'],
    ['paint with --width 768 --height 512', 'paint with “Canvas width” 768 and “Height” 512'],
    ['what it begins with (a.png); begin with a picture by --init FILE --strength 0.5', 'what it begins with (a.png); begin with a picture by “Init” and “Strength” 0.5'],
    ['captions are shuffled; choose another, or --shuffle false', 'captions are shuffled; choose another, or “Shuffle” off'],
    ['a.st and b.st both use the words <x> and <y>; give the latter other ones with --rename "2:<x>=<new1>,2:<y>=<new2>"', 'a.st and b.st both use the words <x> and <y>; give the latter other ones'],
    ['a has no words of its own; say how it stands in a prompt, as in "a.safetensors=trigger words"; it was trained on "dog"', 'a has no words of its own; say how prompts call it; it was trained on "dog"'],
    ['the concept word "a b" cannot stand in a prompt: it has blanks; name it anew with mos convert FILE --word "OLD=NEW"', 'the concept word "a b" cannot stand in a prompt: it has blanks; give it another one'],
    ['x.png does not say how it was made; expected a PNG of mos sample, A1111 or ComfyUI', 'x.png does not say how it was made; expected a PNG of this program, A1111 or ComfyUI'],
    ['"mask_feather" is -1, expected 0 or more', '“Mask feather” is -1, expected 0 or more'],
    ['the options: "framing" is "wide", expected one of center, fit', '“Framing” is "wide", expected one of center, fit'],
    ['out.safetensors exists; choose another --out or add --overwrite', 'out.safetensors exists; choose another place'],
    ['"widht" is unknown; did you mean \'width\'?', '"widht" is unknown; did you mean “Canvas width”?'],
    ['"regions.mask" is uploads/a.png, which is not there', 'the mask of a region is uploads/a.png, which is not there'],
    ['the checkpoint a.checkpoint is of a run with "steps" 40 instead of 24; go on with it as it was, or start anew with "fresh", which gives it up', 'the checkpoint a.checkpoint is of a run with “Steps” 40 instead of 24; go on with it as it was, or start anew, which gives it up'],
  ])('%s', (said, shown) => expect(plain(said)).toBe(shown));

  it('have names that the pages show', () => {
    const folder = fileURLToPath(new URL('../../src', import.meta.url));
    const pages = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.tsx'));
    const shown = pages.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');
    for (const option of ['adapter_weight', 'base', 'class_word', 'concept', 'height', 'negative_prompt', 'prompt', 'width', 'words']) {
      expect(shown).toMatch(new RegExp(`label="${nameOf(option).slice(1, -1)}"`));
    }
  });

  it('name the model as the page of the job does', () => {
    expect(plain('name one with --base', 'sample')).toBe('name one with “Model”');
    expect(plain('name one with --base', 'tune')).toBe('name one with “Base model”');
  });

  it('keep what people wrote', () => {
    for (const text of ['--word is "--mine", expected WORD', '"form" is "mask", expected one of lora', 'the concept word "page" cannot stand in a prompt', '"scenery" calls no concept', 'there is no concept scene', 'a re--run of the well-known']) {
      expect(plain(text).replace('“Word”', '--word').replace('“Form”', '"form"')).toBe(text);
    }
  });
});

describe('answers', () => {
  it('have their sentences changed and nothing else', () => {
    const job = {
      kind: 'sample', state: 'failed', title: '--base', note: null, command: 'mos sample --config jobs/1/job.json',
      options: { prompt: 'give --base', message: '--base' }, scene: { regions: [{ prompt: '--base' }] },
      error: { kind: 'usage', message: 'name one with --base' },
    };
    expect(plainly({ jobs: [job] })).toEqual({ jobs: [{ ...job, error: { kind: 'usage', message: 'name one with “Model”' } }] });
    expect(plainly({ problems: ['--eta is 2'], command: 'mos sample --eta=2' })).toEqual({ problems: ['“Eta” is 2'], command: 'mos sample --eta=2' });
    expect(plainly({ lines: [{ level: 'warning', message: 'give --init' }] })).toEqual({ lines: [{ level: 'warning', message: 'give “Init”' }] });
    expect(plainly({ pictures: [{ name: '--a', caption: '--base', problems: ['leave out --ema'] }] })).toEqual({ pictures: [{ name: '--a', caption: '--base', problems: ['leave out “EMA”'] }] });
  });
});
