import { labelOf } from '../forms/schema';
import type { Capabilities } from './types';

/// What the program says, in the words of the pages. Its sentences are of a command line, "give one with
/// --grid FILE.png"; who fills in a form knows its fields, by their labels, and has no command to type.

/// Options that pages set by controls of their own, as these are called (in quotes what can be read
/// there); the others are fields of a form and have the form's labels.
const kControls: Record<string, string> = {
  adapter: 'a condition', adapter_boxes: 'the places of a condition', adapter_weight: '“Weight”',
  base: '“Base model”', class_word: '“Class”', concept: '“Concept”', concept_list: 'a list of concepts',
  concepts: 'the concept files', condition: 'a condition picture',
  'conditions.adapter': 'the adapter of a condition', 'conditions.picture': 'the picture of a condition',
  config: 'a file of options', data: 'the pictures of the concept', from: 'a picture', grid: 'a grid',
  height: '“Height”', lora: 'the LoRA file', negative_prompt: '“Negative”', out: 'the result',
  overwrite: 'leave to replace it', page: 'the page', previews: 'the sample pictures', prompt: '“Prompt”',
  redo_region: '“Paint only this region again”', references: 'pictures of the concept', region_mask: 'a mask',
  'regions.mask': 'the mask of a region', regions: 'regions', report: 'the report', rerun: 'a picture',
  scene: 'the scene', width: '“Canvas width”', words: '“Words”',
};
/// The same where one page has another control for it.
const kControlsOf: Record<string, Record<string, string>> = { sample: { base: '“Model”' } };

/// What a sentence advises that only somebody at a command line can do.
const kAdvice: [RegExp, string][] = [
  [/; see mos [\w-]+ --help/g, ''],
  [/; mos inspect says what it is/g, ''],
  [/; name it anew with mos convert FILE --word "[^"]*"/g, '; give it another one'],
  [/; give the latter other ones with --rename "[^"]*"/g, '; give the latter other ones'],
  [/; say how it stands in a prompt, as in "[^"]*"/g, '; say how prompts call it'],
  [/ add --overwrite \(convert, fuse\), remove it/g, ' remove it'],
  [/ or add --overwrite/g, ''],
  [/ another --out\b/g, ' another place'],
  [/(choose another place|a place for the new one) with --out\b/g, '$1'],
  [/start anew with (?:--fresh|"fresh")/g, 'start anew'],
  [/the same command with/g, 'the same settings with'],
  [/, or start mos studio with --base/g, ''],
];

const kWork: Record<string, string> = {
  tune: 'tuning', fuse: 'fusing', sample: 'painting', evaluate: 'measuring', condition: 'making a condition picture',
  convert: 'converting', inspect: 'looking at files', 'init-random': 'making a random model',
};
const kCommands = Object.keys(kWork).join('|');

const kOption = /(?<![\w"-])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)/g;
const kPlaceholder = /(--[a-z-]+) (?:FILE|FOLDER|DIR|NAME)(?:\.[a-z]+)?\b/g;
const kMaker = new RegExp(`\\b(of|that|by|for) mos (${kCommands})\\b`, 'g');
const kCommand = new RegExp(`\\bmos (${kCommands})\\b`, 'g');

const kNames = new Set(Object.keys(kControls));

/// From then on the names of these options are known where a sentence has them in quotes.
export function learnNames({ jobs }: Pick<Capabilities, 'jobs'>) {
  for (const schema of Object.values(jobs)) for (const name of Object.keys(schema.properties)) kNames.add(name);
}

/// What the pages call an option; `kind` is that of the job.
export function nameOf(option: string, kind = ''): string {
  return kControlsOf[kind]?.[option] ?? kControls[option] ?? `“${labelOf(option)}”`;
}

/// Where sentences have the name of an option in quotes; elsewhere quotes hold what people wrote.
const kName = /(?<=^|[:;,] |\b(?:with|needs|option) )"([a-z0-9_.]+)"(?!\w)/g;
const kMeant = /(?<=did you mean )'([a-z0-9_]+)'/g;

/// A sentence of the program as a page says it.
export function plain(sentence: string, kind = ''): string {
  let text = sentence.replace(/^the options: /, '');
  for (const [advice, instead] of kAdvice) text = text.replace(advice, instead);
  const known = (all: string, name: string) => (kNames.has(name) ? nameOf(name, kind) : all);
  return text
    .replace(/(?<=--[\w-]+)=(?=\S)/g, ' ')
    .replace(/(--[\w-]+(?: (?:[\d{]|[A-Z]{2})\S*)?) (?=--)/g, '$1 and ')
    .replace(/(--[\w-]+) (true|false)\b/g, (_all, option, value) => `${option} ${value === 'true' ? 'on' : 'off'}`)
    .replace(kPlaceholder, '$1')
    .replace(kOption, (_all, name: string) => nameOf(name.replaceAll('-', '_'), kind))
    .replace(kMaker, '$1 this program')
    .replace(kCommand, (_all, command: string) => kWork[command]!)
    .replace(kName, known)
    .replace(kMeant, known);
}

/// Where answers and events hold sentences of the program, and where what people wrote themselves.
const kSentences = new Set(['message', 'problem', 'problems', 'warnings', 'notices', 'left_out', 'measured', 'description']);
const kOfPeople = new Set(['options', 'scene', 'content', 'record', 'infotext', 'caption', 'captions', 'prompt', 'note', 'title']);

/// An answer of the server with its sentences as pages say them.
export function plainly<T>(answer: T, kind = ''): T {
  return shown(answer, kind, false) as T;
}

function shown(value: unknown, kind: string, isSentence: boolean): unknown {
  if (typeof value === 'string') return isSentence ? plain(value, kind) : value;
  if (Array.isArray(value)) return value.map((entry) => shown(entry, kind, isSentence));
  if (value === null || typeof value !== 'object') return value;
  const own = { ...(value as Record<string, unknown>) };
  const of = typeof own.kind === 'string' && 'state' in own ? own.kind : kind; // a job's
  for (const [key, entry] of Object.entries(own)) {
    if (!kOfPeople.has(key)) own[key] = shown(entry, of, kSentences.has(key));
  }
  return own;
}
