import type { Capabilities, Job, JobRequest, Model, Options } from '../api/types';
import { defaultsFor, methodOf } from './method';
import type { Sample } from './samples';

/// Which step of a tuning is best, by its sample pictures: how like the concept's own they are, and
/// how well they follow their prompt, with what the base model makes of the same prompt beside it.
/// All of it is ordinary jobs, known by their titles, so that a page that was closed finds them again.

export interface Score {
  identity: number;
  prompt: number;
}

/// What a job runs with: its own options over those that its base model has for its method, and the program's.
export function optionOf(job: Job, name: string, models: Model[], told: Capabilities | null): unknown {
  const ofBase = models.find((model) => model.path === job.options.base)?.defaults;
  const schema = told?.jobs[job.kind];
  const defaults = defaultsFor(methodOf(job.options, ofBase, schema), ofBase);
  return job.options[name] ?? defaults[name] ?? schema?.properties[name]?.default;
}

export interface Ruler {
  job: Job;
  prompts: string[];
  scales: number[];
  columns: number;
  guidance: number;
  steps: number;
  classWord: string;
}

export function rulerOf(job: Job, models: Model[], told: Capabilities | null, classWord: string): Ruler {
  const of = (name: string) => optionOf(job, name, models, told);
  return {
    job, classWord,
    prompts: (of('preview_prompts') as string[] | undefined) ?? [],
    scales: (of('preview_scales') as number[] | undefined) ?? [],
    columns: Number(of('preview_pictures') ?? 1),
    guidance: Number(of('preview_guidance') ?? 7.5),
    steps: Number(of('preview_steps') ?? 20),
  };
}

/// The prompt whose pictures are measured, from 1: the last, which usually says where the concept is.
export function measuredPrompt(ruler: Ruler): number {
  return Math.max(1, ruler.prompts.length);
}

/// Without the concept's own words, which only its model understands.
function plainPrompt(ruler: Ruler): string {
  const prompt = ruler.prompts[measuredPrompt(ruler) - 1] ?? 'a photo of a <TOK>';
  return prompt.replaceAll('<TOK>', ruler.classWord || 'thing');
}

export function scoreTitle(run: number, what: number | 'base' | 'pictures of base'): string {
  return `scores of run ${run}: ${typeof what === 'number' ? `step ${what}` : what}`;
}

function measure(ruler: Ruler, title: string, pictures: string[], more: Options): JobRequest {
  return {
    kind: 'evaluate', title,
    options: {
      pictures, references: ruler.job.options.data, prompt: plainPrompt(ruler),
      ...(ruler.job.options.base ? { base: ruler.job.options.base } : {}), ...more,
    },
  };
}

/// The row of the full scale of a sheet, each picture of it by itself.
export function stepRequest(ruler: Ruler, sample: Sample): JobRequest {
  const rows = Math.max(1, ruler.scales.length);
  const row = Math.max(0, ruler.scales.indexOf(1));
  return measure(ruler, scoreTitle(ruler.job.id, sample.step), [sample.path], {
    part: [row / rows, 0, (row + 1) / rows, 1], columns: ruler.columns,
  });
}

/// What the base model makes of the same prompt.
export function baseRequest(ruler: Ruler): JobRequest {
  return {
    kind: 'sample', title: scoreTitle(ruler.job.id, 'pictures of base'),
    options: {
      prompt: plainPrompt(ruler), count: ruler.columns, steps: ruler.steps, guidance_scale: ruler.guidance,
      perturbed_attention: 0, // as the pictures of a tuning, which it stands beside
      seed: 1, ...(ruler.job.options.base ? { base: ruler.job.options.base } : {}),
    },
  };
}

export function baseScoreRequest(ruler: Ruler, painted: Job): JobRequest {
  return measure(ruler, scoreTitle(ruler.job.id, 'base'), painted.results, {});
}

const kKeptPrompt = 0.95;

/// The step that is most like the concept among those that follow the prompt nearly as well as the
/// base does; where none does, the best sum.
export function bestStep(scores: ReadonlyMap<number, Score>, base: Score | undefined): number | undefined {
  const all = [...scores];
  const obedient = base ? all.filter(([, score]) => score.prompt >= kKeptPrompt * base.prompt) : [];
  const value = ({ identity, prompt }: Score) => (obedient.length > 0 ? identity : identity + prompt);
  const list = obedient.length > 0 ? obedient : all;
  return list.sort((a, b) => value(b[1]) - value(a[1]) || a[0] - b[0])[0]?.[0];
}
