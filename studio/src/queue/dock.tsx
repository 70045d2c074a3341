import { useLayoutEffect, useRef, useState } from 'preact/hooks';

import { api, fileUrl, thumbnailUrl } from '../api/client';
import type { Job } from '../api/types';
import { optionOf } from '../concepts/scores';
import { route } from '../route';
import { attempt, capabilities, forgetJob, jobs, link, addJob, models, queued, queueOrder, startFailure } from '../state';
import { useStore } from '../store';
import { duration, when } from '../ui/format';
import { Icon, type IconName } from '../ui/icons';
import { isDialogOpen } from '../ui/keys';
import { Copyable, Dialog, IconButton } from '../ui/kit';

/// What the machine is doing, in sight on every page.

const kKindIcons: Record<string, IconName> = {
  tune: 'concepts', fuse: 'together', sample: 'compose', condition: 'picture', convert: 'repeat',
  evaluate: 'check',
};
const kRecentShown = 12;
const kLinkTexts = {
  live: 'Connected', polling: 'Connected, asking', offline: 'No connection, trying again',
};

export function Dock() {
  const all = useStore(jobs);
  const order = useStore(queueOrder);
  const state = useStore(link);
  const isLocked = useStore(startFailure)?.status === 401;
  const [open, setOpen] = useState(false);
  const drawer = useRef<HTMLElement>(null);
  const page = useStore(route);
  const waiting = queued(all, order);
  const first = waiting[0];
  useLayoutEffect(() => setOpen(false), [page.page]);
  useLayoutEffect(() => (open ? closeOnLeaving(drawer.current!, () => setOpen(false)) : undefined), [open]);
  return (
    <section class="dock" aria-label="Queue" ref={drawer}>
      <div class="dock-strip">
        {first ? <Now job={first} /> : <Idle all={all} />}
        {waiting.length > 1 && <span class="tag wide-only">{waiting.length - 1} waiting</span>}
        <span class={`link ${state} ${state === 'live' ? 'wide-only' : ''}`} role="status">
          {isLocked ? 'Waiting for the token' : kLinkTexts[state]}
        </span>
        <IconButton
          icon={open ? 'down' : 'up'} label={open ? 'Close the queue' : 'Open the queue'} keys="Q"
          aria-expanded={open} data-queue-toggle onClick={() => setOpen(!open)}
        />
      </div>
      {open && <List waiting={waiting} all={all} />}
    </section>
  );
}

/// It lies over the page, so it goes when somebody turns to the page again.
function closeOnLeaving(drawer: HTMLElement, close: () => void) {
  const outside = ({ target }: Event) => {
    if (target instanceof Element && !drawer.contains(target) && !target.closest('dialog, .toasts')) close();
  };
  const escape = (event: KeyboardEvent) => {
    if (event.key === 'Escape' && !isDialogOpen()) close();
  };
  document.addEventListener('pointerdown', outside);
  document.addEventListener('keydown', escape);
  return () => {
    document.removeEventListener('pointerdown', outside);
    document.removeEventListener('keydown', escape);
  };
}

function Idle({ all }: { all: ReadonlyMap<number, Job> }) {
  const paused = [...all.values()].filter((job) => ['paused', 'interrupted'].includes(job.state));
  return (
    <div class="dock-job soft">
      {paused.length > 0 ? `Idle, ${paused.length} stopped half-way` : 'Nothing is waiting'}
    </div>
  );
}

function Now({ job }: { job: Job }) {
  const running = job.state === 'running';
  return (
    <div class="dock-job">
      <Thumb job={job} />
      <span class="clip" style={{ fontWeight: 530, minWidth: 40 }}>{job.title}</span>
      <span class="soft wide-only">{running ? stageOf(job) : 'starts soon'}</span>
      <ProgressBar job={job} />
      <span class="dock-time">{timeLeft(job)}</span>
      {job.can.includes('cancel') && (
        <IconButton icon="stop" label={`Cancel ${job.title}`} onClick={() => act(job, 'cancel')} />
      )}
    </div>
  );
}

