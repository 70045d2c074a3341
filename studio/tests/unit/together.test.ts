import { describe, expect, it } from 'vitest';

import type { Job, Model } from '../../src/api/types';
import { sampleOf } from '../../src/concepts/samples';
import { rowsInSight } from '../../src/gallery/pages';
import { optionsOfOthers, placeOfLora } from '../../src/together/asked';
import { clashesOf, entriesOf, phraseProblem, renamesFor, titleOf } from '../../src/together/clashes';
import { factsOf, kept, taken, takenBy } from '../../src/together/fit';
import { evaluateRequest, membersOf, sideOf } from '../../src/together/identity';
import { bytes, duration } from '../../src/ui/format';

const file = (name: string, words: string[]) => ({ path: `concept-files/${name}.safetensors`, bytes: 1, words, made_by: null, problem: null });

describe('clashes', () => {
  const chosen = [file('a', ['<hero1>', '<hero2>']), file('b', ['<hero1>', '<hero1b>']), file('c', ['<hero1>'])];

  it('are the words of several', () => {
    expect(clashesOf(chosen)).toEqual([{ word: '<hero1>', files: chosen.map(({ path }) => path) }]);
    expect(clashesOf([chosen[0]!])).toEqual([]);
  });

  it('are solved with words that nobody has', () => {
    expect(renamesFor(chosen, clashesOf(chosen))).toEqual(['2:<hero1>=<hero1c>', '3:<hero1>=<hero1d>']);
  });

  it('leave the words alone that somebody gave', () => {
    expect(entriesOf([file('a', []), file('b', ['x'])], { 'concept-files/a.safetensors': ' sks dog ' })).toEqual([
      'concept-files/a.safetensors=sks dog', 'concept-files/b.safetensors',
    ]);
    expect(titleOf(chosen)).toBe('a, b and c');
    expect(entriesOf([file('b', ['<b1>'])], { 'concept-files/b.safetensors': 'of a file that was here before' })).toEqual(['concept-files/b.safetensors']);
  });

  it('need plain words where a file has none of its own', () => {
    expect(phraseProblem(file('a', []))).toBe('Say how prompts call a.');
    expect(phraseProblem(file('a', []), '  ')).toBe('Say how prompts call a.');
    expect(phraseProblem(file('a', []), 'a <b1> dog')).toMatch(/^a has no word <b1>: plain words call it/);
    expect(phraseProblem(file('a', []), 'sks dog')).toBe('');
    expect(phraseProblem(file('a', ['<a1>']))).toBe('');
  });
});

describe('a fusion', () => {
  const chosen = [file('a', ['<a1>']), file('b', ['<b1>'])];
  const path = (name: string) => `concept-files/${name}.safetensors`;

  it('is not asked for with options that only other methods take', () => {
    const methods = { gradient: ['samples', 'steps'], ties: ['density', 'rank'], dare: ['density', 'seed'] };
    const schema = { properties: { method: { default: 'gradient' } } };
    expect(new Set(optionsOfOthers(methods, 'ties', schema))).toEqual(new Set(['samples', 'steps', 'seed']));
    expect(new Set(optionsOfOthers(methods, undefined, schema))).toEqual(new Set(['density', 'rank', 'seed']));
    expect(optionsOfOthers(undefined, 'ties', schema)).toEqual([]);
  });

  it('writes its LoRA where no file is, and none is promised', () => {
    const fusion = (state: string, lora: string, dry_run = false) => ({ state, dry_run, options: { lora } }) as unknown as Job;
    expect(placeOfLora(chosen, chosen, [])).toBe(path('a-b'));
    expect(placeOfLora(chosen, [...chosen, file('a-b', [])], [])).toBe(path('a-b-2'));
    expect(placeOfLora(chosen, [file('a-b', [])], [fusion('queued', path('a-b-2'))])).toBe(path('a-b-3'));
    expect(placeOfLora(chosen, [], [fusion('failed', path('a-b')), fusion('queued', path('a-b'), true)])).toBe(path('a-b'));
  });
});

