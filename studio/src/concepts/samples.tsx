import { useState } from 'preact/hooks';

import { fileUrl } from '../api/client';
import type { Job } from '../api/types';
import { capabilities, models } from '../state';
import { useStore } from '../store';
import { Dialog, Segments } from '../ui/kit';
import { optionOf } from './scores';

/// Sample pictures of a run: for each prompt and step one file, whose rows are the scales.

export interface Sample {
  step: number;
  prompt: number;
  path: string;
}

/// "…/step-000300-1.png" → step 300, prompt 1. Other names are no samples.
export function sampleOf(path: string): Sample | undefined {
  const match = /step-(\d+)-(?:.*-)?(\d+)\.png$/.exec(path);
  return match ? { step: Number(match[1]), prompt: Number(match[2]), path } : undefined;
}

export function Samples({ job }: { job: Job }) {
  const [prompt, setPrompt] = useState(1);
  const [open, setOpen] = useState<Sample | null>(null);
  const list = useStore(models);
  const told = useStore(capabilities);
  const samples = [...new Set(job.previews)].map(sampleOf).filter((sample) => sample !== undefined);
  if (samples.length === 0) return null;
  const prompts = [...new Set(samples.map((sample) => sample.prompt))].sort((a, b) => a - b);
  const current = prompts.includes(prompt) ? prompt : prompts[0]!;
  const given = optionOf(job, 'preview_prompts', list, told) as string[] | undefined;
  const scales = (optionOf(job, 'preview_scales', list, told) as number[] | undefined) ?? [];
  const shown = samples.filter((sample) => sample.prompt === current).sort((a, b) => a.step - b.step);
  return (
    <>
      <div class="row wrap">
        <h2>Samples</h2>
        <span class="soft">rows: scale {scales.join(', ')}; always the same noise</span>
        {prompts.length > 1 && (
          <Segments
            label="Prompt" value={String(current)} onChange={(value) => setPrompt(Number(value))}
            choices={prompts.map((number) => ({ value: String(number), label: given?.[number - 1] ?? `prompt ${number}` }))}
          />
        )}
      </div>
      <div class="samples" tabIndex={0} role="group" aria-label="Sample pictures by step">
        {shown.map((sample) => (
          <button key={sample.path} class="sample" aria-label={`Samples after step ${sample.step}`} onClick={() => setOpen(sample)}>
            <img src={fileUrl(sample.path)} alt="" loading="lazy" />
            <span class="mono">step {sample.step}</span>
          </button>
        ))}
      </div>
      {open && (
        <Dialog title={`After step ${open.step}`} wide onClose={() => setOpen(null)}>
          <img src={fileUrl(open.path)} alt={`Samples after step ${open.step}`} style={{ width: '100%' }} />
        </Dialog>
      )}
    </>
  );
}
