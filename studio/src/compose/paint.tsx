import { useState } from 'preact/hooks';

import { api } from '../api/client';
import type { Job, Model } from '../api/types';
import { OptionsForm } from '../forms/options';
import { timeLeft, ProgressBar, stageOf } from '../queue/dock';
import { checkScene, type Finding } from '../scene/checks';
import type { Region } from '../scene/model';
import { calledFiles, knownConcepts, type KnownConcept } from '../scene/words';
import { attempt, capabilities, jobs, models, addJob, samplers } from '../state';
import { useStore } from '../store';
import { bytes, duration, stem } from '../ui/format';
import { Icon } from '../ui/icons';
import { Button, Copyable, Labelled, Menu, MenuItem, Slider, Switch } from '../ui/kit';
import { history, scene, select, settings, shown, started } from './document';
import { kFirstOptions, kOwnedOptions, paintRequest } from './request';

/// How it is painted, and the button that does it.

/// Checks, then starts; false where something is in the way, which the panel then shows.
export async function paint(known: KnownConcept[], again?: { path: string; region: Region }) {
  const job = await attempt(async () => {
    const request = await paintRequest(scene(), settings.get(), known, again);
    return api.start(request);
  });
  if (!job) return;
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
          <Slider
            key={file.path} label={`Scale of ${file.name}`} value={values.scales[file.path] ?? 1} least={0} most={1.5}
            step={0.05} onChange={(scale) => set({ scales: { ...values.scales, [file.path]: scale } })}
          />
        ))}
        <SeedField />
        <OptionsForm
          schema={schema} first={kFirstOptions} owned={kOwnedOptions} values={values.options}
          suggestions={{ scheduler: names }} onChange={(options) => set({ options })}
        />
      </section>
    </>
  );
}

/// "fused 3: wizard, teddy".
function titleOfModel(model: Model): string {
  if (model.kind !== 'fused') return stem(model.path);
  const names = knownConcepts([], model).map((concept) => concept.name);
  return `fused ${stem(model.path)}${names.length > 0 ? `: ${names.join(', ')}` : ''}`;
}

function ModelChoice() {
  const list = useStore(models).filter((model) => model.kind !== 'adapter');
  const { base } = useStore(settings);
  return (
    <Labelled label="Model" hint={list.length === 0 ? 'Put a base model into models/ of the studio’s folder.' : undefined}>
      {(id) => (
        <select id={id} value={base} onChange={(event) => settings.set((old) => ({ ...old, base: event.currentTarget.value }))}>
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

function SeedField() {
  const { options, randomSeed } = useStore(settings);
  const seed = Number(options.seed ?? 0);
  const set = (value: number) =>
    settings.set((old) => ({ ...old, options: { ...old.options, seed: value } }));
  return (
    <div class="seed">
      <Switch
        label="Another seed each time" checked={randomSeed}
        onChange={(checked) => settings.set((old) => ({ ...old, randomSeed: checked }))}
      />
      {!randomSeed && (
        <input type="number" aria-label="Seed" min={0} value={seed} onChange={(event) => set(Math.max(0, event.currentTarget.valueAsNumber || 0))} />
      )}
    </div>
  );
}

export function PaintBar({ known }: { known: KnownConcept[] }) {
  const now = useStore(history, (value) => value.present);
  const all = useStore(jobs);
  const ids = useStore(started);
  const [busy, setBusy] = useState(false);
  const [answer, setAnswer] = useState<{ problems: string[]; command: string } | null>(null);
  const [dryRun, setDryRun] = useState(0);
  const findings = checkScene(now, known);
  const errors = findings.filter((finding) => finding.kind === 'error');
  const running = ids.map((id) => all.get(id)).find((job) => job?.state === 'running');
  const check = async () => {
    const request = await paintRequest(scene(), settings.get(), known);
    return api.check(request);
  };
  const start = async () => {
    setBusy(true);
    const checked = await attempt(check);
    setAnswer(checked && checked.problems.length > 0 ? checked : null);
    if (checked && checked.problems.length === 0) await paint(known);
    setBusy(false);
  };
  const estimate = () =>
    attempt(async () => {
      const job = await api.start({ ...(await paintRequest(scene(), settings.get(), known)), dry_run: true });
      addJob(job);
      setDryRun(job.id);
    });
  return (
    <section class="paint-bar" aria-label="Paint">
      <Findings findings={findings} />
      {answer && (
        <div class="finding error" role="alert">
          <Icon name="warning" size={16} />
          <span>
            {answer.problems.join(' ')}{' '}
            <button class="link-button" onClick={() => { setAnswer(null); void paint(known); }}>Paint all the same</button>
          </span>
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
                <MenuItem icon="copy" onClick={() => { close(); void attempt(async () => setAnswer({ problems: [], command: (await check()).command })); }}>The command for this</MenuItem>
              </>
            )}
          </Menu>
        </div>
      </div>
      {answer && answer.problems.length === 0 && <Copyable text={answer.command} label="Copy the command" />}
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
    <Button class="small" icon="repeat" onClick={() => void paint(known, { path: picture.path, region })}>
      Paint only {region.name || 'this region'} again
    </Button>
  );
}
