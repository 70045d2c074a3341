import { inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';

import { alphaOf, outlineOf } from '../../src/scene/mask';
import { asMask, boundsOf, emptyScene, resized, shifted, newRegion, withRegion, type Stroke } from '../../src/scene/model';
import { encodeGreyPng } from '../../src/scene/png';

const stroke: Stroke = { kind: 'brush', points: [[20, 30, 0.5], [60, 30, 0.5]], size: 10, erase: false };

describe('masks', () => {
  it('are PNGs of one grey channel with the bytes that were given', async () => {
    const grey = Uint8Array.from({ length: 6 }, (_, at) => at * 50);
    const png = Buffer.from(await encodeGreyPng(grey, 3, 2));
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect([png.readUInt32BE(16), png.readUInt32BE(20), png[24], png[25]]).toEqual([3, 2, 8, 0]);
    const length = png.readUInt32BE(33);
    expect(png.subarray(37, 41).toString()).toBe('IDAT');
    const rows = inflateSync(png.subarray(41, 41 + length));
    expect([...rows]).toEqual([0, 0, 50, 100, 0, 150, 200, 250]);
  });

  it('carry the check sum that PNG readers ask for', async () => {
    const png = Buffer.from(await encodeGreyPng(new Uint8Array(1), 1, 1));
    expect(png.readUInt32BE(png.length - 4)).toBe(0xae426082); // of every IEND
  });

  it('are what covers, not what is white', () => {
    expect([...alphaOf(Uint8ClampedArray.from([9, 9, 9, 255, 255, 255, 255, 0]))]).toEqual([255, 0]);
  });

  it('have the width of the brush', () => {
    const ys = outlineOf(stroke).map(([, y]) => y);
    expect(Math.max(...ys) - Math.min(...ys)).toBeCloseTo(10, 0);
  });

  it('reach as far as the brush, and not off the canvas', () => {
    const scene = emptyScene(64, 64);
    const bounds = boundsOf({ kind: 'mask', file: '', strokes: [stroke] }, scene);
    expect(bounds).toEqual({ top: 25, left: 15, bottom: 35, right: 64 });
  });

  it('begin as the shape that they were made of', () => {
    const mask = asMask({ kind: 'box', box: { top: 8, left: 0, bottom: 64, right: 32 } });
    expect(boundsOf(mask, emptyScene(64, 64))).toEqual({ top: 8, left: 0, bottom: 64, right: 32 });
    expect(asMask(mask)).toBe(mask);
  });

  it('grow with the canvas', () => {
    const scene = withRegion(emptyScene(64, 64), newRegion({ kind: 'mask', file: '', strokes: [stroke] }));
    const shape = resized(scene, 128, 128).regions[0]!.shape;
    expect(shape.kind === 'mask' && shape.strokes[0]).toMatchObject({ size: 20, points: [[40, 60, 0.5], [120, 60, 0.5]] });
  });
});

describe('shapes', () => {
  it('stay on the canvas when they are moved', () => {
    const scene = emptyScene(64, 64);
    const box = { kind: 'box' as const, box: { top: 0, left: 40, bottom: 32, right: 64 } };
    expect(shifted(box, 8, -8, scene)).toEqual(box);
    expect(boundsOf(shifted(box, -100, 100, scene), scene)).toEqual({ top: 32, left: 0, bottom: 64, right: 24 });
  });
});
