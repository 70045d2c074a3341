import { describe, expect, it } from 'vitest';

import { checkScene, coverage } from '../../src/scene/checks';
import { kLayouts, regionsOfLines, withLayout } from '../../src/scene/layouts';
import { changeRegion, emptyScene, moveRegion, newRegion, withoutRegion, withRegion, type Scene } from '../../src/scene/model';
import { calledFiles, conceptIn, knownConcepts, withConcept } from '../../src/scene/words';

const file = (name: string, words: string[]) => ({
  path: `concept-files/${name}.safetensors`, bytes: 1, words, made_by: null, problem: null,
});
const files = [file('wizard', ['<wizard1>', '<wizard2>']), file('dog', ['sks dog'])];
const known = knownConcepts(files, undefined);
const box = (left: number, right: number) => ({ kind: 'box' as const, box: { top: 0, left, bottom: 64, right } });

function sceneOf(...prompts: string[]): Scene {
  let scene = emptyScene(64, 64);
  prompts.forEach((prompt, at) => (scene = withRegion(scene, newRegion(box(at * 8, at * 8 + 16), { prompt }))));
  return scene;
}

const textsOf = (scene: Scene) => checkScene(scene, known).map((finding) => finding.text);

it('nothing that says what is painted is noted, and no more than that', () => {
  expect(checkScene(emptyScene(), [])).toEqual([{ kind: 'note', text: expect.stringMatching(/^No prompt says/), region: '' }]);
  expect(checkScene({ ...emptyScene(), prompt: 'a meadow' }, [])).toEqual([]);
});

describe('what has no effect is said', () => {
  it('a region without a prompt', () => {
    expect(textsOf(sceneOf(''))).toEqual(['Region 1 has no prompt.']);
  });

  it('a word that no concept brings', () => {
    expect(textsOf(sceneOf('a <teddy1> in the snow'))).toEqual(['No concept here brings the word <teddy1>.']);
    expect(textsOf(sceneOf('a <lora:detail:0.5> <wizard1> <wizard2>'))).toEqual([]);
  });

  it('half of a concept', () => {
    expect(textsOf(sceneOf('a <wizard1>'))).toEqual(['A prompt has only a part of wizard: <wizard2> is missing.']);
  });

  it('a region behind another one, where the front one covers', () => {
    let scene = sceneOf('a', 'b');
    scene = changeRegion(scene, scene.regions[0]!.id, { shape: box(0, 64) });
    expect(textsOf(scene)).toEqual([]);
    expect(textsOf({ ...scene, overlap: 'front' })).toEqual(['Region 2 lies wholly behind Region 1 and has no effect.']);
  });

  it('a mask that nothing is painted in, a canvas of a wrong size, a crowd', () => {
    const mask = withRegion(emptyScene(60, 64), newRegion({ kind: 'mask', file: '', strokes: [] }, { prompt: 'a' }));
    expect(textsOf(mask)).toEqual([expect.stringContaining('multiples of 8'), 'Nothing is painted in Region 1.']);
    expect(textsOf(sceneOf('a', 'b', 'c', 'd', 'e', 'f'))).toEqual([expect.stringContaining('6 regions')]);
  });

  it('but not of hidden regions', () => {
    const scene = { ...sceneOf(''), prompt: 'a meadow' };
    expect(textsOf(changeRegion(scene, scene.regions[0]!.id, { visible: false }))).toEqual([]);
  });
});