describe('the report of a fusion', () => {
  it('is summed by concept and by group of layers', () => {
    const fit = (before: number, after: number, crosstalk: number) => ({ before, after, crosstalk, from: {} });
    const facts = factsOf({
      method: 'gradient', concepts: ['a', 'b'],
      layers: [
        { stage: 'unet', concepts: { a: fit(8, 2, 1), b: fit(4, 4, 2) } },
        { stage: 'unet', concepts: { a: fit(2, 1, 1) } },
        { stage: 'text_encoder', concepts: { a: fit(10, 7, 0) } },
      ],
    });
    expect(facts.total.a).toEqual(fit(20, 10, 2));
    expect(facts.byStage.unet!.a).toEqual(fit(10, 3, 2));
    expect([kept(facts.total.a!), taken(facts.total.a!), kept(facts.total.b!)]).toEqual([0.5, 0.1, 0]);
    expect(factsOf({})).toMatchObject({ concepts: [], stages: [], distilled: {} });
  });

  it('has how near distillation brought each concept', () => {
    const by_concept = { a: { before: 0.1, after: 0.02 } };
    expect(factsOf({ distillation: { objective: 'mean squares', by_concept } }).distilled).toEqual(by_concept);
  });

  it('tells who takes from whom, for all layers and for each group', () => {
    const told = (before: number, b: number, c: number) => ({ a: { before, after: 0, crosstalk: b + c, crosstalk_from: { b, c } } });
    const facts = factsOf({
      method: 'gradient', concepts: ['a', 'b', 'c'],
      layers: [{ stage: 'unet', concepts: told(8, 2, 0) }, { stage: 'text_encoder', concepts: told(2, 1, 1) }],
    });
    expect(takenBy(facts.total.a!, 'b')).toBeCloseTo(0.3);
    expect(takenBy(facts.total.a!, 'c')).toBeCloseTo(0.1);
    expect(takenBy(facts.byStage.unet!.a!, 'b')).toBeCloseTo(0.25);
    expect(takenBy(facts.total.a!, 'a')).toBeUndefined();
  });
});

describe('the identity report', () => {
  const fusion = { results: ['fused/13'], options: { base: 'models/base' } } as unknown as Job;
  const model = (path: string, size: number | null): Model => ({ path, kind: 'base', words: [], size });

  it('measures a concept that was tuned twice against its own pictures', () => {
    const tuning = (id: number, name: string, of: string) => ({ id, kind: 'tune', results: [`concept-files/${name}.safetensors`], options: { data: `concepts/${of}` } }) as unknown as Job;
    const all = new Map([tuning(1, 'racer', 'racer'), tuning(2, 'racer-2', 'racer')].map((job) => [job.id, job]));
    const of = { ...fusion, id: 3, options: { base: 'models/base', concepts: ['racer', 'racer-2', 'from-afar'].map((name) => `concept-files/${name}.safetensors`) } };
    const members = membersOf(of, () => ['<x>'], all);
    expect(members.map(({ name, concept }) => [name, concept])).toEqual([['racer', 'racer'], ['racer-2', 'racer'], ['from-afar', 'from-afar']]);
    const request = evaluateRequest(of, members[1]!, 'alone', { ...of, results: ['gallery/4.png'] }, { index: 1, count: 3 });
    expect(request).toMatchObject({ title: 'identity of fusion 3: racer-2, figures alone', options: { references: 'concepts/racer' } });
  });

  it('paints at the side of the model, also while the list does not have it yet', () => {
    expect(sideOf(fusion, [model('models/base', 128), model('fused/13', 256)])).toBe(256);
    expect(sideOf(fusion, [model('models/base', 128)])).toBe(128);
    expect(sideOf(fusion, [model('models/base', null)])).toBe(512);
  });
});

describe('lists', () => {
  it('draw only what is in sight', () => {
    expect(rowsInSight({ top: 0, height: 800 }, 200, 5000)).toEqual({ first: 0, last: 7 });
    expect(rowsInSight({ top: 400_000, height: 800 }, 200, 5000)).toEqual({ first: 1997, last: 2007 });
    expect(rowsInSight({ top: 0, height: 800 }, 200, 2)).toEqual({ first: 0, last: 1 });
  });

  it('know sample pictures by their names', () => {
    expect(sampleOf('jobs/1/previews/step-000300-2.png')).toMatchObject({ step: 300, prompt: 2 });
    expect(sampleOf('gallery/12.png')).toBeUndefined();
  });
});

describe('numbers', () => {
  it('are as people say them', () => {
    expect([0.2, 59, 125, 3600, 5400].map(duration)).toEqual(['< 1 s', '59 s', '2 min', '1 h', '1 h 30 min']);
    expect([12, 2_400_000, 46_000_000, 1.9e9].map(bytes)).toEqual(['0 kB', '2.4 MB', '46 MB', '1.9 GB']);
  });
});
