import { expect, test } from 'vitest';

import type { Job } from '../../src/api/types';
import { bestStep, optionOf, rulerOf, stepRequest } from '../../src/concepts/scores';

const base = { path: 'models/base', kind: 'base', words: [], defaults: { preview_prompts: ['a <TOK>', 'a <TOK> on the beach'] } };
const told = { jobs: { tune: { properties: { preview_scales: { default: [0, 0.7, 1] }, preview_pictures: { default: 4 } } } }, notices: [] };
const job = { id: 5, kind: 'tune', options: { base: 'models/base', data: 'concepts/teddy', preview_pictures: 2 } } as unknown as Job;

test('a run is measured by what it ran with: its options, those of its base, the program’s', () => {
  const ruler = rulerOf(job, [base], told, 'cat');
  expect(ruler).toMatchObject({ prompts: ['a <TOK>', 'a <TOK> on the beach'], scales: [0, 0.7, 1], columns: 2 });
  const { options } = stepRequest(ruler, { step: 30, prompt: 2, path: 'jobs/5/previews/step-000030-2.png' });
  expect(options).toMatchObject({ prompt: 'a cat on the beach', references: 'concepts/teddy', columns: 2 });
  expect((options!.part as number[]).map((side) => Math.round(side * 3))).toEqual([2, 0, 3, 3]);
});

test('a run has what its base model says of its method', () => {
  const cones = { ...base, defaults: { steps: 340, preview_scales: [1], methods: { cones: { steps: 150 } } } };
  const run = (options: object) => ({ ...job, options: { ...job.options, ...options } });
  expect(optionOf(run({ method: 'cones' }), 'steps', [cones], told)).toBe(150);
  expect(optionOf(run({ method: 'cones' }), 'preview_scales', [cones], told)).toEqual([1]);
  expect(optionOf(run({ method: 'cones', steps: 9 }), 'steps', [cones], told)).toBe(9);
  expect(optionOf(run({}), 'steps', [cones], told)).toBe(340);
});

test('the best step is most like the concept among those that still follow the prompt', () => {
  const scores = new Map([
    [100, { identity: 0.6, prompt: 0.3 }], [200, { identity: 0.7, prompt: 0.295 }], [300, { identity: 0.8, prompt: 0.2 }],
  ]);
  expect(bestStep(scores, { identity: 0.4, prompt: 0.3 })).toBe(200);
  expect(bestStep(scores, undefined)).toBe(300);
  expect(bestStep(new Map(), undefined)).toBeUndefined();
});
