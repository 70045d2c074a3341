import type { Field } from './schema';

/// Headings over options. A group begins with one option of the program's sequence and goes to where
/// the next one begins, so that an option that is new stands among those that it came with. What comes
/// before all of them belongs to the first.

export type Group = [from: string, title: string];

export const kTuneGroups: Group[] = [
  ['config', 'Files and model'], ['method', 'Words'], ['size', 'Pictures'], ['use_captions', 'Captions'],
  ['form', 'Weights'], ['mask_loss', 'What is asked of it'], ['prior', 'Class pictures'],
  ['steps', 'Training'], ['seed', 'This machine'], ['preview_every', 'Samples'],
];
export const kFuseGroups: Group[] = [
  ['concepts', 'Files'], ['text_scales', 'Concepts'], ['device', 'Model'], ['method', 'Merging'],
  ['fit_text', 'What the concepts are shown'], ['conv_memory', 'Solving'],
];
export const kSampleGroups: Group[] = [
  ['config', 'Files'], ['variant', 'Model'], ['merge_scale', 'Sampling'], ['compose', 'Concepts and regions'],
  ['plain_text', 'Prompt and noise'], ['init', 'A picture to begin with'], ['hires', 'Large pictures'],
  ['batch', 'This machine'], ['adapter', 'Conditions and files'],
];

export function grouped(fields: Field[], groups: Group[]): { title: string; fields: Field[] }[] {
  const made = [{ title: groups[0]?.[1] ?? '', fields: [] as Field[] }];
  for (const field of fields) {
    const group = groups.slice(1).find(([from]) => from === field.name);
    if (group) made.push({ title: group[1], fields: [] });
    made.at(-1)!.fields.push(field);
  }
  return made.filter((group) => group.fields.length > 0);
}
