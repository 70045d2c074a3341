import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import { api } from '../api/client';
import type { Job } from '../api/types';
import { attempt, capabilities, jobs, models, addJob } from '../state';
import { useStore } from '../store';
import { jobFor } from '../together/identity';
import { Icon } from '../ui/icons';
import { Button } from '../ui/kit';
import { sampleOf, type Sample } from './samples';
import {
  baseRequest, baseScoreRequest, bestStep, measuredPrompt, rulerOf, scoreTitle, stepRequest, type Ruler, type Score,
} from './scores';

/// The scores of a run's samples, and the button that measures them.

const kScores = new Map<number, Score>(); // by evaluation

/// The figures of evaluations that are done, asked for once.
function useScores(evaluations: (Job | undefined)[]): (Score | undefined)[] {
  const [, look] = useState(0);
  const done = evaluations.filter((job) => job?.state === 'done' && !kScores.has(job.id)) as Job[];
  useEffect(() => {
    for (const job of done) {
      void attempt(async () => {
        const { image_alignment: identity, text_alignment: prompt } = await api.report(job.id);
        kScores.set(job.id, { identity: Number(identity), prompt: Number(prompt) });
        look((count) => count + 1);
      });
    }
  }, [done.map((job) => job.id).join()]);
  return evaluations.map((job) => job && kScores.get(job.id));
}

/// One sample for each step, of the prompt that is measured.
function measuredSamples(job: Job, ruler: Ruler): Sample[] {
  const samples = [...new Set(job.previews)].map(sampleOf).filter((sample) => sample !== undefined);
  return samples
    .filter((sample) => sample.prompt === measuredPrompt(ruler))
    .sort((a, b) => a.step - b.step);
}

export function Scores({ job, classWord }: { job: Job; classWord: string }) {
  const all = useStore(jobs);
  const ruler = rulerOf(job, useStore(models), useStore(capabilities), classWord);
  const samples = measuredSamples(job, ruler);
  const steps = samples.map((sample) => ({ sample, job: jobFor(all, scoreTitle(job.id, sample.step)) }));
  const painted = jobFor(all, scoreTitle(job.id, 'pictures of base'));
  const baseJob = jobFor(all, scoreTitle(job.id, 'base'));
  const [base, ...found] = useScores([baseJob, ...steps.map((step) => step.job)]);
  const [asked] = useState(new Set<string>());
  useEffect(() => {
    const request = painted?.state === 'done' && !baseJob && baseScoreRequest(ruler, painted);
    if (!request || asked.has(request.title!)) return;
    asked.add(request.title!);
    void attempt(async () => addJob(await api.start(request)));
  }, [painted?.state, baseJob?.id]);
  const missing = steps.filter((step) => !step.job);
  if (samples.length === 0) return null;
  const start = () =>
    attempt(async () => {
      if (!painted) addJob(await api.start(baseRequest(ruler)));
      for (const { sample } of missing) addJob(await api.start(stepRequest(ruler, sample)));
    });
  const scores = new Map(samples.flatMap(({ step }, index) => (found[index] ? [[step, found[index]] as const] : [])));
  return (
    <div class="stack">
      <div class="row wrap">
        <h2>Which step is best?</h2>
        <span class="soft">by the samples, beside what the base model paints</span>
        <span class="grow" />
        {missing.length > 0 && <Button class="small" icon="check" onClick={() => void start()}>Score {missing.length === 1 ? 'the sample' : `${missing.length} steps`}</Button>}
      </div>
      {missing.length < steps.length && <Table scores={scores} steps={samples.map(({ step }) => step)} base={base} run={job} />}
    </div>
  );
}

function Table(props: { scores: ReadonlyMap<number, Score>; steps: number[]; base: Score | undefined; run: Job }) {
  const { scores, base, run } = props;
  const best = bestStep(scores, base);
  const total = Number(run.progress?.total ?? 0);
  const again = (steps: number) => attempt(async () => addJob(await api.repeat(run.id, { steps })));
  return (
    <table class="scores">
      <thead>
        <tr><th scope="col">Step</th><th scope="col">Like its own pictures</th><th scope="col">Follows the prompt</th><th scope="col"><span class="hidden-name">What to do</span></th></tr>
      </thead>
      <tbody>
        <Row name="base model" score={base} />
        {props.steps.map((step) => (
          <Row key={step} name={String(step)} score={scores.get(step)} best={step === best}>
            {step === best && step < total && (
              <Button class="small" icon="repeat" onClick={() => void again(step)}>Tune again to step {step}</Button>
            )}
          </Row>
        ))}
      </tbody>
    </table>
  );
}

function Row(props: { name: string; score: Score | undefined; best?: boolean; children?: ComponentChildren }) {
  const figure = (value: number | undefined) => (value === undefined ? '…' : value.toFixed(3));
  return (
    <tr class={props.best ? 'best' : ''}>
      <th scope="row">{props.name} {props.best && <span class="tag good"><Icon name="star" size={14} /> best</span>}</th>
      <td class="mono">{figure(props.score?.identity)}</td>
      <td class="mono">{figure(props.score?.prompt)}</td>
      <td>{props.children}</td>
    </tr>
  );
}
