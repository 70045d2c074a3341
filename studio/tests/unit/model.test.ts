import { describe, expect, it } from 'vitest';

import { canvasSide, clampBox, cutBox, onCanvas, resized, emptyScene, newRegion, withRegion } from '../../src/scene/model';

const canvas = { width: 384, height: 128 };

describe('boxes', () => {
  it('that are moved over an edge keep their size', () => {
    expect(clampBox({ left: -40, top: 100, right: 24, bottom: 164 }, canvas)).toEqual({ left: 0, top: 64, right: 64, bottom: 128 });
  });

  it('that are pulled over an edge end there', () => {
    expect(cutBox({ left: 300, top: -8, right: 900, bottom: 64 }, canvas)).toEqual({ left: 300, top: 0, right: 384, bottom: 64 });
  });

  it('have an area wherever they are pulled', () => {
    expect(cutBox({ left: 400, top: 16, right: 500, bottom: 16 }, canvas)).toEqual({ left: 376, top: 16, right: 384, bottom: 24 });
  });

  it('stay on a canvas that becomes smaller', () => {
    const box = { left: 8, top: 0, right: 384, bottom: 128 };
    const scene = withRegion(emptyScene(384, 128), newRegion({ kind: 'box', box }));
    const { regions } = resized(scene, 64, 64);
    expect(regions[0]!.shape).toEqual({ kind: 'box', box: { left: 8 / 6, top: 0, right: 64, bottom: 64 } });
  });
});

describe('a point', () => {
  it('outside the canvas is brought to its edge', () => {
    expect(onCanvas({ x: -3, y: 700 }, canvas)).toEqual({ x: 0, y: 128 });
  });
});

describe('a side of the canvas', () => {
  it('is a multiple of 8 that pictures can have', () => {
    expect([100, -5, 1e6, 512].map(canvasSide)).toEqual([104, 64, 4096, 512]);
  });
});
