import { useEffect, useState } from 'preact/hooks';

import { api, fileUrl } from '../api/client';
import type { Concept, Job, JobRequest, Options } from '../api/types';
import { kTuneGroups } from '../forms/groups';
import { OptionsForm } from '../forms/options';
import { withDefaults } from '../forms/schema';
import { ProgressBar, stageOf, StateTag, timeLeft } from '../queue/dock';
import { attempt, capabilities, jobs, models, addJob, say } from '../state';
import { useStore } from '../store';
import { bytes, duration, stem } from '../ui/format';
import { Icon, type IconName } from '../ui/icons';
import { Button, Copyable, Labelled } from '../ui/kit';
import { LossCurve } from './loss_curve';
import { defaultsFor, methodOf, takenAlong } from './method';
import { Samples } from './samples';
import { optionOf } from './scores';
import { Scores } from './scores_view';
import { differencesOf, isConflict, isInTheWay, reasonOf, stepsOf, stoppedRun, type Difference } from './stopped';

/// Learning: how long it will take, how it goes, what it has become.

const kOwned = ['config', 'check', 'dry_run', 'data', 'out', 'base', 'words', 'class_word', 'previews', 'fresh'];
const kFirst = ['method', 'steps', 'rank', 'preview_every'];

interface TuningProps {
  concept: Concept;
  values: Options;
  onValues: (values: Options) => void;
}

export function Tuning(props: TuningProps) {
  const { concept } = props;
  const all = useStore(jobs);
  const own = [...all.values()]
    .filter((job) => job.kind === 'tune' && !job.dry_run && job.options.data === `concepts/${concept.name}`)
    .sort((a, b) => b.id - a.id);
  const [shown, setShown] = useState<number | null>(null);
  const job = own.find((one) => one.id === shown) ?? own[0];
  const numberOf = (one: Job) => own.length - own.indexOf(one);
  return (
    <div class="tuning">
      <Start {...props} own={own} onStarted={() => setShown(null)} />
      <div class="stack grow">
        {own.length > 1 && (
          <div class="row wrap" role="group" aria-label="Runs">
            {own.map((one) => (
              <button key={one.id} class="chip" aria-pressed={one === job} onClick={() => setShown(one.id)}>
                run {numberOf(one)} <StateTag job={one} />
              </button>
            ))}
          </div>
        )}
        {job ? (
          <Run
            key={job.id} job={job} number={numberOf(job)} classWord={concept.class_word} onStarted={() => setShown(null)}
            onSettings={() => props.onValues(settingsOf(job))}
          />
        ) : (
          <NotYet />
        )}
      </div>
    </div>
  );
}

/// What a run was started with, as far as the form has it.
function settingsOf(job: Job): Options {
  return Object.fromEntries(Object.entries(job.options).filter(([name]) => !kOwned.includes(name) || name === 'base'));
}

/// Samples come four times on the way, so that it can be watched.
function quarterOf(steps: unknown): number {
  return Math.max(1, Math.round((Number(steps) || 0) / 4));
}

function NotYet() {
  return (
    <div class="not-yet soft">
      <Icon name="concepts" size={28} />
      <p>It has not been tuned yet. The loss curve and the sample pictures appear here, at scale 0, 0.7 and 1 with the same noise, as they come.</p>
    </div>
  );
}

