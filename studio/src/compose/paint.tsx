import { Fragment } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import { api } from '../api/client';
import type { Job, Model } from '../api/types';
import { kSampleGroups } from '../forms/groups';
import { OptionsForm } from '../forms/options';
import { withDefaults } from '../forms/schema';
import { timeLeft, ProgressBar, stageOf } from '../queue/dock';
import { checkScene, type Finding } from '../scene/checks';
import type { Region } from '../scene/model';
import { calledFiles, knownConcepts, type CalledFile, type KnownConcept } from '../scene/words';
import { attempt, capabilities, jobs, models, addJob, paintingDefaults, samplers } from '../state';
import { useStore } from '../store';
import { bytes, duration, stem } from '../ui/format';
import { Icon } from '../ui/icons';
import { Button, Copyable, Labelled, Menu, MenuItem, Slider, Switch } from '../ui/kit';
import { taken, useTyped } from '../ui/typed';
import { history, scene, select, settings, shown, started, type Settings } from './document';
import { kFirstOptions, kOwnedOptions, newSeed, paintRequest } from './request';

/// How it is painted, and the button that does it.

const kFirstSide = 512; ///< Of a canvas before anything is known.

/// Throws what the server says of a picture that it cannot paint.
async function startPainting(known: KnownConcept[], again?: { path: string; region: Region }) {
  const job = await api.start(await paintRequest(scene(), settings.get(), known, again));
  addJob(job);
  started.set((old) => [job.id, ...old]);
}

export function PaintPanel({ known }: { known: KnownConcept[] }) {
  const now = useStore(history, (value) => value.present);
  const values = useStore(settings);
  const schema = useStore(capabilities)?.jobs.sample;
  const names = useStore(samplers);
  const set = (change: Partial<typeof values>) => settings.set((old) => ({ ...old, ...change }));
  const files = calledFiles(now, known);
  return (
    <>
      <section class="panel-section">
        <h2>Painting</h2>
        <ModelChoice />
        {files.map((file) => (
          <Fragment key={file.path}>
            {file.others.length > 0 && (
              <FileChoice file={file} onChange={(path) => set({ preferred: [path, ...(values.preferred ?? []).filter((other) => other !== path)] })} />
            )}
            <Slider
              label={`Scale of ${file.name}`} value={values.scales[file.path] ?? 1} least={0} most={1.5}
              step={0.05} onChange={(scale) => set({ scales: { ...values.scales, [file.path]: scale } })}
            />
          </Fragment>
        ))}
        <SeedField />
        <OptionsForm
          schema={withDefaults(schema, paintingDefaults(values.base))} first={kFirstOptions} owned={kOwnedOptions} groups={kSampleGroups} values={values.options}
          suggestions={{ scheduler: names }} onChange={(options) => set({ options })}
        />
      </section>
    </>
  );
}

/// Of files that have the same words one is used; this says which, and lets another one be it.
function FileChoice({ file, onChange }: { file: CalledFile; onChange: (path: string) => void }) {
  return (
    <Labelled label="Concept file" hint="These files answer to the same words, so one of them is used.">
      {(id) => (
        <select id={id} value={file.path} onChange={(event) => onChange(event.currentTarget.value)}>
          {[file.path, ...file.others].sort().map((path) => <option key={path} value={path}>{stem(path)}</option>)}
        </select>
      )}
    </Labelled>
  );
}

/// "fused 3: wizard, teddy".
function titleOfModel(model: Model): string {
  if (model.kind !== 'fused') return stem(model.path);
  const names = knownConcepts([], model).map((concept) => concept.name);
  return `fused ${stem(model.path)}${names.length > 0 ? `: ${names.join(', ')}` : ''}`;
}

/// A canvas that nobody has drawn on or given a size is the one that the model was trained on.
export function chooseModel(model: Model | undefined, list: Model[]) {
  if (!model) return;
  settings.set((old) => ({ ...old, base: model.path }));
  const { width, height, regions } = scene();
  const isGiven = width !== height || (width !== kFirstSide && !list.some(({ size }) => size === width));
  if (!model.size || regions.length > 0 || isGiven) return;
  history.set((old) => ({ ...old, present: { ...old.present, width: model.size!, height: model.size! } }));
}

function ModelChoice() {
  const list = useStore(models).filter((model) => model.kind !== 'adapter');
  const { base } = useStore(settings);
  return (
    <Labelled label="Model" hint={list.length === 0 ? 'Put a base model into models/ of the studio’s folder.' : undefined}>
      {(id) => (
        <select id={id} value={base} onChange={(event) => chooseModel(list.find((model) => model.path === event.currentTarget.value), list)}>
          {list.map((model) => (
            <option key={model.path} value={model.path}>
              {titleOfModel(model)}
            </option>
          ))}
        </select>
      )}
    </Labelled>
  );
}

/// A seed that stays is one that the field shows: the last picture's, where nobody gave one.
function withSeed(next: Settings): Settings {
  if (next.randomSeed || next.options.seed !== undefined) return next;
  const last = started.get().map((id) => jobs.get().get(id)?.options.seed).find((seed) => seed !== undefined);
  return { ...next, options: { ...next.options, seed: last ?? newSeed() } };
}

