import { kRegionColors, newRegion, type Region, type Scene, type Shape } from './model';

/// Places to begin with, as shares of whatever canvas there is.

export interface Layout {
  name: string;
  note: string;
  places: { name: string; box?: [number, number, number, number]; polygon?: [number, number][] }[];
}

export const kLayouts: Layout[] = [
  {
    name: 'Side by side',
    note: 'two, each on a side',
    places: [
      { name: 'left', box: [0.08, 0.02, 1, 0.49] },
      { name: 'right', box: [0.08, 0.51, 1, 0.98] },
    ],
  },
  {
    name: 'Three in a row',
    note: 'for a wide canvas',
    places: [
      { name: 'left', box: [0.06, 0.02, 1, 0.32] },
      { name: 'middle', box: [0.06, 0.35, 1, 0.65] },
      { name: 'right', box: [0.06, 0.68, 1, 0.98] },
    ],
  },
  {
    name: 'One before the other',
    note: 'a large one behind, a small one in front',
    places: [
      { name: 'front', box: [0.45, 0.52, 1, 0.96] },
      { name: 'behind', box: [0.05, 0.08, 1, 0.66] },
    ],
  },
  {
    name: 'Figure and object',
    note: 'somebody, with something beside',
    places: [
      { name: 'figure', box: [0.05, 0.05, 1, 0.58] },
      { name: 'object', box: [0.5, 0.6, 1, 0.97] },
    ],
  },
  {
    name: 'Sky and ground',
    note: 'two bands with a slanted border',
    places: [
      { name: 'sky', polygon: [[0, 0], [0, 1], [0.42, 1], [0.56, 0]] },
      { name: 'ground', polygon: [[0.56, 0], [0.42, 1], [1, 1], [1, 0]] },
    ],
  },
];

/// The scene with the places of `layout`; prompts and names of the regions that were there are kept
/// in their sequence, as far as there are places.
export function withLayout(scene: Scene, layout: Layout): Scene {
  const before = scene.regions.filter((region) => region.shape.kind !== 'background');
  const rest = scene.regions.filter((region) => region.shape.kind === 'background');
  const regions = layout.places.map((place, index): Region => {
    const shape = shapeOf(place, scene);
    const old = before[index];
    if (old) return { ...old, shape };
    return newRegion(shape, { name: place.name, color: index % kRegionColors });
  });
  return { ...scene, regions: [...regions, ...rest] };
}

function shapeOf(place: Layout['places'][number], scene: Scene): Shape {
  const snap = (share: number, side: number) => Math.round((share * side) / 8) * 8;
  if (place.polygon) {
    const points = place.polygon.map(([y, x]) => ({ x: snap(x, scene.width), y: snap(y, scene.height) }));
    return { kind: 'polygon', points };
  }
  const [top, left, bottom, right] = place.box!;
  return {
    kind: 'box',
    box: {
      top: snap(top, scene.height),
      left: snap(left, scene.width),
      bottom: snap(bottom, scene.height),
      right: snap(right, scene.width),
    },
  };
}

/// Regions in a row, one for each line of text, as in Forge Couple's basic mode.
export function regionsOfLines(scene: Scene, text: string): Scene {
  const lines = text.split('\n').map((line) => line.trim()).filter(Boolean);
  const regions = lines.map((prompt, index) =>
    newRegion(
      {
        kind: 'box',
        box: {
          top: 0,
          left: Math.round((scene.width * index) / lines.length),
          bottom: scene.height,
          right: Math.round((scene.width * (index + 1)) / lines.length),
        },
      },
      { prompt, color: index % kRegionColors },
    ),
  );
  return { ...scene, regions };
}
