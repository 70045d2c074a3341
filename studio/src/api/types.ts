/// What the server answers with (docs/api.md).

export type JobKind = 'tune' | 'fuse' | 'sample' | 'condition' | 'convert' | 'evaluate';
export type JobState =
  | 'queued' | 'running' | 'paused' | 'interrupted' | 'done' | 'failed' | 'cancelled';

export interface Progress {
  stage: string;
  step: number;
  total: number | null;
  loss: number | null;
  seconds: number;
  left: number | null;
}

export interface Estimate {
  seconds: number;
  memory: number;
  measured: string;
}

export type Options = Record<string, unknown>;

export interface Job {
  id: number;
  kind: JobKind;
  title: string;
  state: JobState;
  dry_run: boolean;
  device: string;
  position: number | null;
  created: string;
  started: string | null;
  ended: string | null;
  options: Options;
  scene: Record<string, unknown> | null;
  words: string[];
  progress: Progress | null;
  previews: string[];
  results: string[];
  estimate: Estimate | null;
  error: { kind: string; message: string; exit_code: number } | null;
  note: string | null;
  command: string;
  can: string[];
}

export interface JobRequest {
  kind: JobKind;
  options?: Options;
  scene?: Record<string, unknown>;
  words?: string[];
  title?: string;
  dry_run?: boolean;
}

export interface Model {
  path: string;
  kind: string;
  words: string[];
  size?: number | null; ///< The side in pixels that it was trained at.
  defaults?: Options; ///< What a base has in place of the program's options of tuning.
  painting?: Options; ///< The same of painting.
}

export interface ConceptFile {
  path: string;
  bytes: number;
  words: string[];
  made_by: string | null;
  problem: string | null;
}

export interface ConceptSummary {
  name: string;
  words: string[];
  class_word: string;
  pictures: number;
  masks: number;
  captions: number;
  cover: string | null;
}

export interface PixelBox {
  top: number;
  left: number;
  height: number;
  width: number;
}

export interface ConceptPicture {
  name: string;
  file: string;
  width: number;
  height: number;
  mask: string | null;
  caption: string;
  caption_file?: string | null; ///< null: the caption is not its own but that of all.
  repeats: number;
  crops: { source: PixelBox; target: PixelBox }[];
  sharpness: number;
  flags: string[];
  duplicate_of: string | null;
  problems: string[];
}

export interface Concept {
  name: string;
  words: string[];
  class_word: string;
  caption: string | null;
  templates: string | null;
  summary: string;
  problems: string[];
  warnings: string[];
  size: number;
  pictures: ConceptPicture[];
}

export interface Picture {
  id: number;
  path: string;
  job: number | null;
  created: string;
  width: number;
  height: number;
  prompt: string;
  seed: number | null;
  concepts?: string[];
  starred: boolean;
  note: string;
}

export interface PictureDetail {
  picture: Picture;
  record: Record<string, unknown> | null;
  command: string | null;
}

export interface PictureRead {
  options: Options;
  scene: Record<string, unknown>;
  program: string;
  left_out?: string[]; ///< What of its record means nothing here, a sentence each.
}

export interface Info {
  version: string;
  folder: string;
  interface: boolean;
  devices: string[];
}

export interface JsonSchema {
  title?: string;
  properties: Record<string, SchemaProperty>;
}

export interface SchemaProperty {
  type?: string | string[];
  items?: SchemaProperty;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  format?: string;
  description?: string;
  default?: unknown;
}

export interface Capabilities {
  jobs: Partial<Record<JobKind, JsonSchema>>;
  notices: string[];
  /// Which options a method of fusing takes, and what each method does, where the server says so.
  methods?: { fuse?: Record<string, string[]>; help?: Partial<Record<JobKind, Record<string, string>>> };
}

/// What a deletion moved, and where it is: the way back.
export interface Discarded {
  moved: { path: string; trash: string }[];
}