function List({ waiting, all }: { waiting: Job[]; all: ReadonlyMap<number, Job> }) {
  const ended = [...all.values()]
    .filter((job) => !waiting.includes(job))
    .sort((a, b) => b.id - a.id)
    .slice(0, kRecentShown);
  const running = waiting.filter((job) => job.state === 'running').length;
  return (
    <div class="dock-list">
      <h3>In the queue</h3>
      {waiting.length === 0 && <p class="soft" style={{ padding: '2px 10px' }}>Empty. What you start appears here.</p>}
      <ul>{waiting.map((job, index) => <Row key={job.id} job={job} place={index - running} last={waiting.length - 1 - running} />)}</ul>
      {ended.length > 0 && <h3>Before</h3>}
      <ul>{ended.map((job) => <Row key={job.id} job={job} />)}</ul>
    </div>
  );
}

/// `place` is that among those that wait, of which the last one has place `last`.
function Row({ job, place, last = 0 }: { job: Job; place?: number; last?: number }) {
  const [shown, setShown] = useState(false);
  const can = (action: string) => job.can.includes(action);
  const move = (by: number) => act(job, 'move', { position: (place ?? 0) + by });
  return (
    <li class="job">
      <Thumb job={job} />
      <div class="grow">
        <button class="job-title clip" style={kPlainButton} onClick={() => setShown(true)}>
          <span class="clip">{job.title}</span>
          <StateTag job={job} />
        </button>
        <div class="job-note">{noteOf(job)}</div>
        {job.state === 'running' && <ProgressBar job={job} />}
      </div>
      <div class="row" style={{ gap: 0 }}>
        {can('move') && place !== undefined && (
          <>
            <IconButton icon="up" label={`Move ${job.title} up`} disabled={place === 0} onClick={() => move(-1)} />
            <IconButton icon="down" label={`Move ${job.title} down`} disabled={place === last} onClick={() => move(1)} />
          </>
        )}
        {can('pause') && <IconButton icon="pause" label={`Pause ${job.title}`} onClick={() => act(job, 'pause')} />}
        {can('resume') && <IconButton icon="play" label={`Go on with ${job.title}`} onClick={() => act(job, 'resume')} />}
        {can('repeat') && <IconButton icon="repeat" label={`Repeat ${job.title}`} onClick={() => repeat(job)} />}
        {can('cancel') && <IconButton icon="stop" label={`Cancel ${job.title}`} onClick={() => act(job, 'cancel')} />}
        {can('delete') && <IconButton icon="close" label={`Take ${job.title} off the list`} onClick={() => remove(job)} />}
      </div>
      {shown && <Details job={job} onClose={() => setShown(false)} />}
    </li>
  );
}

const kPlainButton = { background: 'none', border: 0, padding: 0, cursor: 'pointer', maxWidth: '100%' };

function Details({ job, onClose }: { job: Job; onClose: () => void }) {
  const [lines, setLines] = useState<{ level: string; message: string }[] | null>(null);
  if (lines === null) {
    setLines([]);
    void attempt(async () => setLines(await api.log(job.id)));
  }
  return (
    <Dialog title={job.title} onClose={onClose}>
      <div class="row wrap">
        <StateTag job={job} />
        <span class="soft">{when(job.created)}</span>
        <span class="soft">{job.device}</span>
      </div>
      {job.error && <p class="wrong">{job.error.message}</p>}
      {job.note && <p>{job.note}</p>}
      <h3>The command for this</h3>
      <Copyable text={job.command} label="Copy the command" />
      {lines && lines.length > 0 && (
        <>
          <h3>What it said</h3>
          <ul class="stack" style={{ gap: 4 }}>
            {lines.map((line, at) => (
              <li key={at} class={line.level === 'warning' ? 'row' : 'row soft'} style={{ alignItems: 'flex-start' }}>
                {line.level === 'warning' && <Icon name="warning" size={16} />}
                <span>{line.message}</span>
              </li>
            ))}
          </ul>
        </>
      )}
    </Dialog>
  );
}

