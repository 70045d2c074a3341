import type { Job, JobRequest, Model, Options } from '../api/types';
import { stem } from '../ui/format';

/// The identity report of a fusion: each concept painted alone, in the fused model, and in its
/// region beside the others, from the same seeds; and what the evaluation makes of it. All of it is
/// ordinary jobs, known by their titles, so that a page that was closed finds them again.

export type Way = 'alone' | 'fused' | 'region';
export const kWays: { way: Way; title: string }[] = [
  { way: 'alone', title: 'Alone' },
  { way: 'fused', title: 'Fused' },
  { way: 'region', title: 'In its region' },
];

export interface Member {
  name: string;
  path: string; ///< Its file.
  phrase: string;
  concept: string; ///< The folder of its own pictures, if it has one here.
}

const kSeed = 1;
const kCount = 4;
const kSteps = 30;

/// The concept that a file was tuned of: a second run of racer writes racer-2. Else the one that has its name.
function conceptOf(path: string, all: ReadonlyMap<number, Job>): string {
  const runs = [...all.values()].filter((job) => job.kind === 'tune' && job.results.includes(path));
  const data = runs.sort((a, b) => b.id - a.id)[0]?.options.data;
  return stem(typeof data === 'string' ? data : path);
}

/// The concepts of a fusion, with what prompts call them; `all` may have the jobs that tuned them.
export function membersOf(job: Job, words: (path: string) => string[], all: ReadonlyMap<number, Job>): Member[] {
  const entries = (job.options.concepts as string[] | undefined) ?? [];
  return entries.map((entry) => {
    const [path = entry, given] = entry.split(/=(.*)/s);
    return { name: stem(path), path, phrase: given ?? words(path).join(' '), concept: conceptOf(path, all) };
  });
}

export function titleFor(fusion: number, name: string, way: Way | `figures ${Way}`): string {
  return `identity of fusion ${fusion}: ${name}, ${way}`;
}

/// The newest job with this title that was not given up.
export function jobFor(all: ReadonlyMap<number, Job>, title: string): Job | undefined {
  return [...all.values()]
    .filter((job) => job.title === title && job.state !== 'cancelled')
    .sort((a, b) => b.id - a.id)[0];
}

/// Options that paint with what a fusion made: a model, or one file on its base.
export function fusedModel(fusion: Job): { base: string; concept?: string[] } {
  const model = fusion.results.find((path) => path.startsWith('fused/'));
  const file = fusion.results.find((path) => path.startsWith('concept-files/'));
  if (model || !file) return { base: model ?? '' };
  return { base: String(fusion.options.base ?? ''), concept: [file] };
}

const kUsualSide = 512;

/// The side in pixels that a fusion paints best: its model's own, which is its base's. The list of models
/// may be older than the fusion.
export function sideOf(fusion: Job, list: Model[]): number {
  const sizes = [fusedModel(fusion).base, fusion.options.base].map((path) => list.find((model) => model.path === path)?.size);
  return sizes.find((size) => !!size) ?? kUsualSide;
}

/// Alone and fused for each concept, and one scene for all of them. `side` is the model's own, in
/// pixels, `defaults` what painting on it begins with.
export function paintRequests(fusion: Job, members: Member[], side: number, defaults: Options = {}): JobRequest[] {
  const base = String(fusion.options.base ?? '');
  const common = { ...defaults, seed: kSeed, count: kCount, steps: kSteps };
  const requests = members.flatMap((member): JobRequest[] => {
    const prompt = `a photo of a ${member.phrase}`;
    return [
      {
        kind: 'sample', title: titleFor(fusion.id, member.name, 'alone'),
        options: { ...common, prompt, concept: [member.path], ...(base ? { base } : {}) },
      },
      {
        kind: 'sample', title: titleFor(fusion.id, member.name, 'fused'),
        options: { ...common, prompt, ...fusedModel(fusion) },
      },
    ];
  });
  return [...requests, regionRequest(fusion, members, side, { ...common, ...fusedModel(fusion) })];
}

/// Where a region is, in words: models that saw few pictures of several put them where they are told.
function placeOf(index: number, count: number): string {
  if (count < 2) return '';
  return index === 0 ? ' on the left' : index === count - 1 ? ' on the right' : ' in the middle';
}

function regionRequest(fusion: Job, members: Member[], side: number, options: Options): JobRequest {
  const regions = members.map((member, index) => ({
    name: member.name,
    prompt: `a photo of a ${member.phrase}${placeOf(index, members.length)}`,
    box: [0, index / members.length, 1, (index + 1) / members.length],
  }));
  return {
    kind: 'sample', title: titleFor(fusion.id, 'all', 'region'), options,
    scene: { prompt: '', height: side, width: side * members.length, regions },
  };
}

/// The job that painted a concept this way: in regions it is one for all of them.
export function paintedTitle(fusion: number, name: string, way: Way): string {
  return titleFor(fusion, way === 'region' ? 'all' : name, way);
}

/// The evaluation of pictures that are there, against the concept's own. `place` is its region's, of
/// how many.
export function evaluateRequest(
  fusion: Job, member: Member, way: Way, painted: Job, place: { index: number; count: number },
): JobRequest {
  const { index, count } = place;
  return {
    kind: 'evaluate', title: titleFor(fusion.id, member.name, `figures ${way}`),
    options: {
      pictures: painted.results, references: `concepts/${member.concept}`,
      ...(way === 'region' ? { part: [0, index / count, 1, (index + 1) / count] } : {}),
      // Its eyes are the base's: a fused model has none.
      ...(fusion.options.base ? { base: fusion.options.base } : {}),
    },
  };
}
