import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { sceneFromJson, sceneToJson } from '../../src/scene/json';
import { changeRegion } from '../../src/scene/model';

const noMask = () => '';
const canvas = { width: 384, height: 128 };

/// The same file, after it has been a scene.
function roundTrip(json: Record<string, unknown>) {
  return sceneToJson(sceneFromJson(json, canvas), (region) =>
    region.shape.kind === 'mask' ? region.shape.file : '',
  );
}

describe('scene files', () => {
  it('come back as they were', () => {
    const file = {
      prompt: 'a meadow',
      negative_prompt: 'blurry',
      root_prompt: 'oil painting',
      root_negative_prompt: 'text',
      height: 128,
      width: 384,
      overlap: 'front',
      base_ratio: 0.2,
      isolate: true,
      regions: [
        { name: 'wizard', prompt: 'a <wizard1> <wizard2>', negative_prompt: 'dark', box: [8, 0, 128, 128], weight: 0.8, feather: 4, start: 0.1, end: 0.9 },
        { prompt: 'a hill', polygon: [[0, 0], [0, 384], [64, 200]] },
        { prompt: 'a pond', mask: 'uploads/pond.png' },
        { prompt: 'grass', background: true },
      ],
      conditions: [{ adapter: 'models/keypose', picture: 'uploads/poses.png', weight: 0.8, start: 0.1, end: 0.6, guess_mode: true }],
    };
    expect(roundTrip(file)).toEqual(file);
  });

  it('have fractions brought to pixels, exactly where they are on the grid of features', () => {
    const scene = sceneFromJson({ prompt: '', width: 384, height: 128, regions: [{ prompt: 'a', box: [0.05, 1 / 3, 1, 2 / 3] }] });
    const { regions } = sceneToJson(scene, noMask) as { regions: { box: number[] }[] };
    expect(regions[0]!.box).toEqual([6.4, 128, 128, 256]);
  });

  it('keep keys that the page has no field for', () => {
    const file = { prompt: '', height: 128, width: 384, regions: [{ prompt: 'a', box: [0, 0, 64, 64], steps: [1, 5] }], novelty: { a: 1 } };
    expect(roundTrip(file)).toEqual(file);
  });

  it('of the examples are read', () => {
    const url = new URL('../../../examples/demo-scene.json', import.meta.url);
    const scene = sceneFromJson(JSON.parse(readFileSync(url, 'utf8')));
    expect(scene.regions.map((region) => region.shape.kind)).toEqual(['box', 'box', 'box']);
    expect(scene.regions[1]!.shape).toEqual({ kind: 'box', box: { top: 6.4, left: 0.35 * 384, bottom: 128, right: 0.65 * 384 } });
    expect(scene.conditions[0]!.adapter).toBe('base/adapters/keypose');
  });

  it('leave hidden regions out, with their conditions', () => {
    const file = {
      prompt: '', height: 128, width: 384,
      regions: [{ prompt: 'a', box: [0, 0, 128, 128] }, { prompt: 'b', box: [0, 128, 128, 384] }],
      conditions: [{ adapter: 'k', picture: 'p.png', weight: 0, boxes: [{ box: [0, 0, 128, 128], weight: 0.7 }] }],
    };
    const scene = sceneFromJson(file);
    expect(scene.conditions[0]!.region).toBe(scene.regions[0]!.id);
    expect(roundTrip(file)).toEqual(file);
    const hidden = sceneToJson(changeRegion(scene, scene.regions[0]!.id, { visible: false }), noMask);
    expect(hidden.regions).toHaveLength(1);
    expect(hidden.conditions).toBeUndefined();
  });

  it('move a condition with the region that it belongs to', () => {
    const scene = sceneFromJson({
      prompt: '', height: 128, width: 384, regions: [{ prompt: 'a', box: [0, 0, 128, 128] }],
      conditions: [{ adapter: 'k', picture: 'p.png', weight: 0, boxes: [{ box: [0, 0, 128, 128], weight: 0.7 }] }],
    });
    const box = { top: 0, left: 64, bottom: 128, right: 192 };
    const moved = sceneToJson(changeRegion(scene, scene.regions[0]!.id, { shape: { kind: 'box', box } }), noMask);
    expect(moved.conditions).toEqual([{ adapter: 'k', picture: 'p.png', weight: 0, boxes: [{ box: [0, 64, 128, 192], weight: 0.7 }] }]);
  });

  it.each([
    [{ prompt: '', regions: [{ prompt: 'a', box: [0, 0, 200, 64] }] }, 'reaches outside'],
    [{ prompt: '', regions: [{ prompt: 'a', box: [10, 10, 10, 60] }] }, 'no area'],
    [{ prompt: '', regions: [{ prompt: 'a', box: [1, 2, 3] }] }, 'not 4 numbers'],
    [{ prompt: '', regions: [{ prompt: 'a' }] }, 'no box, polygon, mask or background'],
    [{ prompt: '', regions: [{ prompt: 'a', polygon: [[0, 0], [1, 1]] }] }, 'fewer than three'],
    [{ prompt: 3 }, 'not a text'],
    [[], 'a JSON object was expected'],
  ])('that are wrong are refused: %j', (file, message) => {
    expect(() => sceneFromJson(file, canvas)).toThrow(message);
  });
});