function SeedField() {
  const { options, randomSeed } = useStore(settings);
  const isRandom = randomSeed || options.seed === undefined;
  const seed = Number(options.seed ?? 0);
  const set = (value: number) =>
    settings.set((old) => ({ ...old, options: { ...old.options, seed: value } }));
  const { field, refusal } = useTyped('Seed', seed, (typed) => taken(typed, seed, { least: 0, most: Number.MAX_SAFE_INTEGER, isWhole: true }), set);
  return (
    <div class="seed">
      <Switch
        label="Another seed each time" checked={isRandom}
        onChange={(checked) => settings.set((old) => withSeed({ ...old, randomSeed: checked }))}
      />
      {!isRandom && (
        <>
          <input aria-label="Seed" min={0} step={1} {...field} />
          {refusal && <div class="hint wrong">{refusal}</div>}
        </>
      )}
    </div>
  );
}

export function PaintBar({ known }: { known: KnownConcept[] }) {
  const now = useStore(history, (value) => value.present);
  const all = useStore(jobs);
  const ids = useStore(started);
  const values = useStore(settings);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const [command, setCommand] = useState('');
  const [dryRun, setDryRun] = useState(0);
  const findings = checkScene(now, known);
  const errors = findings.filter((finding) => finding.kind === 'error');
  const running = ids.map((id) => all.get(id)).find((job) => job?.state === 'running');
  useEffect(() => { // they were of another scene
    setProblem('');
    setCommand('');
    setDryRun(0);
  }, [now, values]);
  const start = async () => {
    setBusy(true);
    setProblem('');
    setCommand('');
    try {
      await startPainting(known);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
    setBusy(false);
  };
  const tellCommand = () =>
    attempt(async () => {
      const answer = await api.check(await paintRequest(scene(), settings.get(), known));
      setProblem(answer.problems.join('; '));
      setCommand(answer.command);
    });
  const estimate = () =>
    attempt(async () => {
      const job = await api.start({ ...(await paintRequest(scene(), settings.get(), known)), dry_run: true });
      addJob(job);
      setDryRun(job.id);
    });
  return (
    <section class="paint-bar" aria-label="Paint">
      <Findings findings={findings} />
      {problem && (
        <div class="finding error" role="alert">
          <Icon name="warning" size={16} />
          <span>{problem}</span>
        </div>
      )}
      {dryRun > 0 && <EstimateLine job={all.get(dryRun)} />}
      {running && <RunningLine job={running} />}
      <div class="row">
        <Button
          kind="primary" class="large" icon="brush" busy={busy} disabled={errors.length > 0 || busy}
          title="Ctrl+Enter" data-paint onClick={() => void start()}
        >
          Paint
        </Button>
        <div class="menu-holder up">
          <Menu label="More ways" icon="more">
            {(close) => (
              <>
                <MenuItem icon="check" onClick={() => { close(); void estimate(); }}>How long, how much memory?</MenuItem>
                <MenuItem icon="copy" onClick={() => { close(); void tellCommand(); }}>The command for this</MenuItem>
              </>
            )}
          </Menu>
        </div>
      </div>
      {command && (
        <>
          <Copyable text={command} label="Copy the command" />
          <p class="hint">in the studio’s folder, with the scene file of the menu above the canvas</p>
        </>
      )}
    </section>
  );
}

function RunningLine({ job }: { job: Job }) {
  return (
    <div class="running" aria-live="polite">
      <div class="row spread soft"><span>{stageOf(job)}</span><span>{timeLeft(job)}</span></div>
      <ProgressBar job={job} />
    </div>
  );
}

function EstimateLine({ job }: { job: Job | undefined }) {
  if (!job) return null;
  if (job.error) return <p class="wrong">{job.error.message}</p>;
  if (!job.estimate) return <p class="soft">Measuring a few steps…</p>;
  const { seconds, memory, measured } = job.estimate;
  return (
    <p class="soft" title={measured}>
      About <b>{duration(seconds)}</b> and <b>{bytes(memory)}</b> of memory; {measured}.
    </p>
  );
}

const kFindingsShown = 3;

function Findings({ findings }: { findings: Finding[] }) {
  const rank = { error: 0, warning: 1, note: 2 };
  const sorted = [...findings].sort((a, b) => rank[a.kind] - rank[b.kind]);
  return (
    <ul class="findings" aria-live="polite">
      {sorted.slice(0, kFindingsShown).map((finding) => (
        <li key={finding.text} class={`finding ${finding.kind}`}>
          <Icon name="warning" size={16} />
          {finding.region ? (
            <button class="link-button" onClick={() => select(finding.region)}>{finding.text}</button>
          ) : (
            <span>{finding.text}</span>
          )}
        </li>
      ))}
      {sorted.length > kFindingsShown && <li class="hint">and {sorted.length - kFindingsShown} more</li>}
    </ul>
  );
}

/// Paints the selected region of the picture that is shown once more.
export function RedoButton({ region, known }: { region: Region | undefined; known: KnownConcept[] }) {
  const picture = useStore(shown);
  if (!region || !picture?.path) return null;
  return (
    <Button class="small" icon="repeat" onClick={() => void attempt(() => startPainting(known, { path: picture.path, region }))}>
      Paint only {region.name || 'this region'} again
    </Button>
  );
}
