import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import { theme } from '../theme';
import { useStore } from '../store';

/// The smoothed loss over the steps.

const kHeight = 180;

export function LossCurve(props: { steps: number[]; losses: number[]; total: number }) {
  const { steps, losses, total } = props;
  const box = useRef<HTMLDivElement>(null);
  const colors = useStore(theme);
  useEffect(() => {
    const element = box.current;
    if (!element || steps.length < 2) return;
    const style = getComputedStyle(element);
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: kHeight,
        legend: { show: false },
        cursor: { y: false },
        scales: { x: { time: false, range: [0, Math.max(total, steps[steps.length - 1]!)] } },
        axes: [axis(style.color, 36), axis(style.color, 52)],
        series: [{}, { stroke: style.accentColor, width: 1.75, points: { show: false } }],
      },
      [steps, losses],
      element,
    );
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: kHeight }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [steps, losses, total, colors]);
  if (steps.length < 2) return null;
  const last = losses[losses.length - 1]!;
  return (
    <figure>
      <div class="curve" ref={box} role="img" aria-label={`Loss over ${steps.length} points, ${last.toFixed(4)} at the end`} />
      <figcaption class="hint">Loss by step, smoothed; now {last.toFixed(4)}. It says whether tuning is steady, not which step is best: look at the samples for that.</figcaption>
    </figure>
  );
}

function axis(color: string, size: number): uPlot.Axis {
  const faint = color.replace(')', ' / 0.16)').replace(/rgb\((.*)\)/, 'rgb($1)').replace(/,/g, '');
  return { stroke: color, size, grid: { stroke: faint, width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
}
