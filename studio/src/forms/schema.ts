import type { JsonSchema, Options, SchemaProperty } from '../api/types';

/// The server's description of a job's options as fields of a form. Which options there are, and
/// what each can hold, is said by the server alone.

export type FieldKind = 'switch' | 'integer' | 'number' | 'text' | 'choice' | 'list';

export interface Field {
  name: string;
  label: string;
  help: string;
  kind: FieldKind;
  least?: number;
  most?: number;
  choices: string[];
  isPath: boolean;
  isOptional: boolean;
  itemKind: 'integer' | 'number' | 'text'; ///< Of a list's entries.
  fallback: unknown;
}

export function fieldsOf(schema: JsonSchema | undefined): Field[] {
  return Object.entries(schema?.properties ?? {}).map(([name, property]) => fieldOf(name, property));
}

function fieldOf(name: string, property: SchemaProperty): Field {
  const isList = property.type === 'array';
  const value = isList ? (property.items ?? {}) : property;
  const types = ([] as (string | undefined)[]).concat(value.type);
  const plain = plainKind(types);
  return {
    name,
    label: labelOf(name),
    help: property.description ?? '',
    kind: isList ? 'list' : value.enum && plain === 'text' ? 'choice' : plain,
    ...(value.minimum !== undefined ? { least: value.minimum } : {}),
    ...(value.maximum !== undefined ? { most: value.maximum } : {}),
    choices: value.enum ?? [],
    isPath: value.format === 'path',
    isOptional: types.includes('null'),
    itemKind: plain === 'integer' || plain === 'number' ? plain : 'text',
    fallback: property.default ?? (isList ? [] : types.includes('null') ? null : undefined),
  };
}

/// The schema as it is with other defaults, such as those of a base model.
export function withDefaults(schema: JsonSchema | undefined, defaults: Options | undefined): JsonSchema | undefined {
  if (!schema || !defaults) return schema;
  const properties = Object.entries(schema.properties).map(([name, property]) => [
    name, name in defaults ? { ...property, default: defaults[name] } : property,
  ]);
  return { ...schema, properties: Object.fromEntries(properties) };
}

function plainKind(types: (string | undefined)[]): 'switch' | 'integer' | 'number' | 'text' {
  if (types.includes('boolean')) return 'switch';
  if (types.includes('integer')) return 'integer';
  if (types.includes('number')) return 'number';
  return 'text';
}

const kWords: Record<string, string> = {
  vae: 'VAE', clip: 'CLIP', lora: 'LoRA', unet: 'U-Net', snr: 'SNR', kv: 'K/V', ema: 'EMA',
};

/// "guidance_scale" → "Guidance scale".
export function labelOf(name: string): string {
  const words = name.split('_').map((word) => kWords[word] ?? word);
  const text = words.join(' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/// What a text typed into a field means. Throws an Error that says what is wrong.
export function valueOf(field: Field, text: string): unknown {
  if (field.kind === 'list') {
    const entries = text.split(/[\n,]/).map((entry) => entry.trim()).filter(Boolean);
    return field.itemKind === 'text' ? entries : entries.map((entry) => numberOf(field, entry));
  }
  if (field.kind === 'integer' || field.kind === 'number') return numberOf(field, text);
  return text;
}

function numberOf(field: Field, text: string): number {
  const kind = field.kind === 'list' ? field.itemKind : field.kind;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new Error('This is not a number.');
  if (kind === 'integer' && !Number.isInteger(value)) throw new Error('Whole numbers only.');
  if (field.least !== undefined && value < field.least) throw new Error(`At least ${field.least}.`);
  if (field.most !== undefined && value > field.most) throw new Error(`At most ${field.most}.`);
  return value;
}

export const kShareStep = 0.01;

/// Whether a number is a share that a slider can show and give back: a learning rate is not, one step of
/// the slider would be many times its usual value.
export function isShare(field: Field, value: unknown): boolean {
  if (field.kind !== 'number' || field.least !== 0 || field.most !== 1) return false;
  const usual = Number(field.fallback ?? 0);
  return (usual === 0 || usual >= 5 * kShareStep) && [usual, Number(value ?? 0)].every(isOnStep);
}

function isOnStep(value: number): boolean {
  const steps = value / kShareStep;
  return Math.abs(steps - Math.round(steps)) < 1e-6;
}

export function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/// Whether an option has another value than the program's default.
export function isChanged(field: Field, values: Options): boolean {
  if (!(field.name in values)) return false;
  return JSON.stringify(values[field.name]) !== JSON.stringify(field.fallback);
}

/// Only what a person chose: the program's defaults, and those of base models, stay its own.
export function givenOptions(fields: Field[], values: Options): Options {
  const known = new Set(fields.map((field) => field.name));
  return Object.fromEntries(
    Object.entries(values).filter(([name, value]) => known.has(name) && value !== undefined),
  );
}