function Start(props: TuningProps & { own: Job[]; onStarted: () => void }) {
  const { concept, own } = props;
  const { base, ...values } = props.values;
  const known = useStore(capabilities);
  const schema = known?.jobs.tune;
  const help = known?.methods?.help?.tune;
  const list = useStore(models).filter((model) => model.kind === 'base');
  const [estimate, setEstimate] = useState(0);
  const all = useStore(jobs);
  const chosen = list.find((model) => model.path === base)?.path ?? list[0]?.path ?? '';
  const ofBase = list.find((model) => model.path === chosen)?.defaults;
  const told = withDefaults(schema, defaultsFor(methodOf(values, ofBase, schema), ofBase));
  const quarter = { preview_every: quarterOf(values.steps ?? told?.properties.steps?.default) };
  const options: Options = { ...quarter, ...values, data: `concepts/${concept.name}`, ...(chosen ? { base: chosen } : {}) };
  const [busy, setBusy] = useState(false);
  const [conflict, setConflict] = useState('');
  const stopped = stoppedRun(own);
  useEffect(() => { // they were of other settings
    setConflict('');
    setEstimate(0);
  }, [concept.name, JSON.stringify(props.values)]);
  /// The server looks at every picture first. That a checkpoint is in the way is asked, not reported.
  const begin = async (request: Partial<JobRequest>) => {
    setBusy(true);
    const job = await attempt(async () => {
      try {
        return await api.start({ kind: 'tune', title: concept.name, options, ...request });
      } catch (error) {
        if (!(error instanceof Error && isConflict(error.message))) throw error;
        setConflict(error.message);
      }
    });
    setBusy(false);
    if (!job) return false;
    addJob(job);
    if (job.dry_run) setEstimate(job.id);
    else props.onStarted();
    return true;
  };
  const start = () => begin({});
  const anew = async () => {
    setConflict('');
    const begun = await begin({ options: { ...options, fresh: true } });
    if (begun && stopped?.can.includes('cancel')) await attempt(() => api.act(stopped.id, 'cancel')); // a paused one has nothing to go on from
  };
  const hasProblems = concept.problems.length > 0;
  const blocked = hasProblems || busy;
  return (
    <section class="tune-form" aria-label="Tuning">
      <Labelled label="Base model">
        {(id) => (
          <select id={id} value={chosen} onChange={(event) => props.onValues({ ...values, base: event.currentTarget.value })}>
            {list.map((model) => <option key={model.path} value={model.path}>{stem(model.path)}</option>)}
          </select>
        )}
      </Labelled>
      <OptionsForm
        schema={withDefaults(told, quarter)} first={kFirst} owned={kOwned} groups={kTuneGroups} values={values}
        choiceHelp={{ method: help }}
        onChange={(next) => props.onValues({ ...takenAlong(values, next, schema), ...(base ? { base } : {}) })}
      />
      <p class="hint">What you leave alone is as the base model and the method have it.</p>
      <div class="form-foot">
        {hasProblems && <p class="finding error"><Icon name="warning" size={16} />{concept.pictures.length === 0 ? 'Bring pictures of it first.' : 'Mend what is wrong with the pictures first.'}</p>}
        <EstimateNote job={all.get(estimate)} />
        <Button icon="check" disabled={blocked} onClick={() => void begin({ dry_run: true })}>How long, how much memory?</Button>
        {conflict ? (
          <>
            <p class="finding warning" role="note"><Icon name="warning" size={16} /><span>{kInTheWay} {reasonOf(conflict)}</span></p>
            <Button kind="primary" class="large" icon="repeat" disabled={blocked} onClick={() => void anew()}>Start anew</Button>
          </>
        ) : stopped ? (
          <AfterStop blocked={blocked} onStart={() => void start()} onAnew={() => void anew()} job={stopped} number={own.length - own.indexOf(stopped)} differences={differencesOf(told, stopped.options, options)} />
        ) : (
          <Button kind="primary" class="large" icon="play" busy={busy} disabled={blocked} onClick={() => void start()}>Start tuning</Button>
        )}
      </div>
    </section>
  );
}

/// A stopped run's checkpoint lies where the next run would begin: said before anything is queued.
function AfterStop(props: { job: Job; number: number; differences: Difference[]; blocked: boolean; onStart: () => void; onAnew: () => void }) {
  const { job, number, differences, blocked } = props;
  const steps = stepsOf(job);
  const isSame = differences.length === 0;
  const goOn = isSame && !job.can.includes('resume') ? props.onStart : () => void goOnWith(job);
  return (
    <>
      <div class="finding warning" role="note">
        <Icon name="warning" size={16} />
        <span>
          Run {number} was stopped, {steps} are kept.
          {!isSame && ` It had ${differences.slice(0, kShownDifferences).map(({ label, before, now }) => `${label} ${before || 'empty'} instead of ${now || 'empty'}`).join(', ')}${differences.length > kShownDifferences ? ', and more' : ''}: it can only go on with its own settings.`}
        </span>
      </div>
      <Button kind="primary" class="large" icon="play" disabled={blocked} onClick={goOn}>
        {isSame ? `Go on with run ${number}` : 'Go on with its settings'}
      </Button>
      <Button icon="repeat" disabled={blocked} title={`What run ${number} has learned is given up.`} onClick={props.onAnew}>
        {isSame ? 'Start anew' : 'Start anew with these settings'}
      </Button>
    </>
  );
}

