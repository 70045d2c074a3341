import type { Job, JsonSchema, Options } from '../api/types';
import { fieldsOf, textOf } from '../forms/schema';

/// Runs that were stopped half-way: their checkpoint lies where the next run of the concept would
/// begin, and is of their settings alone.

/// The newest one whose concept file was never written; `own` has the newest first.
export function stoppedRun(own: Job[]): Job | undefined {
  const written = new Set(own.filter((job) => job.state === 'done').map((job) => job.options.out));
  const isBusy = own.some((job) => job.state === 'running' || job.state === 'queued');
  if (isBusy) return undefined;
  return own.find((job) => !isInTheWay(job) && !written.has(job.options.out) && hasCheckpoint(job));
}

/// Class pictures are painted before the first step, sample pictures after some.
function hasCheckpoint({ progress }: Job): boolean {
  return progress !== null && progress.stage !== 'painting the prior' && progress.step > 0;
}

/// "30 of 600 steps"; "its steps" where it told of something else last.
export function stepsOf({ progress }: Job): string {
  if (progress?.stage !== 'tuning') return 'its steps';
  return progress.total ? `${progress.step} of ${progress.total} steps` : `${progress.step} steps`;
}

/// What may differ without making it another run (mos/tune/identity.cpp).
function isOfNoConsequence(name: string): boolean {
  return ['config', 'check', 'dry_run', 'data', 'out', 'previews', 'prior_folder', 'fresh', 'checkpoint_every', 'neuron_threshold'].includes(name) || name.startsWith('preview_');
}

export interface Difference {
  label: string;
  before: string;
  now: string;
}

/// In which settings a run with `next` is another one than the run with `before`.
export function differencesOf(schema: JsonSchema | undefined, before: Options, next: Options): Difference[] {
  return fieldsOf(schema)
    .filter(({ name }) => !isOfNoConsequence(name))
    .map(({ name, label, fallback }) => ({
      label, before: textOf(before[name] ?? fallback), now: textOf(next[name] ?? fallback),
    }))
    .filter((one) => one.before !== one.now);
}

/// Whether the server refuses a run since a checkpoint of another one lies in its way.
export function isConflict(message: string): boolean {
  return /is of a run with .* start anew/.test(message);
}

/// What the program says of a checkpoint's run: "steps" 40 instead of 24.
export function reasonOf(message: string): string {
  const reason = /is of a run with (.*?); /.exec(message)?.[1];
  return reason ? `It had ${reason}.` : '';
}

/// A run that failed since a checkpoint of other settings lay in its way.
export function isInTheWay(job: Job): boolean {
  return job.state === 'failed' && /^the checkpoint .* is of a run with /.test(job.error?.message ?? '');
}