describe('concepts', () => {
  it('are found by their words', () => {
    expect(conceptIn('a <wizard1> <wizard2> waves', known)?.name).toBe('wizard');
    expect(conceptIn('a sks dog', known)?.name).toBe('dog');
    expect(conceptIn('a sks doghouse', known)).toBeUndefined();
  });

  it('of a fused model come without a file', () => {
    const base = { path: 'fused/1', kind: 'fused', words: ['<wizard1>', '<wizard2>', '<racer1>', '<racer2>'] };
    const list = knownConcepts(files, base);
    expect(list.map(({ name, path }) => [name, path])).toEqual([['wizard', ''], ['racer', ''], ['dog', files[1]!.path]]);
    expect(calledFiles(sceneOf('a <wizard1> <wizard2>', 'a sks dog'), list).map(({ name }) => name)).toEqual(['dog']);
  });

  it('of one file with several are called one by one, and the file is given once', () => {
    const fused = file('fused', ['<wizard1>', '<wizard2>', '<racer1>', '<racer2>']);
    const list = knownConcepts([fused, files[1]!], undefined);
    expect(list.map(({ name }) => name)).toEqual(['wizard', 'racer', 'dog']);
    expect(calledFiles(sceneOf('a <wizard1> <wizard2>', 'a <racer1> <racer2>'), list).map(({ path }) => path)).toEqual([fused.path]);
  });

  it('of files with the same words are one file’s: the fused, the newest, or the one preferred', () => {
    const [wizard] = files;
    const again = file('wizard-2', ['<wizard1>', '<wizard2>']);
    const fused = file('all', ['<wizard1>', '<wizard2>', '<racer1>', '<racer2>']);
    const used = (list: typeof files, preferred?: string[]) => knownConcepts(list, undefined, preferred).map(({ path }) => path);
    expect(used([wizard!, again])).toEqual([again.path]);
    expect(used([wizard!, again, fused])).toEqual([fused.path, fused.path]);
    expect(used([wizard!, again, fused], [wizard!.path])).toEqual([wizard!.path]);
    expect(knownConcepts([wizard!, again], undefined)[0]!.others).toEqual([wizard!.path]);
  });

  it('are exchanged in a prompt, and the rest of it stays', () => {
    const [wizard, dog] = known;
    expect(withConcept('', wizard, known)).toBe('a photo of a <wizard1> <wizard2>');
    expect(withConcept('a <wizard1> <wizard2> in the snow', dog, known)).toBe('a sks dog in the snow');
    expect(withConcept('in the snow', wizard, known)).toBe('in the snow, <wizard1> <wizard2>');
    expect(withConcept('a <wizard1> <wizard2> in the snow', undefined, known)).toBe('a in the snow');
  });
});

describe('layers', () => {
  it('are put in another sequence, within bounds', () => {
    const scene = sceneOf('a', 'b', 'c');
    const prompts = (one: Scene) => one.regions.map(({ prompt }) => prompt).join('');
    expect(prompts(scene)).toBe('cba');
    expect(prompts(moveRegion(scene, scene.regions[0]!.id, 2))).toBe('bac');
    expect(prompts(moveRegion(scene, scene.regions[2]!.id, -1))).toBe('acb');
    expect(prompts(withoutRegion(scene, scene.regions[1]!.id))).toBe('ca');
  });

  it('have colours of their own, as far as there are', () => {
    expect(new Set(sceneOf('a', 'b', 'c', 'd').regions.map(({ color }) => color)).size).toBe(4);
  });
});

describe('layouts', () => {
  it.each(kLayouts.map((layout) => [layout.name, layout] as const))('%s lies on the canvas', (_name, layout) => {
    const scene = withLayout(emptyScene(384, 128), layout);
    expect(scene.regions).toHaveLength(layout.places.length);
    expect(checkScene(scene, known).every(({ text }) => text.endsWith('has no prompt.'))).toBe(true);
  });

  it('keep the prompts that are there', () => {
    const scene = withLayout(sceneOf('one', 'two'), kLayouts[0]!);
    expect(scene.regions.map(({ prompt }) => prompt)).toEqual(['two', 'one']);
  });

  it('come from lines, as in other programs', () => {
    const scene = regionsOfLines(emptyScene(90, 30), 'a cat\n\na dog\na hen');
    expect(scene.regions.map(({ prompt }) => prompt)).toEqual(['a cat', 'a dog', 'a hen']);
    expect(scene.regions[2]!.shape).toEqual({ kind: 'box', box: { top: 0, left: 60, bottom: 30, right: 90 } });
    expect(coverage(scene)).toBe(1);
  });
});

describe('coverage', () => {
  it('is the share of the canvas under regions', () => {
    const scene = withRegion(emptyScene(64, 64), newRegion(box(0, 32)));
    expect(coverage(scene)).toBe(0.5);
    expect(coverage(withRegion(scene, newRegion({ kind: 'background' })))).toBe(1);
  });

  it('of a painted line is its length by the brush', () => {
    const stroke = { kind: 'brush' as const, size: 16, erase: false, points: [[0, 32, 0.5], [64, 32, 0.5]] as [number, number, number][] };
    const scene = withRegion(emptyScene(64, 64), newRegion({ kind: 'mask', file: '', strokes: [stroke] }));
    expect(coverage(scene)).toBeCloseTo(0.25, 1);
  });
});