const kShownDifferences = 3;
const kInTheWay = 'A run with other settings, or on other pictures or captions, was stopped here before, and its steps are kept.';

/// Takes a run up where it stopped, as it was asked for.
function goOnWith(job: Job) {
  return attempt(async () => {
    if (job.can.includes('resume')) await api.act(job.id, 'resume');
    else addJob(await api.repeat(job.id, { fresh: false }));
  });
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

/// What is done at the next step says so at once.
const kAsked: Record<string, string> = {
  pause: 'It pauses after the step that it is at.',
  save: 'Its steps are saved after the one that it is at.',
  sample: 'Sample pictures come after the step that it is at.',
};

/// A paused run keeps the places of what it cannot do: under the mouse that paused it no other button appears.
function actionsOf({ can }: Job) {
  return kActions.filter(({ name }) => can.includes(name) || (can.includes('resume') && (name === 'save' || name === 'sample')));
}

const kCurveMilliseconds = 4000;

interface RunProps {
  job: Job;
  number: number; ///< Among those of its concept, from 1.
  classWord: string;
  onStarted: () => void;
  onSettings: () => void;
}

function Run({ job, number, classWord, onStarted, onSettings }: RunProps) {
  const [curve, setCurve] = useState<{ steps: number[]; losses: number[] }>({ steps: [], losses: [] });
  const load = () => attempt(async () => setCurve(await api.curve(job.id)));
  useEffect(() => {
    void load();
    if (job.state !== 'running') return;
    const timer = window.setInterval(load, kCurveMilliseconds);
    return () => window.clearInterval(timer);
  }, [job.id, job.state]);
  const list = useStore(models);
  const told = useStore(capabilities);
  const act = (action: string) =>
    attempt(async () => {
      await api.act(job.id, action);
      if (kAsked[action]) say(kAsked[action]);
    });
  const anew = () =>
    attempt(async () => {
      addJob(await api.repeat(job.id, { fresh: true }));
      onStarted();
    });
  return (
    <section class="stack" aria-label={`Run ${number}`}>
      <div class="row wrap">
        <h2>Run {number}</h2>
        <StateTag job={job} />
        <span class="soft">{job.state === 'running' && [stageOf(job), timeLeft(job)].filter(Boolean).join(' · ')}</span>
        <span class="grow" />
        {job.state !== 'running' && job.state !== 'queued' && (
          <Button class="small" icon="undo" title="What this run was started with, into the form" onClick={onSettings}>Use its settings</Button>
        )}
        {actionsOf(job).map(({ name, label, icon }) => (
          <Button key={name} class="small" icon={icon} disabled={!job.can.includes(name)} onClick={() => void act(name)}>{label}</Button>
        ))}
      </div>
      {job.state === 'running' && <ProgressBar job={job} />}
      {isInTheWay(job) && (
        <div class="finding error">
          <Icon name="warning" size={16} />
          <span>{kInTheWay} {reasonOf(job.error?.message ?? '')}</span>
          <Button class="small" icon="repeat" onClick={() => void anew()}>Start anew</Button>
        </div>
      )}
      {job.error && !isInTheWay(job) && <p class="finding error"><Icon name="warning" size={16} />{job.error.message}</p>}
      {job.note && <p class="finding warning"><Icon name="warning" size={16} />{job.note}</p>}
      <LossCurve steps={curve.steps} losses={curve.losses} total={Number(optionOf(job, 'steps', list, told) ?? 0)} />
      <Samples job={job} />
      <Scores job={job} classWord={classWord} />
      {job.results.length > 0 && (
        <p class="soft">The concept is <a href={fileUrl(job.results[0]!)} download>{job.results[0]}</a>: it is ready on the pages <a href="#/together">Together</a> and <a href="#/compose">Compose</a>.</p>
      )}
      <details>
        <summary>The command for this</summary>
        <Copyable text={job.command} label="Copy the command" />
      </details>
    </section>
  );
}
