import { kRegionColors } from '../scene/model';

/// The colours of the style sheet as values for a canvas.
export interface Palette {
  regions: string[];
  surface: string;
  ink: string;
  line: string;
  focus: string;
}

export function readPalette(): Palette {
  const probe = document.createElement('span');
  document.body.append(probe);
  const read = (name: string) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const regions = Array.from({ length: kRegionColors }, (_, index) => read(`region-${index}`));
  const palette = {
    regions,
    surface: read('raised'),
    ink: read('ink'),
    line: read('line'),
    focus: read('focus'),
  };
  probe.remove();
  return palette;
}

/// `color` with an alpha of its own: "rgb(1, 2, 3)" → "rgb(1 2 3 / 0.2)".
export function faded(color: string, alpha: number): string {
  const numbers = color.match(/[\d.]+/g)?.slice(0, 3) ?? ['0', '0', '0'];
  return `rgb(${numbers.join(' ')} / ${alpha})`;
}
