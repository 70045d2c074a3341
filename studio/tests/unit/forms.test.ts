import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { kFirstOptions, kOwnedOptions } from '../../src/compose/request';
import { defaultsFor, methodOf, takenAlong } from '../../src/concepts/method';
import { grouped, kFuseGroups, kSampleGroups, kTuneGroups } from '../../src/forms/groups';
import { fieldsOf, givenOptions, isChanged, isShare, labelOf, textOf, valueOf } from '../../src/forms/schema';

const schemaOf = (kind: string) =>
  JSON.parse(readFileSync(new URL(`../mock/schemas/${kind}.json`, import.meta.url), 'utf8'));
const sample = fieldsOf(schemaOf('sample'));
const tune = fieldsOf(schemaOf('tune'));
const named = (fields: typeof sample, name: string) => fields.find((field) => field.name === name)!;

describe('fields', () => {
  it('are as the program describes its options', () => {
    expect(named(sample, 'steps')).toMatchObject({ kind: 'integer', least: 1, fallback: 50, help: 'denoising steps' });
    expect(named(tune, 'method')).toMatchObject({ kind: 'choice', choices: expect.arrayContaining(['ed_lora', 'lora']) });
    expect(named(tune, 'preview_scales')).toMatchObject({ kind: 'list', itemKind: 'number', least: -10 });
    expect(named(sample, 'zero_snr')).toMatchObject({ kind: 'switch', fallback: false });
    expect(named(sample, 'concept')).toMatchObject({ kind: 'list', itemKind: 'text', isPath: true });
    expect(named(sample, 'prompt')).toMatchObject({ kind: 'text', isOptional: true, fallback: null });
  });

  it('are all of them, whatever their number', () => {
    for (const kind of ['sample', 'tune', 'fuse', 'condition', 'convert', 'evaluate']) {
      expect(fieldsOf(schemaOf(kind)).length).toBe(Object.keys(schemaOf(kind).properties).length);
    }
  });

  it('that Compose names are there', () => {
    const names = sample.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining([...kFirstOptions, ...kOwnedOptions]));
  });

  it('say what a text lacks', () => {
    expect(() => valueOf(named(sample, 'steps'), '0')).toThrow('At least 1.');
    expect(() => valueOf(named(sample, 'steps'), '2.5')).toThrow('Whole numbers');
    expect(() => valueOf(named(sample, 'steps'), '')).toThrow('not a number');
    expect(() => valueOf(named(tune, 'preview_scales'), '0, 11')).toThrow('At most 10.');
    expect(valueOf(named(tune, 'preview_scales'), '0, 0.7,1')).toEqual([0, 0.7, 1]);
  });

  it('know what is not usual', () => {
    const steps = named(sample, 'steps');
    expect(isChanged(steps, {})).toBe(false);
    expect(isChanged(steps, { steps: 50 })).toBe(false);
    expect(isChanged(steps, { steps: 20 })).toBe(true);
    expect(givenOptions(sample, { steps: 20, nonsense: 1 })).toEqual({ steps: 20 });
  });

  it('are sliders only where those can show the value', () => {
    for (const rate of ['text_rate', 'unet_rate', 'embedding_rate']) {
      const field = named(tune, rate);
      expect(isShare(field, field.fallback), rate).toBe(false);
      expect(isShare({ ...field, fallback: 0.01 }, 0.01), rate).toBe(false); // as a base model may have it
    }
    const strength = named(sample, 'strength');
    expect(isShare(strength, 0.6)).toBe(true);
    expect(isShare(strength, 0.605)).toBe(false);
  });

  it('are called as people read', () => {
    expect(labelOf('guidance_scale')).toBe('Guidance scale');
    expect(labelOf('vae_tile')).toBe('VAE tile');
    expect(textOf([1, 2])).toBe('1, 2');
  });
});

describe('groups', () => {
  it('hold every option once, in the sequence of the program, each under a heading', () => {
    for (const [kind, groups] of [['tune', kTuneGroups], ['fuse', kFuseGroups], ['sample', kSampleGroups]] as const) {
      const fields = fieldsOf(schemaOf(kind));
      const made = grouped(fields, groups);
      expect(made.map(({ title }) => title), kind).toEqual(groups.map(([, title]) => title));
      expect(made.flatMap((group) => group.fields)).toEqual(fields);
    }
  });

  it('have a heading also where what the first begins with is not there', () => {
    const fields = tune.filter(({ name }) => name !== 'config');
    expect(grouped(fields, kTuneGroups).map(({ title }) => title)).toEqual(kTuneGroups.map(([, title]) => title));
  });
});

describe('a method of tuning', () => {
  const schema = schemaOf('tune');
  const ofBase = {
    steps: 340, preview_guidance: 2.5,
    methods: { cones: { steps: 150, neuron_threshold: 2 }, lora: { steps: 200 } },
  };

  it('has what the base model says of it over what it says of all', () => {
    expect(defaultsFor('cones', ofBase)).toEqual({ steps: 150, preview_guidance: 2.5, neuron_threshold: 2 });
    expect(defaultsFor('ed_lora', ofBase)).toEqual({ steps: 340, preview_guidance: 2.5 });
    expect(defaultsFor('ed_lora', undefined)).toEqual({});
  });

  it('is the one that was chosen, or else the usual one of the base model or the program', () => {
    expect(methodOf({ method: 'cones' }, { method: 'lora' }, schema)).toBe('cones');
    expect(methodOf({}, { method: 'lora' }, schema)).toBe('lora');
    expect(methodOf({}, ofBase, schema)).toBe('ed_lora');
  });

  it('takes nothing over that was said of the weights, words and lessons of another one', () => {
    const given = { rank: 8, where: 'kv', rows: 'shared', prior: 32, mask_loss: false, steps: 300, batch: 2, framing: 'fit', preview_every: 50 };
    const kept = { steps: 300, batch: 2, framing: 'fit', preview_every: 50 };
    const next = { ...given, method: 'textual_inversion' };
    expect(takenAlong(given, next, schema)).toEqual({ ...kept, method: 'textual_inversion' });
    expect(takenAlong(next, given, schema)).toEqual(kept); // back to the usual one
    expect(takenAlong(next, { ...next, rank: 9 }, schema)).toEqual({ ...next, rank: 9 });
  });
});