export function StateTag({ job }: { job: Job }) {
  const kind = { failed: 'wrong', interrupted: 'warning', paused: 'warning', done: 'good' }[
    job.state as string
  ];
  return <span class={`tag ${kind ?? ''}`}>{job.dry_run ? `estimate ${job.state}` : job.state}</span>;
}

function Thumb({ job }: { job: Job }) {
  const preview = job.previews[job.previews.length - 1];
  const result = job.results.find((path) => path.endsWith('.png'));
  const path = job.state === 'running' ? preview : (result ?? preview);
  if (!path || job.dry_run) {
    return <span class="thumb" style={{ display: 'grid', placeItems: 'center' }}><Icon name={kKindIcons[job.kind] ?? 'picture'} /></span>;
  }
  const urlOf = path === result ? thumbnailUrl : fileUrl; // a preview is another picture every moment
  return <img class="thumb" src={urlOf(path, String(job.previews.length))} alt="" />;
}

export function ProgressBar({ job }: { job: Job }) {
  const share = shareOf(job);
  const known = share !== null;
  return (
    <div
      class={known || job.state !== 'running' ? 'bar' : 'bar unknown'} role="progressbar"
      aria-label={`Progress of ${job.title}`} aria-valuemin={0} aria-valuemax={100}
      {...(known ? { 'aria-valuenow': Math.round(share * 100) } : {})}
    >
      <i style={known ? { width: `${share * 100}%` } : job.state === 'running' ? {} : { width: 0 }} />
    </div>
  );
}

/// Of the stage at work; null where that has no known end, or is no step on the way to the job's.
export function shareOf(job: Job): number | null {
  const progress = job.progress;
  if (progress?.stage === kSamples) return null;
  return progress?.total ? Math.min(1, progress.step / progress.total) : null;
}

export function stageOf(job: Job): string {
  const progress = job.progress;
  if (!progress) return 'starting';
  if (samplesAreDue(job)) return `${kSamples} after step ${progress.step}`;
  return progress.total ? `${progress.stage} ${progress.step}/${progress.total}` : progress.stage;
}

const kSamples = 'painting samples';

/// Until the first row of its samples is painted, a tuning stands at the step after which they are due.
function samplesAreDue(job: Job): boolean {
  const { progress } = job;
  if (job.kind !== 'tune' || job.dry_run || job.state !== 'running' || progress?.stage !== 'tuning' || !progress.step) return false;
  const option = (name: string) => Number(optionOf(job, name, models.get(), capabilities.get()) ?? 0);
  if (option('preview_pictures') === 0) return false;
  const every = option('preview_every');
  return progress.step === progress.total || (every > 0 && progress.step % every === 0);
}

export function timeLeft(job: Job): string {
  if (job.progress?.stage === kSamples || samplesAreDue(job)) return ''; // theirs is not that of the job
  const left = job.progress?.left;
  return left === null || left === undefined ? '' : `${duration(left)} left`;
}

function noteOf(job: Job): string {
  if (job.error) return job.error.message;
  if (job.note) return job.note;
  if (job.state === 'running') return [stageOf(job), timeLeft(job)].filter(Boolean).join(' · ');
  if (job.estimate) return `about ${duration(job.estimate.seconds)}`;
  return when(job.ended ?? job.created);
}

function act(job: Job, action: string, body?: unknown) {
  return attempt(async () => void (await api.act(job.id, action, body)));
}

function repeat(job: Job) {
  return attempt(async () => addJob(await api.repeat(job.id)));
}

function remove(job: Job) {
  return attempt(async () => {
    await api.removeJob(job.id);
    forgetJob(job.id);
  });
}
