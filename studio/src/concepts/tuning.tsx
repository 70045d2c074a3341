import { useEffect, useState } from 'preact/hooks';

import { api, fileUrl } from '../api/client';
import type { Concept, Job, JobRequest, Options } from '../api/types';
import { OptionsForm } from '../forms/options';
import { withDefaults } from '../forms/schema';
import { ProgressBar, stageOf, StateTag, timeLeft } from '../queue/dock';
import { attempt, capabilities, jobs, models, addJob } from '../state';
import { useStore } from '../store';
import { bytes, duration, stem } from '../ui/format';
import { Icon, type IconName } from '../ui/icons';
import { Button, Copyable, Labelled } from '../ui/kit';
import { LossCurve } from './loss_curve';
import { Samples } from './samples';
import { Scores } from './scores_view';

/// Learning: how long it will take, how it goes, what it has become.

const kOwned = ['config', 'check', 'dry_run', 'data', 'out', 'base', 'words', 'class_word', 'previews', 'fresh'];
const kFirst = ['method', 'steps', 'rank', 'preview_every'];

export function Tuning({ concept, onFraming }: { concept: Concept; onFraming: (framing: Options) => void }) {
  const all = useStore(jobs);
  const own = [...all.values()]
    .filter((job) => job.kind === 'tune' && !job.dry_run && job.options.data === `concepts/${concept.name}`)
    .sort((a, b) => b.id - a.id);
  const [shown, setShown] = useState<number | null>(null);
  const job = own.find((one) => one.id === shown) ?? own[0];
  return (
    <div class="tuning">
      <Start concept={concept} onFraming={onFraming} />
      <div class="stack grow">
        {own.length > 1 && (
          <div class="row wrap" role="group" aria-label="Runs">
            {own.map((one) => (
              <button key={one.id} class="chip" aria-pressed={one === job} onClick={() => setShown(one.id)}>
                run {one.id} <StateTag job={one} />
              </button>
            ))}
          </div>
        )}
        {job ? <Run key={job.id} job={job} classWord={concept.class_word} /> : <NotYet />}
      </div>
    </div>
  );
}

function NotYet() {
  return (
    <div class="not-yet soft">
      <Icon name="concepts" size={28} />
      <p>It has not been tuned yet. The loss curve and the sample pictures appear here, at scale 0, 0.7 and 1 with the same noise, as they come.</p>
    </div>
  );
}

function Start({ concept, onFraming }: { concept: Concept; onFraming: (framing: Options) => void }) {
  const schema = useStore(capabilities)?.jobs.tune;
  const list = useStore(models).filter((model) => model.kind === 'base');
  const [values, setValues] = useState<Options>({});
  const [base, setBase] = useState(list[0]?.path ?? '');
  const [estimate, setEstimate] = useState(0);
  const all = useStore(jobs);
  const chosen = base || list[0]?.path || '';
  const request = (dryRun: boolean): JobRequest => ({
    kind: 'tune', title: concept.name, dry_run: dryRun,
    options: { ...values, data: `concepts/${concept.name}`, ...(chosen ? { base: chosen } : {}) },
  });
  const begin = (dryRun: boolean) =>
    attempt(async () => {
      const job = await api.start(request(dryRun));
      addJob(job);
      if (dryRun) setEstimate(job.id);
    });
  const change = (next: Options) => {
    setValues(next);
    const names = ['framing', 'size', 'crop_probability'].filter((name) => name in next);
    onFraming(Object.fromEntries(names.map((name) => [name, next[name]])));
  };
  const blocked = concept.problems.length > 0;
  return (
    <section class="tune-form" aria-label="Tuning">
      <Labelled label="Base model">
        {(id) => (
          <select id={id} value={chosen} onChange={(event) => setBase(event.currentTarget.value)}>
            {list.map((model) => <option key={model.path} value={model.path}>{stem(model.path)}</option>)}
          </select>
        )}
      </Labelled>
      <OptionsForm schema={withDefaults(schema, list.find((model) => model.path === chosen)?.defaults)} first={kFirst} owned={kOwned} values={values} onChange={change} />
      <p class="hint">What you leave alone is as the base model and the method have it.</p>
      {blocked && <p class="finding error"><Icon name="warning" size={16} />Mend what is wrong with the pictures first.</p>}
      <EstimateNote job={all.get(estimate)} />
      <Button icon="check" disabled={blocked} onClick={() => void begin(true)}>How long, how much memory?</Button>
      <Button kind="primary" class="large" icon="play" disabled={blocked} onClick={() => void begin(false)}>Start tuning</Button>
    </section>
  );
}

export function EstimateNote({ job }: { job: Job | undefined }) {
  if (!job) return null;
  if (job.error) return <p class="wrong">{job.error.message}</p>;
  if (!job.estimate) return <p class="soft" aria-live="polite">Measuring a few steps…</p>;
  const { seconds, memory, measured } = job.estimate;
  return (
    <p class="estimate" aria-live="polite">
      <b>{duration(seconds)}</b> and <b>{bytes(memory)}</b> of memory
      <span class="hint">{measured}</span>
    </p>
  );
}

const kActions: { name: string; label: string; icon: IconName }[] = [
  { name: 'pause', label: 'Pause', icon: 'pause' },
  { name: 'resume', label: 'Go on', icon: 'play' },
  { name: 'save', label: 'Save now', icon: 'download' },
  { name: 'sample', label: 'Sample now', icon: 'picture' },
  { name: 'cancel', label: 'Stop', icon: 'stop' },
  { name: 'repeat', label: 'Repeat', icon: 'repeat' },
];

const kCurveMilliseconds = 4000;

function Run({ job, classWord }: { job: Job; classWord: string }) {
  const [curve, setCurve] = useState<{ steps: number[]; losses: number[] }>({ steps: [], losses: [] });
  const load = () => attempt(async () => setCurve(await api.curve(job.id)));
  useEffect(() => {
    void load();
    if (job.state !== 'running') return;
    const timer = window.setInterval(load, kCurveMilliseconds);
    return () => window.clearInterval(timer);
  }, [job.id, job.state]);
  const act = (action: string) => attempt(async () => void (await api.act(job.id, action)));
  return (
    <section class="stack" aria-label={`Run ${job.id}`}>
      <div class="row wrap">
        <h2>Run {job.id}</h2>
        <StateTag job={job} />
        <span class="soft">{job.state === 'running' ? `${stageOf(job)} · ${timeLeft(job)}` : ''}</span>
        <span class="grow" />
        {kActions.filter(({ name }) => job.can.includes(name)).map(({ name, label, icon }) => (
          <Button key={name} class="small" icon={icon} onClick={() => void act(name)}>{label}</Button>
        ))}
      </div>
      {job.state === 'running' && <ProgressBar job={job} />}
      {job.error && <p class="finding error"><Icon name="warning" size={16} />{job.error.message}</p>}
      {job.note && <p class="finding warning"><Icon name="warning" size={16} />{job.note}</p>}
      <LossCurve steps={curve.steps} losses={curve.losses} total={Number(job.progress?.total ?? job.options.steps ?? 0)} />
      <Samples job={job} />
      <Scores job={job} classWord={classWord} />
      {job.results.length > 0 && (
        <p class="soft">The concept is <a href={fileUrl(job.results[0]!)} download>{job.results[0]}</a>: it is ready on the pages Together and Compose.</p>
      )}
      <details>
        <summary>The command for this</summary>
        <Copyable text={job.command} label="Copy the command" />
      </details>
    </section>
  );
}
