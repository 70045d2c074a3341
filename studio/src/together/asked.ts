import type { ConceptFile, Job, JsonSchema } from '../api/types';
import { fieldsOf } from '../forms/schema';
import { stem } from '../ui/format';

/// What a fusion is asked for beside what its form shows.

/// Options that only methods other than the chosen one take, where the server says whose they are.
export function optionsOfOthers(methods: Record<string, string[]> | undefined, chosen: unknown, schema: JsonSchema | undefined): string[] {
  if (!methods) return [];
  const usual = fieldsOf(schema).find((field) => field.name === 'method')?.fallback;
  const own = methods[String(chosen ?? usual)] ?? [];
  return Object.values(methods).flat().filter((name) => !own.includes(name));
}

const kWaiting = ['queued', 'running', 'paused', 'interrupted'];

/// Where the LoRA of a fusion goes: a name that no file has, and no fusion that is still to write one.
export function placeOfLora(chosen: ConceptFile[], files: ConceptFile[], jobs: Iterable<Job>): string {
  const name = `concept-files/${chosen.map((file) => stem(file.path)).join('-')}`;
  const promised = [...jobs].filter((job) => !job.dry_run && kWaiting.includes(job.state)).map((job) => job.options.lora);
  const taken = new Set<unknown>([...files.map((file) => file.path), ...promised]);
  for (let count = 1; ; ++count) {
    const path = `${name}${count > 1 ? `-${count}` : ''}.safetensors`;
    if (!taken.has(path)) return path;
  }
}
