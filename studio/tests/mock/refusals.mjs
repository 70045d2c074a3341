// What the server refuses, word for word: the stand-in answers with these, and tests/real/refusals.spec.ts
// holds them against the server. Of every kind: orders, what the program itself finds in them, uploads,
// masks, scenes, words, fusions.
const junk = 'no picture';
const concept = '/mos/v1/concepts/refused';
const order = (kind, options, more = {}) => ({ method: 'POST', path: '/mos/v1/jobs', body: { kind, options, ...more } });

export const refusals = [];

/// The one for this request, if there is any.
export function refusalOf(method, path, body) {
  const text = JSON.stringify(Buffer.isBuffer(body) ? body.toString() : body);
  return refusals.find((one) => one.method === method && one.path === path && JSON.stringify(one.body) === text);
}
