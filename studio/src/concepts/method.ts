import type { JsonSchema, Options } from '../api/types';
import { grouped, kTuneGroups } from '../forms/groups';
import { fieldsOf } from '../forms/schema';
import { without } from '../scene/json';

/// What a method of tuning makes of its options.

/// The one that `given` is about: chosen there, or else the base model's or the program's usual one.
export function methodOf(given: Options, defaults: Options | undefined, schema: JsonSchema | undefined): string {
  return String(given.method ?? defaults?.method ?? schema?.properties.method?.default ?? '');
}

/// What a base model has in place of the program's options, for one method: what it says of that lies over
/// what it says of all.
export function defaultsFor(method: string, defaults: Options | undefined): Options {
  const { methods, ...ofAll } = defaults ?? {};
  const own = (methods as Record<string, Options> | undefined)?.[method];
  return { ...ofAll, ...own };
}

/// The groups whose options make a method what it is: how words and weights are trained, and on what.
const kOfMethod = ['Words', 'Weights', 'What is asked of it', 'Class pictures'];

/// What stays of `next` where its method is another one than that of `before`: a rank that was given to one is
/// another method altogether on words alone.
export function takenAlong(before: Options, next: Options, schema: JsonSchema | undefined): Options {
  if (before.method === next.method) return next;
  const groups = grouped(fieldsOf(schema), kTuneGroups).filter(({ title }) => kOfMethod.includes(title));
  const names = groups.flatMap(({ fields }) => fields.map(({ name }) => name));
  return without(next, names.filter((name) => name !== 'method'));
}
